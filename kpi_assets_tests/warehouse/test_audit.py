"""Each check word on good, bad, empty and NULL rows: the exact metric, threshold, verdict and samples."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from kpi_assets.model.checks import expand
from kpi_assets.model.header import split
from kpi_assets.model.names import Relation
from kpi_assets.model.results import CheckResult
from kpi_assets.warehouse import audit as audit_module
from kpi_assets.warehouse.audit import Audit, Facts, audit
from kpi_assets_tests.lab import DAY, NEXT, Lab

PATH = Path("sql/shop/marts/things.sql")
HEADER = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: {grain}
columns:
  thing_id: {{type: integer, description: Thing.}}
  name: {{type: text, description: Name.}}
  weight: {{type: "numeric(6,2)", description: Kilograms.}}
  share: {{type: double precision, description: Share of the whole.}}
  user: {{type: text, description: "Whose it is; a reserved word."}}
  order: {{type: integer, description: "Its order; a reserved word."}}
checks:
  min_rows: {{at_least: 0}}
{checks}@end */
"""
Row = tuple[Any, ...]
THIS = sql.SQL("pg_temp.this")


def header_of(checks: str = "", grain: str = "[thing_id]") -> str:
    return HEADER.format(grain=grain, checks=indent(f"{checks}\n", "  ") if checks else "")


@dataclass
class Room:
    """A build of given rows, and the tables beside it."""

    session: Connection[Any]

    def fill(self, rows: list[Row]) -> None:
        """The rows of the build, as (thing_id, name, weight, share, user, order); what is missing is NULL."""
        self.session.execute("truncate pg_temp.this")
        for row in rows:
            padded = [*row, *[None] * (6 - len(row))]
            self.session.execute("insert into pg_temp.this values (%s, %s, %s, %s, %s, %s, %s)", [DAY, *padded])

    def audit(self, checks: str, rows: list[Row], *, grain: str = "[thing_id]", **facts: Any) -> Audit:
        header, lines, _ = split(PATH, header_of(checks, grain))
        self.fill(rows)
        return audit(self.session, THIS, expand(header, PATH, lines), Facts(DAY, **facts))

    def results(self, checks: str, rows: list[Row], **facts: Any) -> dict[str, CheckResult]:
        return {result.name: result for result in self.audit(checks, rows, **facts).results}


@pytest.fixture
def room(session: Connection[Any]) -> Room:
    session.execute(
        "create temporary table this (load_date date, thing_id integer, name text, weight numeric(6,2), "
        'share double precision, "user" text, "order" integer)'
    )
    session.execute("create table raw.people (load_date date, id text, name text)")
    session.execute("create table raw.lines (load_date date, thing_id integer, price numeric)")
    return Room(session)


def bad(name: str, metric: int, samples: list[dict[str, Any]], *, blocking: bool = True) -> CheckResult:
    message = f"{metric} bad row{'s' * (metric > 1)}" if metric else ""
    return CheckResult(name, not metric, blocking, metric, 0, message, samples)


