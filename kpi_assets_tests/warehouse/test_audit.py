"""Checks over a whole build: min_rows, reconcile, record counts and checksums; and checks that fail or time out."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from kpi_assets.model.checks.base import AuditFacts, Need
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.checks.keys import packed
from kpi_assets.model.checks.row_counts import PREVIOUS, USUAL
from kpi_assets.model.growing import as_one_batch
from kpi_assets.model.header import split
from kpi_assets.model.names import Relation
from kpi_assets.model.results import CheckResult
from kpi_assets.warehouse import audit as audit_module
from kpi_assets.warehouse import scan
from kpi_assets.warehouse.audit import audit
from kpi_assets.warehouse.checksum import checksum_of
from kpi_assets_tests.pipeline_harness import DAY, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.warehouse.audit_harness import PATH, THIS, TYPES, AuditHarness, Row, header_of

# ---- min_rows


HALF = "{of_previous: 0.5}"
SHARES = "{at_least: 3, of_usual: 0.4}"
WEEKS = (90, 110, 20, 100)  # row counts of Saturdays, because DAY is a Saturday


@pytest.mark.parametrize(
    ("words", "before", "rows", "passed", "threshold", "message"),
    [
        ("{at_least: 3}", {}, 2, False, 3, "2 rows, at least 3 are wanted"),
        ("{at_least: 3}", {}, 3, True, 3, ""),
        (HALF, {PREVIOUS: []}, 0, True, 0, ""),
        (HALF, {PREVIOUS: [10]}, 5, True, 5, ""),
        (
            HALF,
            {PREVIOUS: [10]},
            4,
            False,
            5,
            "4 rows, at least 5 are wanted (50% of the 10 rows of the load_date before)",
        ),
        (
            HALF,
            {PREVIOUS: [11]},
            5,
            False,
            5.5,
            "5 rows, at least 5.5 are wanted (50% of the 11 rows of the load_date before)",
        ),
        (HALF, {PREVIOUS: [11]}, 6, True, 5.5, ""),
        (HALF, {PREVIOUS: [0]}, 0, True, 0, ""),
        ("{at_least: 5, of_previous: 0.5}", {PREVIOUS: [10]}, 4, False, 5, "4 rows, at least 5 are wanted"),
        ("{at_least: 7, of_previous: 0.5}", {PREVIOUS: [10]}, 6, False, 7, "6 rows, at least 7 are wanted"),
        (
            "{of_previous: 1}",
            {PREVIOUS: [4]},
            3,
            False,
            4,
            "3 rows, at least 4 are wanted (100% of the 4 rows of the load_date before)",
        ),
        ("{of_previous: 1}", {PREVIOUS: [4]}, 4, True, 4, ""),
        # The median of an even number of load_dates is the mean of the two in the middle.
        (
            SHARES,
            {USUAL: WEEKS},
            37,
            False,
            38,
            "37 rows, at least 38 are wanted (40% of 95, the median of the last 4 Saturdays)",
        ),
        (SHARES, {USUAL: WEEKS}, 38, True, 38, ""),
        (
            SHARES,
            {USUAL: (*WEEKS, 95)},
            37,
            False,
            38,
            "37 rows, at least 38 are wanted (40% of 95, the median of the last 5 Saturdays)",
        ),
        (SHARES, {USUAL: (1, 1, 1, 1)}, 2, False, 3, "2 rows, at least 3 are wanted"),
        (
            SHARES,
            {USUAL: WEEKS[:3]},
            3,
            True,
            3,
            "of_usual is not judged yet: 3 of the 4 Saturdays that it takes are published",
        ),
        (SHARES, {USUAL: WEEKS[:3]}, 2, False, 3, "2 rows, at least 3 are wanted"),
        (
            "{of_previous: 0.9, of_usual: 0.4}",
            {PREVIOUS: [50], USUAL: WEEKS},
            40,
            False,
            45,
            "40 rows, at least 45 are wanted (90% of the 50 rows of the load_date before)",
        ),
        (
            "{of_previous: 0.5, of_usual: 0.4}",
            {PREVIOUS: [50], USUAL: WEEKS},
            30,
            False,
            38,
            "30 rows, at least 38 are wanted (40% of 95, the median of the last 4 Saturdays)",
        ),
    ],
)
def test_min_rows_at_its_boundary(
    audit_harness: AuditHarness,
    words: str,
    before: dict[Need, Any],
    rows: int,
    passed: bool,
    threshold: float,
    message: str,
) -> None:
    header, lines, _ = split(PATH, header_of().replace("{at_least: 0}", words))
    audit_harness.fill([(number,) for number in range(rows)])
    checks = [check for check in expand(header, PATH, lines) if check.name == "min_rows"]
    [result] = audit(audit_harness.session, THIS, TYPES, checks, AuditFacts(DAY, looked_up=before)).results
    assert result == CheckResult("min_rows", passed, True, rows, threshold, message)


def test_of_previous_compares_with_the_latest_earlier_published_load_date(lab: PipelineHarness) -> None:
    def build(day: date, rows: int) -> tuple[bool, float | None]:
        lab.put_things(b"thing_id,name,weight\n" + b"".join(b"%d,,\n" % number for number in range(rows)), day)
        outcome = lab.build("raw.things", day)
        [threshold] = [result.threshold for result in outcome.results if result.name == "min_rows"]
        return outcome.held, threshold

    lab.file("raw/things.sql", RAW_THINGS.replace("@end", "checks: {min_rows: {of_previous: 0.5}}\n@end"))
    third = NEXT + timedelta(days=1)
    assert build(NEXT, 8) == (False, 1)
    assert build(third, 3) == (True, 4)
    assert build(third + timedelta(days=1), 4) == (False, 4), "a held load_date is not compared with"
    assert build(third, 4) == (False, 4)
    assert build(DAY, 1) == (False, 1), "a later load_date is not compared with"


# ---- reconcile

RULES = "reconcile: {source: raw.lines, dropped: {free: price = 0, unsold: price is null}}"
PRICES = [5, 7, 9, 0, 0, None]  # of the source: two are free, one is unsold, three are expected in the table


@pytest.mark.parametrize(
    ("here", "missing", "unexplained"),
    [(3, 0, ""), (2, 1, " + 1 unexplained"), (5, -2, " + -2 unexplained"), (0, 3, " + 3 unexplained")],
)
def test_reconcile_counts_source_rows_as_here_or_dropped_by_a_named_rule(
    audit_harness: AuditHarness, here: int, missing: int, unexplained: str
) -> None:
    for price in PRICES:
        audit_harness.session.execute("insert into raw.lines values (%s, 1, %s)", [DAY, price])
    audit_harness.session.execute("insert into raw.lines values (%s, 1, 0)", [NEXT])
    rows: list[Row] = [(number,) for number in range(here)]
    result = audit_harness.results(RULES, rows, source_rows={Relation("raw", "lines"): len(PRICES)})["reconcile"]
    assert result == CheckResult(
        "reconcile",
        passed=missing == 0,
        blocking=True,
        metric=missing,
        threshold=0,
        message=f"6 rows of raw.lines = {here} here + 2 dropped by free + 1 dropped by unsold{unexplained}",
        dimension="consistency",
        examined=6,
        bad=abs(missing),
    )


BOTH_RULES = "reconcile: {source: raw.lines, dropped: {free: price = 0, cheap: price < 5}}"


@pytest.mark.parametrize(("here", "end", "missing"), [(3, "", 0), (2, " + 1 unexplained", 1)])
def test_a_row_that_two_rules_drop_does_not_stand_for_one_that_is_lost(
    audit_harness: AuditHarness, here: int, end: str, missing: int
) -> None:
    for price in (0, 1, 5, 7, 9):
        audit_harness.session.execute("insert into raw.lines values (%s, 1, %s)", [DAY, price])
    source = {Relation("raw", "lines"): 5}
    found = audit_harness.results(BOTH_RULES, [(n,) for n in range(here)], source_rows=source)["reconcile"]
    start = f"5 rows of raw.lines = {here} here + 1 dropped by free + 2 dropped by cheap + -1 dropped by several rules"
    assert (found.passed, found.metric, found.message) == (not missing, missing, f"{start}{end}")


def test_rows_of_an_empty_source_count_as_one_bad_row(audit_harness: AuditHarness) -> None:
    found = audit_harness.results(RULES, [(1,), (2,)], source_rows={Relation("raw", "lines"): 0})["reconcile"]
    assert (found.metric, found.bad, found.examined) == (-2, 1, 1)
    more = audit_harness.results(RULES, [(n,) for n in range(9)], source_rows={Relation("raw", "lines"): 3})[
        "reconcile"
    ]
    assert (more.metric, more.bad, more.examined) == (-6, 3, 3), "no more rows are bad than were examined"


@pytest.mark.parametrize(("orders", "missing"), [([2, 4], 0), ([2, None], 4), ([], 6)])
def test_reconcile_may_compare_source_rows_with_a_sum(
    audit_harness: AuditHarness, orders: list[int | None], missing: int
) -> None:
    rows: list[Row] = [(number, None, None, None, None, order) for number, order in enumerate(orders)]
    checks = "reconcile: {source: raw.lines, counted: 'sum(\"order\")'}"
    result = audit_harness.results(checks, rows, source_rows={Relation("raw", "lines"): 6})["reconcile"]
    assert (result.metric, result.passed) == (missing, not missing)


SUMMED = "reconcile: {source: raw.lines, sum: price, here: weight, dropped: {free: price < 1, orphan: thing_id = 9}}"


def summed(
    audit_harness: AuditHarness, checks: str, prices: list[str | None], weights: list[str | None]
) -> CheckResult:
    for price in prices:
        audit_harness.session.execute("insert into raw.lines values (%s, 1, %s)", [DAY, price])
    audit_harness.session.execute("insert into raw.lines values (%s, 1, 1000)", [NEXT])
    return audit_harness.results(checks, [(number, None, weight) for number, weight in enumerate(weights)])["reconcile"]


@pytest.mark.parametrize(
    ("prices", "weights", "missing", "message"),
    [
        (
            ["20.10", "30.20", "0.50"],
            ["50.30"],
            0,
            "50.80 as sum(price) of raw.lines = 50.30 here + 0.50 dropped by free + 0 dropped by orphan",
        ),
        (
            ["57.50", "0.1", None],
            ["31.10"],
            26.4,
            "57.60 as sum(price) of raw.lines = 31.10 here + 0.1 dropped by free + 0 dropped by orphan"
            " + 26.40 unexplained",
        ),
        ([], [], 0, "0 as sum(price) of raw.lines = 0 here + 0 dropped by free + 0 dropped by orphan"),
        (
            [None],
            [None, "2"],
            -2,
            "0 as sum(price) of raw.lines = 2.00 here + 0 dropped by free + 0 dropped by orphan + -2.00 unexplained",
        ),
    ],
)
def test_reconcile_compares_a_sum_of_the_source_with_a_sum_here(
    audit_harness: AuditHarness, prices: list[str | None], weights: list[str | None], missing: float, message: str
) -> None:
    assert summed(audit_harness, SUMMED, prices, weights) == CheckResult(
        "reconcile",
        passed=not missing,
        blocking=True,
        metric=missing,
        threshold=0,
        message=message,
        dimension="consistency",
        examined=len(weights),
        bad=len(weights) if missing else 0,
    )


def test_reconcile_compares_sums_exactly(audit_harness: AuditHarness) -> None:
    checks = "reconcile: {source: raw.lines, sum: price, here: weight + 100000000000000000000000000000000000}"
    prices: list[str | None] = ["100000000000000000000000000000000001.00000000000000000000000000000000000001"]
    found = summed(audit_harness, checks, prices, ["1"])
    assert (found.passed, found.metric) == (False, 1e-38)
    assert found.message.endswith(" + 0.00000000000000000000000000000000000001 unexplained")


def test_reconcile_may_compare_a_sum_of_the_source_with_a_count(audit_harness: AuditHarness) -> None:
    found = summed(
        audit_harness, "reconcile: {source: raw.lines, sum: price, counted: count(*) + 1}", ["2", "1"], ["1", "1"]
    )
    assert (found.passed, found.message) == (True, "3 as sum(price) of raw.lines = 3 here")


@pytest.mark.parametrize(
    ("here", "prices", "inexact"),
    [
        ("least(share, thing_id * share)", ["1"], "here"),
        ("thing_id", ["1", "NaN"], "source"),
        ("thing_id", ["1", "-Infinity"], "source"),
    ],
)
def test_reconcile_reports_an_error_for_a_sum_that_is_not_exact(
    audit_harness: AuditHarness, here: str, prices: list[str | None], inexact: str
) -> None:
    checks = (
        f"reconcile: {{source: raw.lines, sum: price, here: '{here.replace('share', 'share::pg_catalog.float8')}'}}"
    )
    found = summed(audit_harness, checks, prices, ["1"])
    assert (found.verdict, found.metric, found.blocks_publish) == ("error", None, True)
    assert found.message == (
        f"the check itself failed: sum(price) is not an exact number ({inexact}): cast what is added up to numeric"
    )


# ---- records of an object

SOURCE = "source: {object: 'raw/{load_date}.csv', format: csv}\nquarantine: {rows: 2}\ncolumns:"


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
def test_every_record_of_an_object_is_loaded_or_quarantined(
    audit_harness: AuditHarness, facts: Mapping[str, Any], accounted: Row, quarantine: Row
) -> None:
    text = header_of().replace("columns:", SOURCE)
    header, lines, _ = split(PATH, text)
    audit_harness.fill([(1,), (2,), (3,)])
    found = audit(audit_harness.session, THIS, TYPES, expand(header, PATH, lines), AuditFacts(DAY, **facts))
    first, second = found.results[:2]
    assert (first.name, first.threshold, second.name, second.threshold) == ("rows_accounted", 0, "quarantine", 2)
    assert (first.passed, first.metric, first.message) == accounted
    assert (second.passed, second.metric) == quarantine
    assert found.blocks_publish == (not (first.passed and second.passed))


STREAM_SOURCE = """\
storage: partitions
quarantine: {share: 0.01}
source:
  stream: things
  object: raw/things/load_date={load_date}/
  format: ndjson
