"""The mutants of a source: which changes are made, each in one place."""

from collections import Counter

import pytest

from kpi_assets_tests.mutants.__main__ import ROOT, drawn, interval, modules_of, report, sampled
from kpi_assets_tests.mutants.mapping import files_of
from kpi_assets_tests.mutants.mutate import mutants_of


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("a = b < c", ["a = b <= c"]),
        ("a = b == c or (d and e)", ["a = b != c or (d and e)", "a = b == c and (d and e)", "a = b == c or (d or e)"]),
        ("a = b not in c", ["a = b in c"]),
        ("a = b is not None", ["a = b is None"]),
        ("a = b + 2", ["a = b - 2", "a = b + 3"]),
        ("a = 'b' + c", []),
        ("a = not b", ["a = b"]),
        ("a = True", ["a = False"]),
        ("if ready:\n    go()", ["if not (ready):\n    go()", "if ready:\n    pass"]),
        ("a = [b for b in c if b]", ["a = [b for b in c if True]"]),
        ("a = (b, c)", ["a = (b, )", "a = (c, )"]),
        ("a, b = c, d", []),
        ("a = {'b': c, 'd': e}", ["a = {'b': c, }", "a = {'d': e, }"]),
        ("a = f(b)", ["a = (b)"]),
        ("a = f(b, c=d)", ["a = f(b)"]),
        ("a = b.strip('ñ')", ["a = ('ñ')", "a = (b)"]),
        ("with suppress(b):\n    c = d", ["with (b):\n    c = d", "with suppress():\n    c = d"]),
        ("raise a", ["pass"]),
        ("def f(a: int | None = None) -> str | None:\n    '''True.'''\n    return", None),
        ("assert a > 1", []),
        ("a = f'{b > 1}'", []),
        ("a = 'ñ select b where c = d and not e'", None),
        ("a = 'b and not c'", []),
    ],
)
def test_each_change_of_a_source_is_a_mutant(source: str, mutated: list[str] | None) -> None:
    if mutated is None:
        mutated = {
            "d": ["def f(a: int | None = None) -> str | None:\n    '''True.'''\n    pass"],
            "a": [
                "a = 'ñ select b where c <> d and not e'",
                "a = 'ñ select b where c = d or not e'",
                "a = 'ñ select b where c = d and e'",
            ],
        }[source[0]]
    assert [mutant.applied(source) for mutant in mutants_of(source)] == mutated


def test_a_mutant_is_described_with_its_line() -> None:
    source = "a = 1\nb = {\n    'c': d,\n    'e': f,\n}\n"
    assert [(mutant.line, mutant.described(source)) for mutant in mutants_of(source)] == [
        (1, "constant: 1 -> 2"),
        (4, "without 'e': f: { 'c': d, 'e': f, } -> {'c': d, }"),
        (3, "without 'c': d: { 'c': d, 'e': f, } -> {'e': f, }"),
    ]


def test_a_sample_is_the_same_for_the_same_seed_and_module() -> None:
    source = "\n".join(f"a{number} = {number}" for number in range(50))
    first = sampled("warehouse/audit", source, 5, seed=1)
    assert len(first) == 5
    assert first == sorted(first)
    assert sampled("warehouse/audit", source, 5, seed=1) == first
    assert sampled("warehouse/audit", source, 5, seed=2) != first
    assert sampled("warehouse/locks", source, 5, seed=1) != first
    assert sampled("warehouse/audit", source, 0, seed=1) == mutants_of(source)


def test_mutants_drawn_together_are_in_proportion_to_those_of_each_module() -> None:
    sources = {
        "warehouse/audit": "\n".join(f"a{number} = {number}" for number in range(300)),
        "warehouse/locks": "",
        "sources/store": "\n".join(f"a{number} = {number}" for number in range(100)),
    }
    first = drawn(sources, 100, seed=1)
    counts = {module: len(mutants) for module, mutants in first.items()}
    assert sum(counts.values()) == 100
    assert 65 < counts["warehouse/audit"] < 85
    assert counts["warehouse/locks"] == 0
    assert all(mutants == sorted(set(mutants)) for mutants in first.values())
    assert drawn(sources, 100, seed=1) == first
    assert drawn(sources, 100, seed=2) != first
    assert drawn(sources, 1000, seed=1) == {module: mutants_of(source) for module, source in sources.items()}


@pytest.mark.parametrize(
    ("noticed", "whole", "between"),
    [(8, 10, (0.490, 0.943)), (50, 50, (0.929, 1)), (0, 10, (0, 0.278)), (900, 1000, (0.880, 0.917))],
)
def test_the_interval_of_a_sample_is_that_of_wilson(noticed: int, whole: int, between: tuple[float, float]) -> None:
    assert interval(noticed, whole) == pytest.approx(between, abs=0.0006)


def test_an_estimate_is_told_by_package_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {
        "warehouse/audit": Counter(killed=5, survived=2),
        "warehouse/kinds/rows": Counter({"killed": 2, "timed out": 1}),
        "sources/store": Counter[str](),
    }
    report(scores, estimated=True)
    assert capsys.readouterr().out.splitlines() == [
        "warehouse                 80%  8 of 10 killed, 1 of them by time  (95 %: 49% to 94%)",
        "sources                     -  0 of 0 killed, 0 of them by time",
        "together                  80%  8 of 10 killed, 1 of them by time  (95 %: 49% to 94%)",
    ]
    report(scores, estimated=False)
    assert capsys.readouterr().out.splitlines()[0] == (
        "warehouse/audit           71%  5 of 7 killed, 0 of them by time"
    )


def test_every_module_of_the_core_has_tests() -> None:
    modules = modules_of(["warehouse", "materialize", "sources", "ledger", "monitoring"])
    assert "warehouse/audit" in modules
    assert "warehouse/__init__" not in modules
    assert {module for module in modules if not files_of(module, ROOT / "kpi_assets_tests")} == set()