def row(
    thing_id: int | None, name: str | None = None, weight: float | str | None = None, **others: Any
) -> dict[str, Any]:
    """A sample as JSON has it."""
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
    "range, NaN of floating point": (
        "range: {share: [0, null]}",
        [(1, None, None, "NaN"), (2, None, None, "Infinity"), (3, None, None, 1.0)],
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
    "unique, bad: one for each key that is shared": (
        "unique: {pair: [name]}",
        [(1, "a"), (2, "a"), (3, "a"), (4, "b")],
        bad("unique__pair", 1, [{"name": "a", "rows": 3}]),
    ),
    "foreign_key, good": ("foreign_key: {name: raw.people.id}", [(1, "ann")], bad("foreign_key__name", 0, [])),
    "foreign_key, empty": ("foreign_key: {name: raw.people.id}", [], bad("foreign_key__name", 0, [])),
    "foreign_key, NULL is nobody": ("foreign_key: {name: raw.people.id}", [(1,)], bad("foreign_key__name", 0, [])),
    "foreign_key, orphans, also by load_date": (
        "foreign_key: {name: raw.people.id}",
        [(1, "bob"), (2, "ann"), (3, "later")],
        bad("foreign_key__name", 2, [row(1, "bob"), row(3, "later")]),
    ),
    "custom, good": ("odd: {bad_rows: 'select * from {this} where weight > 9'}", [(1, "a", 9)], bad("odd", 0, [])),
    "custom, bad, with samples of its own": (
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
    "grain, shared": ("", [(1,), (1,), (1,), (2,)], bad("grain", 1, [{"thing_id": 1, "rows": 3}])),
    "grain, NULL": ("", [(None,), (2,)], bad("grain", 1, [{"thing_id": None, "rows": 1}])),
}  # fmt: skip


@pytest.mark.parametrize(("checks", "rows", "expected"), CASES.values(), ids=CASES)
def test_a_check_on_known_rows(room: Room, checks: str, rows: list[Row], expected: CheckResult) -> None:
    for person, day in (("ann", DAY), ("later", NEXT)):
        room.session.execute("insert into raw.people values (%s, %s)", [day, person])
    found = room.audit(checks, rows)
    assert {result.name: result for result in found.results}[expected.name] == expected
    assert expected.verdict == ("pass" if expected.passed else "fail" if expected.blocking else "warn")
    assert found.holds == any(result.blocking and not result.passed for result in found.results)
    assert found.rows == len(rows)


@pytest.mark.parametrize("proven", [True, False])
def test_null_in_a_grain_of_several_columns_is_found_also_where_the_index_was_built(room: Room, proven: bool) -> None:
    rows: list[Row] = [(1, "a"), (1, None), (None, "a"), (None, None)]
    result = room.results("", rows, grain="[thing_id, name]", grain_is_proven=proven)["grain"]
    assert (result.metric, result.passed, result.holds) == (3, False, True)
    assert len(result.samples) == 3


def test_five_samples_are_kept_of_many(room: Room) -> None:
    result = room.results("not_null: [name]", [(number,) for number in range(12)])["not_null"]
    assert (result.metric, result.message, len(result.samples)) == (12, "12 bad rows", 5)


def test_every_word_also_means_a_column_called_by_a_reserved_word(room: Room) -> None:
    room.session.execute("insert into raw.people values (%s, 'ann')", [DAY])
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
        results = room.results(checks, rows, grain="[user, order, thing_id]", grain_is_proven=proven)
        assert {name: result.metric for name, result in results.items()} == {
            "grain": 1,
            "min_rows": 4,
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
def test_hostile_constants_are_compared_as_they_stand(room: Room, value: str) -> None:
    written = json.dumps(value, ensure_ascii=False)
    checks = f"accepted_values: {{name: [{written}]}}\nrange: {{name: [{written}, null]}}"
    results = room.results(checks, [(1, value), (2, value + "x")])
    assert results["accepted_values__name"] == bad("accepted_values__name", 1, [row(2, value + "x")])
    assert results["range__name"] == bad("range__name", 0, [])


# ---- min_rows


@pytest.mark.parametrize(
    ("words", "previous", "rows", "passed", "threshold", "message"),
    [
        ("{}", None, 0, False, 1, "0 rows, at least 1 are wanted"),
        ("{}", None, 1, True, 1, ""),
        ("{at_least: 0}", None, 0, True, 0, ""),
        ("{at_least: 3}", None, 2, False, 3, "2 rows, at least 3 are wanted"),
        ("{at_least: 3}", None, 3, True, 3, ""),
        ("{}", 10, 5, True, 5, ""),
        ("{}", 10, 4, False, 5, "4 rows, at least 5 are wanted (50% of the 10 rows of the load_date before)"),
        ("{}", 11, 5, False, 5.5, "5 rows, at least 5.5 are wanted (50% of the 11 rows of the load_date before)"),
        ("{}", 11, 6, True, 5.5, ""),
        ("{}", 2, 1, True, 1, ""),
        ("{}", 0, 0, False, 1, "0 rows, at least 1 are wanted"),
        ("{at_least: 7}", 10, 6, False, 7, "6 rows, at least 7 are wanted"),
        (
            "{of_previous: 1}",
            4,
            3,
            False,
            4,
            "3 rows, at least 4 are wanted (100% of the 4 rows of the load_date before)",
        ),
        ("{of_previous: 1}", 4, 4, True, 4, ""),
        ("{of_previous: 0}", 1000, 1, True, 1, ""),
    ],
)
def test_minimum_rows_at_the_boundary(
    room: Room, words: str, previous: int | None, rows: int, passed: bool, threshold: float, message: str
) -> None:
    header, lines, _ = split(PATH, header_of().replace("{at_least: 0}", words))
    room.fill([(number,) for number in range(rows)])
    checks = [check for check in expand(header, PATH, lines) if check.name == "min_rows"]
    [result] = audit(room.session, THIS, checks, Facts(DAY, previous_rows=previous)).results
    assert result == CheckResult("min_rows", passed, True, rows, threshold, message)


# ---- reconcile

RULES = "reconcile: {source: raw.lines, dropped: {free: price = 0, unsold: price is null}}"
PRICES = [5, 7, 9, 0, 0, None]  # of the source: two are free, one is unsold, three should be here


@pytest.mark.parametrize(
    ("here", "missing", "unexplained"),
    [(3, 0, ""), (2, 1, " + 1 unexplained"), (5, -2, " + -2 unexplained"), (0, 3, " + 3 unexplained")],
)
def test_rows_of_the_source_are_here_or_dropped_by_a_named_rule(
    room: Room, here: int, missing: int, unexplained: str
) -> None:
    for price in PRICES:
        room.session.execute("insert into raw.lines values (%s, 1, %s)", [DAY, price])
    room.session.execute("insert into raw.lines values (%s, 1, 0)", [NEXT])
    rows: list[Row] = [(number,) for number in range(here)]
    result = room.results(RULES, rows, source_rows={Relation("raw", "lines"): len(PRICES)})["reconcile"]
    assert result == CheckResult(
        "reconcile",
        passed=missing == 0,
        blocking=True,
        metric=missing,
        threshold=0,
        message=f"6 rows of raw.lines = {here} here + 2 dropped by free + 1 dropped by unsold{unexplained}",
    )


@pytest.mark.parametrize(("weights", "missing"), [([2, 4], 0), ([2, None], 4), ([], 6)])
def test_what_is_counted_here_may_be_a_sum(room: Room, weights: list[int | None], missing: int) -> None:
    rows: list[Row] = [(number, None, weight) for number, weight in enumerate(weights)]
    checks = "reconcile: {source: raw.lines, counted: sum(weight)}"
    result = room.results(checks, rows, source_rows={Relation("raw", "lines"): 6})["reconcile"]
    assert (result.metric, result.passed) == (missing, not missing)


# ---- what is told of an object

SOURCE = "source: {object: 'raw/{load_date}.csv', format: csv, quarantine_budget: 2}\ncolumns:"


@pytest.mark.parametrize(
    ("facts", "accounted", "quarantine"),
    [
        ({"records": 3}, (True, 0, "3 records in the object = 3 loaded + 0 in quarantine"), (True, 0)),
        (
            {"records": 5, "quarantined": 2},
            (True, 0, "5 records in the object = 3 loaded + 2 in quarantine"),
            (True, 2),
        ),
        (
            {"records": 6, "quarantined": 3},
            (True, 0, "6 records in the object = 3 loaded + 3 in quarantine"),
            (False, 3),
        ),
        ({"records": 4}, (False, 1, "4 records in the object = 3 loaded + 0 in quarantine + 1 unexplained"), (True, 0)),
        (
            {"records": 2},
            (False, -1, "2 records in the object = 3 loaded + 0 in quarantine + -1 unexplained"),
            (True, 0),
        ),
        ({"records": 3, "unreadable": "line 9 never ends"}, (False, 0, "line 9 never ends"), (True, 0)),
        ({}, (False, None, "None records in the object = 3 loaded + 0 in quarantine"), (True, 0)),
    ],
)
def test_every_record_of_an_object_is_loaded_or_in_quarantine(
    room: Room, facts: Mapping[str, Any], accounted: Row, quarantine: Row
) -> None:
    text = header_of().replace("columns:", SOURCE)
    header, lines, _ = split(PATH, text)
    room.fill([(1,), (2,), (3,)])
    found = audit(room.session, THIS, expand(header, PATH, lines), Facts(DAY, **facts))
    first, second = found.results[:2]
    assert (first.name, first.threshold, second.name, second.threshold) == ("rows_accounted", 0, "quarantine", 2)
    assert (first.passed, first.metric, first.message) == accounted
    assert (second.passed, second.metric) == quarantine
    assert found.holds == (not (first.passed and second.passed))


# ---- checks that cannot be made


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select * from {this} where 1 / thing_id > 0", "division by zero"),
        ("select t.* from {this} as t where 1 / t.thing_id > 0", "division by zero"),
        ("select * from {this} where nothing > 0", 'column "nothing" does not exist'),
        ("select nothing from {this}", 'column "nothing" does not exist'),
        ("select * from {this} where name > 0", "operator does not exist: text > integer"),
        ("select * from {this} where name::integer > 0", 'invalid input syntax for type integer: "a"'),
        ("select * from raw.nowhere where load_date = %(load_date)s", 'relation "raw.nowhere" does not exist'),
        ("select * from {this} where pg_temp.no_such(name)", "function pg_temp.no_such(text) does not exist"),
    ],
)
@pytest.mark.parametrize("severity", ["error", "warn"])
def test_a_check_whose_sql_fails_holds_and_the_others_still_report(
    room: Room, query: str, reason: str, severity: str
) -> None:
    checks = f"""\
not_null: [name]
odd: {{severity: {severity}, bad_rows: '{query}'}}
heavy: {{bad_rows: 'select * from {{this}} where weight > 9'}}
"""
    found = room.audit(checks, [(0, "a"), (1, None, 10)], grain_is_proven=True)
    results = {result.name: result for result in found.results}
    odd = results.pop("odd")
    assert (odd.verdict, odd.passed, odd.holds, odd.metric, odd.samples) == ("error", False, True, None, [])
    assert odd.message == f"the check itself failed: {reason}"
    assert {name: result.metric for name, result in results.items()} == {
        "grain": 0,
        "min_rows": 2,
        "not_null": 1,
        "heavy": 1,
    }
    assert (found.holds, found.rows) == (True, 2)