columns:"""


@pytest.mark.parametrize(
    ("facts", "passed", "threshold"),
    [
        ({"quarantined": 20}, True, 20),  # of 23 records: so many may always be set aside
        ({"quarantined": 21}, False, 20),
        ({"quarantined": 1, "records_before": 5_000, "quarantined_before": 49}, True, 1),  # 1 % of the load_date
        ({"quarantined": 2, "records_before": 5_000, "quarantined_before": 49}, False, 1),
        ({"quarantined": 1, "records_before": 5_000, "quarantined_before": 70}, False, 0),  # the share was larger then
        ({"quarantined": 0, "records_before": 5_000, "quarantined_before": 70}, True, 0),
        ({"quarantined": 30, "records_before": 90_000}, False, 20),  # a batch that is bad holds on a good load_date
        ({"quarantined": 30, "discarded": 10}, True, 20),
    ],
)
def test_a_stream_may_set_aside_a_share_of_a_batch_and_of_the_load_date_so_far(
    audit_harness: AuditHarness, facts: dict[str, int], passed: bool, threshold: int
) -> None:
    text = header_of(grain="[stream_partition, stream_position]").replace("columns:", STREAM_SOURCE)
    header, lines, _ = split(PATH, text.replace("checks:\n  min_rows: {at_least: 0}\n", ""))
    [accounted, quarantine] = expand(header, PATH, lines)[:2]
    assert quarantine.description == (
        "At most 1 % of a batch and of the load_date so far, or 20, of the records cannot be read as their columns' "
        "types."
    )
    audit_harness.fill([(1,), (2,), (3,)])
    records = 3 + facts["quarantined"]
    of_batch = AuditFacts(DAY, records=records, **facts)  # type: ignore[arg-type]
    found = audit(audit_harness.session, THIS, TYPES, [accounted, quarantine], of_batch)
    assert [result.passed for result in found.results] == [True, passed]
    assert found.results[1].threshold == threshold


def test_rows_that_came_before_are_a_term_of_the_accounting(audit_harness: AuditHarness) -> None:
    text = header_of("reconcile: {source: pg_temp.clicks}", "[thing_id]")
    place = "  stream_partition: {type: integer, description: Partition.}\n"
    place += "  stream_position: {type: numeric, description: Position.}\n"
    text = text.replace("columns:\n", f"storage: partitions\nrepeats: {{keep: first}}\ncolumns:\n{place}")
    header, lines, _ = split(PATH, text.replace("  min_rows: {at_least: 0}\n", "") + "select %(batch)s as batch")
    [_, reconcile] = expand(header, PATH, lines)
    session = audit_harness.session
    session.execute("create temporary table clicks (load_date date, batch integer, thing_id integer)")
    for batch, thing in ((1, 1), (1, 2), (2, 2), (2, 3), (2, 3), (2, 4)):
        session.execute("insert into pg_temp.clicks values (%s, %s, %s)", [DAY, batch, thing])

    def result(**facts: Any) -> tuple[bool, str]:
        found = audit(session, THIS, TYPES, [reconcile], AuditFacts(DAY, **facts)).results[0]
        return found.passed, found.message

    audit_harness.fill([(3,), (4,)])
    assert result(batch=2, repeats=2) == (True, "4 rows of pg_temp.clicks = 2 here + 2 repeats")
    assert result(batch=2, repeats=1) == (False, "4 rows of pg_temp.clicks = 2 here + 1 repeats + 1 unexplained")
    audit_harness.fill([(1,), (2,), (3,), (4,)])
    whole = {Relation("pg_temp", "clicks"): as_one_batch(Relation("pg_temp", "clicks"), ["thing_id"])}
    replayed = result(batch=1, repeats=2, substitutes=whole)
    assert replayed == (True, "6 rows of pg_temp.clicks = 4 here + 2 repeats"), "a replay reads all batches as one"


# ---- checks that fail to run


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
def test_a_check_whose_sql_fails_holds_the_build_and_other_checks_still_report(
    audit_harness: AuditHarness, query: str, reason: str, severity: str
) -> None:
    checks = f"""\
