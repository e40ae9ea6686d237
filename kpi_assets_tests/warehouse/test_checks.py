"""Each check word on good, bad, empty and NULL rows: the exact metric, threshold, verdict and samples."""

import json
from dataclasses import replace
from typing import Any

import pytest

from kpi_assets.model.checks.base import AuditFacts
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.header import split
from kpi_assets.model.quality import Dimension
from kpi_assets.model.results import CheckResult
from kpi_assets.warehouse.audit import audit
from kpi_assets_tests.pipeline_harness import DAY, NEXT
from kpi_assets_tests.warehouse.audit_harness import PATH, THIS, TYPES, AuditHarness, Row, header_of

DIMENSIONS: dict[str, Dimension] = {
    "not_null": "completeness",
    "accepted_values": "validity",
    "range": "validity",
    "unique": "uniqueness",
    "foreign_key": "referential_integrity",
    "odd": "validity",
    "grain": "uniqueness",
}


def bad(
    name: str, metric: int, samples: list[dict[str, Any]], *, blocking: bool = True, rows: int | None = None
) -> CheckResult:
    """Return the result of a check whose query returns `metric` rows; `rows` of the build are bad, if not as many."""
    message = f"{metric} bad row{'s' * (metric > 1)}" if metric else ""
    dimension, count = DIMENSIONS[name.partition("__")[0]], metric if rows is None else rows
    return CheckResult(name, not metric, blocking, metric, 0, message, samples, dimension=dimension, bad=count)


def among(rows: list[Row], expected: CheckResult) -> CheckResult:
    """Return the expected result on a build of these rows."""
    assert expected.bad is not None
    return replace(expected, examined=max(len(rows), expected.bad))


def row(
    thing_id: int | None, name: str | None = None, weight: float | str | None = None, **others: Any
) -> dict[str, Any]:
    """Return a sample row as it is stored in JSON."""
    return {"thing_id": thing_id, "name": name, "weight": weight, "share": None, "user": None, "order": None, **others}


