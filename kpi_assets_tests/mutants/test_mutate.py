"""The mutants of a source: which changes are made, each in one place."""

import pytest

from kpi_assets_tests.mutants.__main__ import ROOT, modules_of, sampled
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


def test_every_module_of_the_core_has_tests() -> None:
    modules = modules_of(["warehouse", "materialize", "sources", "ledger", "monitoring"])
    assert "warehouse/audit" in modules
    assert "warehouse/__init__" not in modules
    assert {module for module in modules if not files_of(module, ROOT / "kpi_assets_tests")} == set()