def test_a_sum_that_fails_lets_only_its_own_check_err(room: Room) -> None:
    checks = "reconcile: {source: raw.lines, counted: sum(1 / thing_id)}\nnot_null: [name]"
    results = room.results(checks, [(0, "a")], source_rows={Relation("raw", "lines"): 1})
    assert (results["reconcile"].verdict, results["reconcile"].holds) == ("error", True)
    assert results["not_null"].passed


def test_a_rule_that_fails_errs(room: Room) -> None:
    checks = "reconcile: {source: raw.lines, dropped: {odd: 1 / thing_id > 0}}"
    room.session.execute("insert into raw.lines values (%s, 0, 1)", [DAY])
    result = room.results(checks, [(0, "a")], source_rows={Relation("raw", "lines"): 1})["reconcile"]
    assert (result.verdict, result.message) == ("error", "the check itself failed: division by zero")


def test_a_check_that_takes_too_long_errs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "CHECK_TIMEOUT", "50ms")
    results = room.results(
        "slow: {bad_rows: 'select pg_sleep(60) from {this}'}\nheavy: {bad_rows: 'select name from {this}'}", [(1,)]
    )
    assert results["slow"].message == "the check itself failed: canceling statement due to statement timeout"
    assert results["heavy"].metric == 1


def test_a_lost_connection_is_no_result(shared: Lab) -> None:
    with shared.session() as session:
        session.execute("create temporary table this (load_date date, thing_id integer)")
        text = header_of("odd: {bad_rows: 'select pg_terminate_backend(pg_backend_pid()) from {this}'}")
        header, lines, _ = split(PATH, text)
        session.execute("insert into pg_temp.this values (%s, 1)", [DAY])
        with pytest.raises(psycopg.OperationalError):
            audit(session, THIS, expand(header, PATH, lines), Facts(DAY))


# ---- rows and checksum


def checksum(room: Room, rows: list[Row]) -> str:
    return room.audit("", rows).checksum


def test_a_checksum_is_that_of_the_rows_in_whatever_order(room: Room) -> None:
    rows: list[Row] = [(1, "a", 1.5), (2, None, 2), (3, "", None)]
    first = checksum(room, rows)
    assert checksum(room, rows[::-1]) == first
    others: list[list[Row]] = [
        rows[:2],
        [*rows, rows[0]],
        [(1, "a", 1.5), (2, "", 2), (3, None, None)],
        [(2, "a", 1.5), (1, None, 2), (3, "", None)],
        [],
    ]
    assert len({first, *(checksum(room, other) for other in others)}) == 6
    assert checksum(room, []) == "0"


def test_checks_are_reported_in_their_order(room: Room) -> None:
    header, lines, _ = split(PATH, header_of("odd: {bad_rows: select 1 as a}\nnot_null: [name]"))
    checks = expand(header, PATH, lines)
    found = audit(room.session, THIS, checks, Facts(DAY))
    assert [result.name for result in found.results] == [check.name for check in checks]