CASES: dict[str, tuple[str, list[Row], CheckResult]] = {
    "not_null, good": ("not_null: [name]", [(1, "a"), (2, "")], bad("not_null", 0, [])),
    "not_null, empty": ("not_null: [name]", [], bad("not_null", 0, [])),
    "not_null, bad": ("not_null: [name]", [(1, None), (2, "a")], bad("not_null", 1, [row(1)])),
    "not_null, one row bad twice": (
        "not_null: [name, weight]",
        [(1,), (2, "a"), (3, "a", 1)],
        bad("not_null", 2, [row(1), row(2, "a")]),
    ),
    "accepted_values, good": ("accepted_values: {name: [a, b]}", [(1, "a")], bad("accepted_values__name", 0, [])),
    "accepted_values, empty": ("accepted_values: {name: [a, b]}", [], bad("accepted_values__name", 0, [])),
    "accepted_values, NULL is no value": ("accepted_values: {name: [a]}", [(1,)], bad("accepted_values__name", 0, [])),
    "accepted_values, bad": (
        "accepted_values: {name: [a, b]}",
        [(1, "A"), (2, "a "), (3, "a"), (4, "")],
        bad("accepted_values__name", 3, [row(1, "A"), row(2, "a "), row(4, "")]),
    ),
    "accepted_values, numbers": (
        "accepted_values: {weight: [1, 2.5]}",
        [(1, None, 2.50), (2, None, 2.51)],
        bad("accepted_values__weight", 1, [row(2, None, 2.51)]),
    ),
    "range, good at both ends": ("range: {weight: [0, 2]}", [(1, "", 0), (2, "", 2)], bad("range__weight", 0, [])),
    "range, empty": ("range: {weight: [0, 2]}", [], bad("range__weight", 0, [])),
    "range, NULL is no number": ("range: {weight: [0, 2]}", [(1,)], bad("range__weight", 0, [])),
    "range, bad beyond both ends": (
        "range: {weight: [0, 2]}",
        [(1, "", -0.01), (2, "", 2.01), (3, "", 1)],
        bad("range__weight", 2, [row(1, "", -0.01), row(2, "", 2.01)]),
    ),
    "range, open above": (
        "range: {weight: [0, null]}",
        [(1, "", -1), (2, "", 9999)],
        bad("range__weight", 1, [row(1, "", -1)]),
    ),
    "range, open below": (
        "range: {weight: [null, 0]}",
        [(1, "", -1), (2, "", 9999)],
        bad("range__weight", 1, [row(2, "", 9999)]),
    ),
    "range of texts": ("range: {name: [b, c]}", [(1, "a"), (2, "b")], bad("range__name", 1, [row(1, "a")])),
    "range, NaN is not above an open end": (
        "range: {weight: [0, null], share: [0, null]}",
        [(1, None, "NaN", None), (2, None, 1, 1.0)],
        bad("range__weight", 1, [row(1, weight="NaN")]),
    ),
    "range, NaN and infinity are outside an open end": (
        "range: {share: [0, null]}",
        [(1, None, None, "NaN"), (2, None, None, "Infinity"), (3, None, None, 1.0)],
        bad("range__share", 2, [row(1, share="NaN"), row(2, share="Infinity")]),
    ),
    "range, infinity is within an end declared as infinite": (
        "range: {share: [0, .inf]}",
        [(1, None, None, "NaN"), (2, None, None, "Infinity"), (3, None, None, 1e300)],
        bad("range__share", 1, [row(1, share="NaN")]),
    ),
    "range, infinity is not within ends": (
        "range: {share: [0, 1]}",
        [(1, None, None, "Infinity"), (2, None, None, "NaN"), (3, None, None, 1.0)],
        bad("range__share", 2, [row(1, share="Infinity"), row(2, share="NaN")]),
    ),
    "unique, good": ("unique: {pair: [name, weight]}", [(1, "a", 1), (2, "a", 2)], bad("unique__pair", 0, [])),
    "unique, empty": ("unique: {pair: [name]}", [], bad("unique__pair", 0, [])),
    "unique, NULLs are not equal": (
        "unique: {pair: [name, weight]}",
        [(1, None, 1), (2, None, 1), (3, "a", None), (4, "a", None)],
        bad("unique__pair", 0, []),
    ),
    "unique, whole numbers, good": (
        "unique: {pair: [thing_id, order]}",
        [(1, "a", 1, 1, "u", -1), (1, "a", 1, 1, "u", 1), (-1, "a", 1, 1, "u", 1), (0, "a", 1, 1, "u", -1), (1,), (1,)],
        bad("unique__pair", 0, []),
    ),
    "unique, whole numbers, bad": (
        "unique: {pair: [thing_id, order]}",
        [(-1, "a", 1, 1, "u", -1), (1, "a", 1, 1, "u", 1), (-1, "b", 1, 1, "u", -1), (1,), (1,)],
        bad("unique__pair", 1, [{"order": -1, "rows": 2, "thing_id": -1}], rows=2),
    ),
    "unique, bad: one for each key that is shared": (
        "unique: {pair: [name]}",
        [(1, "a"), (2, "a"), (3, "a"), (4, "b")],
        bad("unique__pair", 1, [{"name": "a", "rows": 3}], rows=3),
    ),
    "foreign_key, good": ("foreign_key: {name: raw.people.id}", [(1, "ann")], bad("foreign_key__name", 0, [])),
    "foreign_key, empty": ("foreign_key: {name: raw.people.id}", [], bad("foreign_key__name", 0, [])),
    "foreign_key, NULL is no value": ("foreign_key: {name: raw.people.id}", [(1,)], bad("foreign_key__name", 0, [])),
    "foreign_key, orphans, also by load_date": (
        "foreign_key: {name: raw.people.id}",
        [(1, "bob"), (2, "ann"), (3, "later")],
        bad("foreign_key__name", 2, [row(1, "bob"), row(3, "later")]),
    ),
    "custom, good": ("odd: {bad_rows: 'select * from {this} where weight > 9'}", [(1, "a", 9)], bad("odd", 0, [])),
    "custom, bad, with its own samples": (
        "odd: {bad_rows: 'select name, count(*) as n from {this} group by name having count(*) > 1'}",
        [(1, "a"), (2, "a")],
        bad("odd", 1, [{"name": "a", "n": 2}]),
    ),
    "custom, warns": (
        "odd: {bad_rows: 'select * from {this} where weight > 9', severity: warn}",
        [(1, "a", 10)],
        bad("odd", 1, [row(1, "a", 10.00)], blocking=False),
    ),
    "custom, the build twice": (
        "odd: {bad_rows: 'select a.thing_id from {this} as a join {this} as b on a.weight < b.weight'}",
        [(1, "", 1), (2, "", 2), (3, "", 2)],
        bad("odd", 2, [{"thing_id": 1}, {"thing_id": 1}]),
    ),
    "custom, with the load_date": (
        "odd: {bad_rows: \"select * from {this} where %(load_date)s <> date '2025-03-01'\"}",
        [(1,)],
        bad("odd", 0, []),
    ),
    "custom, without rows": (
        "odd: {bad_rows: 'select count(*) as n from {this} having count(*) < 1'}",
        [],
        bad("odd", 1, [{"n": 0}]),
    ),
    "grain, good": ("", [(1,), (2,)], bad("grain", 0, [])),
    "grain, empty": ("", [], bad("grain", 0, [])),
    "grain, shared": ("", [(1,), (1,), (1,), (2,)], bad("grain", 1, [{"thing_id": 1, "rows": 3}], rows=3)),
    "grain, shared NULL": ("", [(None,), (None,), (2,)], bad("grain", 1, [{"thing_id": None, "rows": 2}], rows=2)),
    "grain, NULL": ("", [(None,), (2,)], bad("grain", 1, [{"thing_id": None, "rows": 1}])),
}  # fmt: skip