not_null: [name]
odd: {{severity: {severity}, bad_rows: '{query}'}}
heavy: {{bad_rows: 'select * from {{this}} where weight > 9'}}
"""
    found = audit_harness.audit(checks, [(0, "a"), (1, None, 10)], grain_is_proven=True)
    results = {result.name: result for result in found.results}
    odd = results.pop("odd")
    assert (odd.verdict, odd.passed, odd.blocks_publish, odd.metric, odd.samples) == ("error", False, True, None, [])
    assert odd.message == f"the check itself failed: {reason}"
    assert {name: result.metric for name, result in results.items()} == {
        "grain": 0,
        "not_null": 1,
        "heavy": 1,
    }
    assert (found.blocks_publish, found.rows) == (True, 2)


def test_a_sum_that_fails_is_an_error_of_its_own_check_only(audit_harness: AuditHarness) -> None:
    checks = "reconcile: {source: raw.lines, counted: sum(1 / thing_id)}\nnot_null: [name]"
    results = audit_harness.results(checks, [(0, "a")], source_rows={Relation("raw", "lines"): 1})
    assert (results["reconcile"].verdict, results["reconcile"].blocks_publish) == ("error", True)
    assert results["not_null"].passed


def test_a_drop_rule_that_fails_is_an_error_of_reconcile(audit_harness: AuditHarness) -> None:
    checks = "reconcile: {source: raw.lines, dropped: {odd: 1 / thing_id > 0}}"
    audit_harness.session.execute("insert into raw.lines values (%s, 0, 1)", [DAY])
    result = audit_harness.results(checks, [(0, "a")], source_rows={Relation("raw", "lines"): 1})["reconcile"]
    assert (result.verdict, result.message) == ("error", "the check itself failed: division by zero")


def test_a_check_that_times_out_is_an_error(audit_harness: AuditHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "CHECK_TIMEOUT", "50ms")
    results = audit_harness.results(
        "slow: {bad_rows: 'select pg_sleep(60) from {this}'}\nheavy: {bad_rows: 'select name from {this}'}", [(1,)]
    )
    assert results["slow"].message == "the check itself failed: canceling statement due to statement timeout"
    assert results["heavy"].metric == 1


@pytest.mark.parametrize(("weight", "scans"), [(9, 1), (10, 2)])
def test_a_build_is_scanned_a_second_time_only_if_a_row_is_bad(
    audit_harness: AuditHarness, monkeypatch: pytest.MonkeyPatch, weight: int, scans: int
) -> None:
    made = []
    measure = scan._measure
    monkeypatch.setattr(scan, "_measure", lambda *args: made.append(args) or measure(*args))
    checks = """\
