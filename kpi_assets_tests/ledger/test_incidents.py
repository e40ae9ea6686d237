"""Incidents are opened with their event, once per load_date and kind, and closed when the load_date is published."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.fixtures.database import clear_ledger
from kpi_assets.ledger import incidents, publishes, results, runs
from kpi_assets.ledger.runs import Counts
from kpi_assets.model.names import Relation
from kpi_assets.model.results import CheckResult
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness

INCIDENTS = "select load_date, kind, run_id, job, details, occurrences, closed_at is null from ops.alerts order by id"
ENDED = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def shared(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.file("marts/weighed.sql", MART)
        opened.prepared()
        yield opened


@pytest.fixture
def session(shared: PipelineHarness) -> Iterator[Connection[Any]]:
    """A session on a database whose tables of ops are empty."""
    with shared.session() as opened:
        clear_ledger(opened)
        yield opened


def opened(session: Connection[Any], job: str, run_id: str = "r1", day: date | None = DAY) -> int:
    return runs.open_row(session, run_id=run_id, pipeline=session.info.dbname, job=job, load_date=day)


def closed(
    session: Connection[Any], job: str, status: runs.Status, run_id: str = "r1", day: date = DAY, **more: Any
) -> int:
    """Record a build that has ended and return the id of its row."""
    build_id = opened(session, job, run_id, day)
    runs.close_build(session, build_id, status, layer="raw", counts=Counts(), **more)
    return build_id


def every_incident(session: Connection[Any]) -> list[tuple[Any, ...]]:
    return session.execute(INCIDENTS).fetchall()


def publish(session: Connection[Any], job: str, run_id: str = "r2", day: date = DAY) -> None:
    with session.transaction():
        build_id = closed(session, job, "success", run_id, day)
        publishes.record(
            session,
            Relation.parse(job),
            day,
            build_id=build_id,
            run_id=run_id,
            manifest_hash="m",
            code_version="c",
            rows=1,
            checksum="1",
            size_bytes=1,
            inputs={},
            columns={},
        )


def publish_all(session: Connection[Any], run_id: str = "r2", day: date = DAY) -> None:
    closed(session, "s3.things", "success", run_id, day)
    publish(session, "raw.things", run_id, day)
    publish(session, "marts.weighed", run_id, day)


def recovered(session: Connection[Any], shared: PipelineHarness) -> list[date]:
    return close_recovered(session, shared.pipeline())


def test_a_held_build_opens_an_incident_that_says_which_checks_hold_it(session: Connection[Any]) -> None:
    build_id = opened(session, "raw.things")
    found = [
        CheckResult("grain", passed=False, blocking=True, metric=1, threshold=0, message="1 bad row"),
        CheckResult("min_rows", passed=True, blocking=True, metric=2, threshold=1, message="2 rows"),
        CheckResult("light", passed=False, blocking=False, metric=1, threshold=0, message="only a warning"),
        CheckResult("range", passed=False, blocking=True, metric=3, threshold=0, message="3 bad rows"),
    ]
    results.record(
        session, found, run_id="r1", build_id=build_id, table="raw.things", load_date=DAY, subject="candidate"
    )
    words = {"error": "held by grain, range; and more", "candidate": "builds.things__1"}
    runs.close_build(session, build_id, "held", layer="raw", counts=Counts(), **words)
    told = "raw.things: grain (1 bad row), range (3 bad rows); the candidate is kept as builds.things__1"
    assert every_incident(session) == [(DAY, "held", "r1", "raw.things", [told], 1, True)]


@pytest.mark.parametrize("status", ["held", "failed"])
def test_an_incident_is_rolled_back_with_its_event(session: Connection[Any], status: runs.Status) -> None:
    with session.transaction(force_rollback=True):
        closed(session, "raw.things", status, error="why")
        assert [row[1] for row in every_incident(session)] == [status]
    assert every_incident(session) == []
    assert session.execute("select count(*) from ops.pipeline_runs").fetchone() == (0,)


@pytest.mark.parametrize("status", ["held", "failed"])
def test_a_row_is_not_closed_without_its_incident(
    session: Connection[Any], shared: PipelineHarness, monkeypatch: pytest.MonkeyPatch, status: runs.Status
) -> None:
    """If the process dies between the two statements, neither takes effect."""
    with shared.session() as dying:
        opened(dying, "raw.died", "r0")
        pid = dying.info.backend_pid
    eventually(lambda: shared.rows(f"select 1 from pg_stat_activity where pid = {pid}") == [])
    run = opened(session, "shop")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(incidents, "report_row", die)
    for close in (
        lambda: closed(session, "raw.things", status, error="why"),
        lambda: runs.close_run(session, run, "r1", "why"),
        lambda: runs.close_dead_rows(session),
    ):
        with pytest.raises(KeyboardInterrupt):
            close()
    assert session.execute("select distinct status from ops.pipeline_runs").fetchall() == [("running",)]


def test_a_published_build_opens_no_incident(session: Connection[Any]) -> None:
    publish_all(session)
    runs.close_run(session, opened(session, "shop", "r2"), "r2")
    assert every_incident(session) == []


def test_a_build_is_closed_and_reported_once(session: Connection[Any]) -> None:
    build_id = closed(session, "raw.things", "held", error="why")
    assert not runs.close_build(session, build_id, "failed", layer="raw", counts=Counts(), error="too late")
    assert [row[1] for row in every_incident(session)] == ["held"]


def test_all_held_tables_of_one_run_are_one_incident(session: Connection[Any]) -> None:
    run = opened(session, "shop")
    closed(session, "s3.things", "held", error="not there")
    closed(session, "s3.others", "held", error="not there either")
    closed(session, "s3.things", "held", error="not there")
    assert runs.close_run(session, run, "r1") == "held"
    told = ["s3.things: not there", "s3.others: not there either"]
    assert every_incident(session) == [(DAY, "held", "r1", "s3.things", told, 1, True)]


def test_a_repeated_failure_is_counted_and_has_the_reason_of_the_latest_run(session: Connection[Any]) -> None:
    for run_id, job, why in (("r1", "raw.things", "one"), ("r2", "raw.others", "two"), ("r3", "raw.others", "three")):
        run = opened(session, "shop", run_id)
        closed(session, job, "failed", run_id, error=why)
        runs.close_run(session, run, run_id)
    assert every_incident(session) == [(DAY, "failed", "r3", "raw.others", ["raw.others: three"], 3, True)]


def test_each_load_date_and_kind_is_a_separate_incident(session: Connection[Any]) -> None:
    closed(session, "raw.things", "held", error="one")
    closed(session, "raw.things", "failed", error="two")
    closed(session, "raw.things", "held", day=NEXT, error="three")
    incidents.report_late(session, session.info.dbname, NEXT, "four")
    assert [(row[0], row[1]) for row in every_incident(session)] == [
        (DAY, "held"),
        (DAY, "failed"),
        (NEXT, "held"),
        (NEXT, "late"),
    ]


def test_a_failed_run_without_failed_builds_opens_an_incident(session: Connection[Any]) -> None:
    runs.close_run(session, opened(session, "shop"), "r1", "no disk")
    assert every_incident(session) == [(DAY, "failed", "r1", "shop", ["shop: no disk"], 1, True)]


def test_a_failed_run_without_a_load_date_is_a_closed_incident(session: Connection[Any]) -> None:
    for run_id in ("r1", "r2"):
        runs.close_run(session, opened(session, "shop_sweep", run_id, None), run_id, "no disk")
    assert every_incident(session) == [
        (None, "failed", run_id, "shop_sweep", ["shop_sweep: no disk"], 1, False) for run_id in ("r1", "r2")
    ]


def test_a_process_that_died_is_reported_by_whoever_closes_its_rows(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    with shared.session() as dying:
        opened(dying, "shop")
        opened(dying, "raw.things")
        pid = dying.info.backend_pid
    eventually(lambda: shared.rows(f"select 1 from pg_stat_activity where pid = {pid}") == [])
    assert len(runs.close_dead_rows(session)) == 2
    died = "raw.things: The process that ran this died before it could finish."
    assert every_incident(session) == [(DAY, "failed", "r1", "raw.things", [died], 1, True)]


def test_a_late_load_date_is_reported_once(session: Connection[Any]) -> None:
    incidents.report_late(session, session.info.dbname, DAY, "orders.csv is missing")
    [(first,)] = session.execute("select last_at from ops.alerts").fetchall()
    incidents.report_late(session, session.info.dbname, DAY, "orders.csv is still missing")
    assert every_incident(session) == [(DAY, "late", None, None, ["orders.csv is missing"], 1, True)]
    assert session.execute("select last_at from ops.alerts").fetchall() == [(first,)]


def lost(
    session: Connection[Any],
    shared: PipelineHarness,
    run_id: str,
    ended_at: datetime,
    day: date | None = DAY,
    why: str = "lost",
) -> None:
    incidents.report_lost_run(session, shared.pipeline(), day, run_id, ended_at, why)


def test_a_failed_run_that_is_missing_in_the_run_log_is_reported_once(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    publish(session, "raw.things", "r0")
    later = datetime.now(timezone.utc) + timedelta(days=1)
    for run_id, ended_at in (
        ("r0", later),  # a run of the run log
        ("lost", ENDED - timedelta(days=1)),  # a run whose load_date was published later
        ("lost", later),
        ("lost", later),
    ):
        lost(session, shared, run_id, ended_at, why=f"{run_id} {ended_at:%Y}")
    lost(session, shared, "undated", ENDED, None, "undated")
    lost(session, shared, "undated", ENDED, None, "undated")
    assert every_incident(session) == [
        (DAY, "failed", "lost", None, [f"lost {later:%Y}"], 1, True),
        (None, "failed", "undated", None, ["undated"], 1, False),
    ]


def test_each_lost_run_is_counted_once_however_often_it_is_seen(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    ends = {run_id: ENDED + timedelta(milliseconds=n) for n, run_id in enumerate(("one", "two", "three"))}
    for seen in (["one", "two"], ["one", "two"], ["one", "two", "three"], ["one", "two", "three"]):
        for run_id in seen:
            lost(session, shared, run_id, ends[run_id], why=run_id)
    assert every_incident(session) == [(DAY, "failed", "three", None, ["three"], 3, True)]
    publish_all(session)
    assert recovered(session, shared) == [DAY]
    for run_id, ended_at in ends.items():
        lost(session, shared, run_id, ended_at)
    assert [(*row[:3], row[-2:]) for row in every_incident(session)] == [
        (DAY, "failed", "three", (3, False)),
        (DAY, "recovered", "r2", (1, False)),
    ]


def test_a_lost_run_after_a_failed_build_is_counted_once(session: Connection[Any], shared: PipelineHarness) -> None:
    closed(session, "raw.things", "failed", error="broken")
    ended_at = datetime.now(timezone.utc) + timedelta(hours=1)
    for _ in range(2):
        lost(session, shared, "lost", ended_at)
        closed(session, "raw.things", "failed", "r3", error="broken again")
    assert every_incident(session) == [
        (DAY, "failed", "r3", "raw.things", ["raw.things: broken again"], 3, True),
    ]


def test_a_lost_run_whose_load_date_is_published_is_a_closed_incident(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    publish_all(session, "r0")
    for _ in range(2):
        lost(session, shared, "l1", ENDED + timedelta(days=1))
        lost(session, shared, "l2", ENDED + timedelta(days=2))
    over = [(DAY, "failed", run_id, None, ["lost"], 1, False) for run_id in ("l1", "l2")]
    assert every_incident(session) == over
    assert recovered(session, shared) == []
    closed(session, "raw.things", "failed", "r3", error="broken")
    lost(session, shared, "l3", ENDED + timedelta(days=3))
    assert every_incident(session) == [*over, (DAY, "failed", "l3", None, ["lost"], 2, True)], (
        "a table of the load_date failed, so the incident stays open"
    )


def test_knows_run_finds_runs_in_the_run_log_and_in_incidents(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    opened(session, "shop")
    lost(session, shared, "lost", ENDED, None)
    assert [incidents.knows_run(session, run_id) for run_id in ("r1", "lost", "other")] == [True, True, False]


def test_a_published_load_date_recovers_once_from_all_its_incidents(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    incidents.report_late(session, session.info.dbname, DAY, "missing")
    closed(session, "raw.things", "held", error="bad")
    closed(session, "raw.things", "failed", error="broken")
    closed(session, "raw.things", "held", day=NEXT, error="bad")
    publish_all(session)

    assert recovered(session, shared) == [DAY]
    assert recovered(session, shared) == []

    assert [(*row[:3], row[-1]) for row in every_incident(session)] == [
        (DAY, "late", None, False),
        (DAY, "held", "r1", False),
        (DAY, "failed", "r1", False),
        (NEXT, "held", "r1", True),
        (DAY, "recovered", "r2", False),
    ]
    [(details,)] = session.execute("select details from ops.alerts where kind = 'recovered'").fetchall()
    assert [text.split(" since ")[0] for text in details] == ["it was late", "it was held", "it was failed"]

    closed(session, "raw.things", "held", "r3", error="bad again")
    assert every_incident(session)[-1] == (DAY, "held", "r3", "raw.things", ["raw.things: bad again"], 1, True)


def test_a_load_date_recovers_although_retention_dropped_a_table_of_it(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    publish_all(session, "r0")
    publishes.record_drop(session, [Relation("raw", "things")], DAY)
    closed(session, "marts.weighed", "held", error="bad")
    assert recovered(session, shared) == []
    publish(session, "marts.weighed", "r3")
    assert recovered(session, shared) == [DAY]


def test_a_load_date_does_not_recover_while_a_table_is_unpublished(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    closed(session, "raw.things", "held", error="bad")
    closed(session, "s3.things", "success", "r2")
    publish(session, "raw.things")
    assert recovered(session, shared) == []
    publish(session, "marts.weighed")
    assert recovered(session, shared) == [DAY]


@pytest.mark.parametrize("job", ["s3.things", "raw.things", "marts.weighed"])
@pytest.mark.parametrize("status", ["held", "failed"])
def test_a_publish_before_the_incident_does_not_close_it(
    session: Connection[Any], shared: PipelineHarness, job: str, status: runs.Status
) -> None:
    publish_all(session, "r0")
    closed(session, job, status, error="bad")
    assert recovered(session, shared) == []
    other = "marts.weighed" if job != "marts.weighed" else "raw.things"
    publish(session, other)
    assert recovered(session, shared) == [], "the latest build of that table was held or failed"
    publish_all(session, "r3")
    assert recovered(session, shared) == [DAY]


def test_a_publish_before_a_failed_run_does_not_close_its_incident(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    publish_all(session, "r0")
    runs.close_run(session, opened(session, "shop"), "r1", "no disk")
    assert recovered(session, shared) == []
    publish_all(session, "r2")
    runs.close_run(session, opened(session, "shop", "r3"), "r3", "no disk again")
    assert recovered(session, shared) == []
    publish_all(session, "r4")
    assert recovered(session, shared) == [DAY]


def test_a_publish_does_not_close_incidents_of_another_pipeline(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    incidents.report_late(session, "another", DAY, "missing")
    incidents.report_late(session, shared.name, NEXT, "missing")
    publish_all(session)
    assert recovered(session, shared) == []


def test_runs_that_end_at_once_do_not_deadlock(session: Connection[Any], shared: PipelineHarness) -> None:
    """Each thread holds and fails load_dates in its own order, loses sessions, and closes recovered incidents."""

    def days_of(number: int, round_: int) -> list[int]:
        return [(number * 3 + round_ * step) % 5 for step in (1, 2, 3)]

    def work(number: int) -> None:
        with shared.session() as mine:
            for round_ in range(8):
                run_id = f"{number}.{round_}"
                days = [DAY + timedelta(days=n) for n in dict.fromkeys(days_of(number, round_))]
                run = opened(mine, "shop", run_id, None)
                for day in days:
                    closed(mine, "raw.things", "held", run_id, day, error=run_id)
                with shared.session() as dying:
                    for day in reversed(days):
                        opened(dying, "marts.weighed", run_id, day)
                runs.close_dead_rows(mine)
                runs.close_run(mine, run, run_id)
                close_recovered(mine, shared.pipeline())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    counted = session.execute("select count(*), sum(occurrences) from ops.alerts where kind = 'held'").fetchone()
    assert counted == (5, sum(len({*days_of(number, round_)}) for number in range(4) for round_ in range(8)))


def test_open_incidents_are_listed_by_load_date(session: Connection[Any]) -> None:
    incidents.report_late(session, session.info.dbname, NEXT, "missing")
    closed(session, "raw.things", "failed", error="broken")
    incidents.report_late(session, session.info.dbname, DAY, "over")
    session.execute("update ops.alerts set closed_at = clock_timestamp() where details = array['over']")
    assert [(row["load_date"], row["kind"], row["details"]) for row in incidents.open_incidents(session)] == [
        (DAY, "failed", ["raw.things: broken"]),
        (NEXT, "late", ["missing"]),
    ]