@pytest.mark.parametrize(("checks", "rows", "expected"), CASES.values(), ids=CASES)
def test_a_check_on_known_rows_has_the_expected_result(
    audit_harness: AuditHarness, checks: str, rows: list[Row], expected: CheckResult
) -> None:
    for person, day in (("ann", DAY), ("later", NEXT)):
        audit_harness.session.execute("insert into raw.people values (%s, %s)", [day, person])
    found = audit_harness.audit(checks, rows)
    assert {result.name: result for result in found.results}[expected.name] == among(rows, expected)
    assert expected.verdict == ("pass" if expected.passed else "fail" if expected.blocking else "warn")
    assert found.blocks_publish == any(result.blocking and not result.passed for result in found.results)
    assert found.rows == len(rows)


ENDS = {  # type -> a value, and the special values below and above every ordinary value
    "integer": ("7", [], []),
    "numeric(6,2)": ("7.00", [], ["NaN"]),
    "numeric": ("1e400", ["-Infinity"], ["Infinity", "NaN"]),
    "real": ("7", ["-Infinity"], ["Infinity", "NaN"]),
    "double precision": ("7", ["-Infinity"], ["Infinity", "NaN"]),
    "date": ("2025-01-01", ["-infinity"], ["infinity"]),
    "timestamp without time zone": ("2025-01-01 00:00:00", ["-infinity"], ["infinity"]),
    "timestamp with time zone": ("2025-01-01 00:00:00+00", ["-infinity"], ["infinity"]),
    "text": ("b", [], []),
}