not_null: [name]
range: {weight: [0, 9]}
heavy: {bad_rows: 'select * from {this} where weight > 9'}
reconcile: {source: raw.lines}
"""
    results = audit_harness.results(checks, [(1, "a", weight)], source_rows={Relation("raw", "lines"): 1})
    assert len(made) == scans
    assert results["heavy"].metric == results["range__weight"].metric == scans - 1
    assert (results["not_null"].metric, results["reconcile"].metric) == (0, 0)


def test_a_lost_connection_is_raised_and_not_recorded_as_a_result(shared: PipelineHarness) -> None:
    with shared.session() as session:
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in TYPES.items())
        session.execute(f"create temporary table this (load_date date, {columns})".encode())
        text = header_of("odd: {bad_rows: 'select pg_terminate_backend(pg_backend_pid()) from {this}'}")
        header, lines, _ = split(PATH, text)
        session.execute("insert into pg_temp.this (load_date, thing_id) values (%s, 1)", [DAY])
        with pytest.raises(psycopg.OperationalError):
            audit(session, THIS, TYPES, expand(header, PATH, lines), AuditFacts(DAY))


# ---- rows and checksum


def checksum(audit_harness: AuditHarness, rows: list[Row]) -> str:
    return audit_harness.audit("", rows).checksum


def test_a_checksum_depends_on_the_rows_and_not_on_their_order(audit_harness: AuditHarness) -> None:
    rows: list[Row] = [(1, "a", 1.5), (2, None, 2), (3, "", None)]
    first = checksum(audit_harness, rows)
    assert checksum(audit_harness, rows[::-1]) == first
    others: list[list[Row]] = [
        rows[:2],
        [*rows, rows[0]],
        [(1, "a", 1.5), (2, "", 2), (3, None, None)],
        [(2, "a", 1.5), (1, None, 2), (3, "", None)],
        [],
    ]
    assert len({first, *(checksum(audit_harness, other) for other in others)}) == 6
    assert checksum(audit_harness, []) == "0"


@pytest.mark.parametrize(
    ("rows", "others"),
    [
        ([(1, "anvil", None, None, "feather")], [(1, "feather", None, None, "anvil")]),
        ([(1, None, None, None, "feather")], [(1, "feather", None, None, None)]),
        ([(1, "anvil", None, None, "anvil")], [(1, "feather", None, None, "feather")]),
        ([(1, "a", None, None, None, 2)], [(2, "a", None, None, None, 1)]),
        ([(1, "a", None, None, None, 1)], [(2, "a", None, None, None, 2)]),
        (
            [(1, "a", None, None, "b"), (2, "c", None, None, "d")],
            [(1, "a", None, None, "d"), (2, "c", None, None, "b")],
        ),
        ([(1, "a"), (2, None)], [(1, None), (2, "a")]),
        ([(1, "a"), (1, "a")], [(1, "b"), (1, "b")]),
        ([(1,)], [(1, "")]),
    ],
    ids=str,
)
def test_swapped_values_change_the_checksum(audit_harness: AuditHarness, rows: list[Row], others: list[Row]) -> None:
    """Values are swapped between columns of one type, between rows, and with NULL. Equal values do not cancel out."""
    assert checksum(audit_harness, rows) != checksum(audit_harness, others)


# type -> (values, the checksum of one row per value and one row with NULL). The ledger compares replays by checksum,
# so no release of kpi_assets or of PostgreSQL may change it.
KNOWN = {
    "smallint": (["-7", "7"], "-17697931090854371675"),
    "integer": (["-7", "70000"], "-5656545907051919144"),
    "bigint": (["-7", "9007199254740993"], "-21561984998553915478"),
    "numeric": (["1.5", "1.50", "NaN"], "-22161195494396599261"),
    "numeric(6,2)": (["20.5"], "-354267141699191016"),
    "real": (["1.5", "-0"], "-1131072217158675570"),
    "double precision": (["0.1", "Infinity"], "-17586915724773030362"),
    "text": (["", "ñ 辣", "7"], "-4278946614250499738"),
    "boolean": (["true", "false"], "-5214778043168322503"),
    "date": (["2025-03-01"], "3299963410636794548"),
    "uuid": (["6ba7b810-9dad-11d1-80b4-00c04fd430c8"], "4448934816366516989"),
    "jsonb": (['{"a": [1, 2.50, null]}'], "6284026674492583953"),
    "timestamp without time zone": (["2025-03-01 04:05:06.789"], "3085298290726940606"),
    "timestamp with time zone": (["2025-03-01 04:05:06+02"], "-2007174763000962885"),
    "character varying": (["", "ñ 辣", "7"], "-4278946614250499738"),
    "character varying(3)": (["", "ñ 辣", "7"], "-4278946614250499738"),
    "character(3)": (["", "ñ 辣", "7"], "-4278946614250499738"),
    "time without time zone": (["04:05:06.789"], "-281949112901548563"),
    "integer[]": (["{}", "{1,NULL}"], "-4789060313887466152"),
    "numeric(4,2)[]": (["{1.5,2.50}"], "-3516903882642588387"),
    "timestamp with time zone[]": (['{"2025-03-01 04:05:06+02"}'], "-4195806082720193054"),
}


@pytest.mark.parametrize("type_", KNOWN)
def test_the_checksum_of_known_values_is_the_same_on_every_server(audit_harness: AuditHarness, type_: str) -> None:
    audit_harness.session.execute(f"create temporary table known (id integer, value {type_})")
    values, expected = KNOWN[type_]
    for number, value in enumerate([*values, None]):
        audit_harness.session.execute("insert into pg_temp.known values (%s, %s)", [number, value])
    query = f"select {checksum_of({'id': 'integer', 'value': type_})} from pg_temp.known"
    assert audit_harness.session.execute(query).fetchone() == (expected,)


ENDS = [-(2**31), -(2**15) - 1, -(2**15), -2, -1, 0, 1, 2, 2**15 - 1, 2**15, 2**31 - 1]


def test_packing_integer_columns_into_one_number_is_injective(audit_harness: AuditHarness) -> None:
    value = packed(["a", "b"], {"a": "integer", "b": "integer"})
    pairs = "unnest(%(ends)s::integer[]) as a, unnest(%(ends)s::integer[]) as b"
    query = f"select count(distinct {value}), count(*) from {pairs}"
    assert audit_harness.session.execute(query, {"ends": ENDS}).fetchone() == (121, 121)
    small = [end for end in ENDS if -(2**15) <= end < 2**15]
    value = packed(["b", "a", "c"], {"a": "integer", "b": "smallint", "c": "smallint"})
    query = (
        f"select count(distinct {value}), count(*) from unnest(%(ends)s::integer[]) as a, "
        "unnest(%(small)s::smallint[]) as b, unnest(%(small)s::smallint[]) as c"
    )
    assert audit_harness.session.execute(query, {"ends": ENDS, "small": small}).fetchone() == (7 * 11 * 7, 7 * 11 * 7)
    assert packed(["a"], {"a": "bigint"}) == '"a"'
    assert packed(["a", "b"], {"a": "bigint", "b": "smallint"}) is None
    assert packed(["a"], {"a": "text"}) is None


def test_results_are_in_the_order_of_the_checks(audit_harness: AuditHarness) -> None:
    header, lines, _ = split(PATH, header_of("odd: {bad_rows: select 1 as a}\nnot_null: [name]"))
    checks = expand(header, PATH, lines)
    found = audit(audit_harness.session, THIS, TYPES, checks, AuditFacts(DAY))
    assert [result.name for result in found.results] == [check.name for check in checks]