@pytest.mark.parametrize(("type_", "value", "below", "above"), [(type_, *ends) for type_, ends in ENDS.items()])
def test_an_open_range_accepts_every_value_but_infinity_and_nan(
    audit_harness: AuditHarness, type_: str, value: str, below: list[str], above: list[str]
) -> None:
    """The other end of the range is the value itself. Infinity and NaN are bad rows on either side."""
    audit_harness.session.execute(f'alter table pg_temp.this alter "user" type {type_} using null')
    rows: list[Row] = [(n, None, None, None, each) for n, each in enumerate([value, None, *below, *above])]
    header = header_of("").replace("user: {type: text,", f'user: {{type: "{type_}",')
    written = value if type_ == "real" else f"'{value}'"
    for ends in (f"[{written}, null]", f"[null, {written}]"):
        checks = header.replace("checks:", f"checks:\n  range: {{user: {ends}}}")
        parsed, lines, _ = split(PATH, checks.replace("1e400", "1" + "0" * 400))
        audit_harness.fill(rows)
        found = audit(
            audit_harness.session, THIS, {**TYPES, "user": type_}, expand(parsed, PATH, lines), AuditFacts(DAY)
        )
        [result] = [each for each in found.results if each.name == "range__user"]
        assert not result.errored, result.message
        assert result.metric == len(below) + len(above)


@pytest.mark.parametrize("proven", [True, False])
def test_null_in_a_grain_is_found_even_if_the_unique_index_was_built(audit_harness: AuditHarness, proven: bool) -> None:
    rows: list[Row] = [(1, "a"), (1, None), (None, "a"), (None, None)]
    result = audit_harness.results("", rows, grain="[thing_id, name]", grain_is_proven=proven)["grain"]
    assert (result.metric, result.passed, result.blocks_publish) == (3, False, True)
    assert len(result.samples) == 3


def test_five_samples_are_kept_of_many_bad_rows(audit_harness: AuditHarness) -> None:
    result = audit_harness.results("not_null: [name]", [(number,) for number in range(12)])["not_null"]
    assert (result.metric, result.message, len(result.samples)) == (12, "12 bad rows", 5)


def test_every_check_word_accepts_columns_named_by_reserved_words(audit_harness: AuditHarness) -> None:
    audit_harness.session.execute("insert into raw.people values (%s, 'ann')", [DAY])
    checks = """\
not_null: [user, order]
accepted_values: {user: [ann]}
range: {order: [0, 1]}
unique: {buyer: [user, order]}
foreign_key: {user: raw.people.id}
"""
    rows: list[Row] = [
        (1, None, None, None, None, None),
        (2, None, None, None, "bob", 2),
        (3, None, None, None, "ann", 1),
        (4, None, None, None, "ann", 1),
    ]
    for proven in (True, False):
        results = audit_harness.results(checks, rows, grain="[user, order, thing_id]", grain_is_proven=proven)
        assert {name: result.metric for name, result in results.items()} == {
            "grain": 1,
            "not_null": 1,
            "accepted_values__user": 1,
            "range__order": 1,
            "unique__buyer": 1,
            "foreign_key__user": 1,
        }


@pytest.mark.parametrize(
    "value",
    [
        "it's",
        'say "no"',
        "50%",
        "%s",
        "%(load_date)s",
        "{this}",
        "{}",
        "{0}",
        "a\\",
        "a\\'b",
        "--",
        "/*",
        "; drop",
        "$$",
        "ü🙂",
    ],
)
def test_hostile_constants_are_compared_literally(audit_harness: AuditHarness, value: str) -> None:
    written = json.dumps(value, ensure_ascii=False)
    checks = f"accepted_values: {{name: [{written}]}}\nrange: {{name: [{written}, null]}}"
    rows: list[Row] = [(1, value), (2, value + "x")]
    results = audit_harness.results(checks, rows)
    assert results["accepted_values__name"] == among(rows, bad("accepted_values__name", 1, [row(2, value + "x")]))
    assert results["range__name"] == among(rows, bad("range__name", 0, []))
