"""Freshness by load_date: when a KPI is late, and that it and its recovery are reported once each."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.doctor import warehouse
from kpi_assets.ledger import incidents
from kpi_assets.monitoring import freshness
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets_tests.ledger.test_incidents import every_incident, publish
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness

KPI = "kpi: {chart: {x: thing_id, y: weight}}\nfreshness: {within_hours: 36}\n@end"
TODAY = datetime.now(timezone.utc).date()


@pytest.fixture(scope="module")
def shared(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.file("marts/weighed.sql", MART.replace("@end", KPI))
        opened.file("marts/again.sql", MART.replace("@end", KPI.replace("36", "60")))
        opened.file("marts/unpromised.sql", MART)
        opened.prepared()
        yield opened


@pytest.fixture
def session(shared: PipelineHarness) -> Iterator[Connection[Any]]:
    with shared.session() as opened:
        opened.execute(
            "truncate ops.pipeline_runs, ops.data_quality_results, ops.publishes, ops.quarantine, ops.holds cascade"
        )
        opened.execute("truncate ops.alerts, ops.alert_deliveries")
        yield opened


def late(session: Connection[Any], shared: PipelineHarness, now: datetime) -> list[tuple[str, date]]:
    return [(str(found.relation), found.latest) for found in freshness.late(session, shared.pipeline(), now)]


def report_and_close(session: Connection[Any], shared: PipelineHarness) -> list[date]:
    """Report late KPIs and close recovered ones as the alerts sensor does; return the load_dates that recovered."""
    freshness.report_late(session, shared.pipeline())
    return close_recovered(session, shared.pipeline())


def test_lateness_counts_from_the_load_date_and_not_from_its_build(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    noon = datetime(2025, 3, 4, 12, 0, tzinfo=timezone.utc)  # 36 hours after NEXT ended
    assert late(session, shared, noon) == [], "a KPI that was never published is not late"
    for job in ("marts.weighed", "marts.unpromised"):
        publish(session, job, day=NEXT)
    assert late(session, shared, noon) == []
    assert late(session, shared, noon + timedelta(seconds=1)) == [("marts.weighed", NEXT)]
    publish(session, "marts.weighed", day=DAY)
    assert late(session, shared, noon + timedelta(seconds=1)) == [("marts.weighed", NEXT)], (
        "an older load_date changes nothing"
    )
    publish(session, "marts.weighed", day=NEXT + timedelta(days=1))
    assert late(session, shared, noon + timedelta(seconds=1)) == []


def test_a_pipeline_that_publishes_yesterday_every_morning_is_never_late(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    """A day is due once it is over, and then has until the noon after."""
    second = timedelta(seconds=1)
    publish(session, "marts.weighed", day=DAY)
    for number in range(1, 4):
        today = datetime(2025, 3, 1 + number, tzinfo=timezone.utc)
        for at in (today, today.replace(hour=8), today.replace(hour=12) + second, today + timedelta(days=1) - second):
            assert late(session, shared, at) == [], f"{at}: {today.date()} is not over"
        morning = today + timedelta(days=1, hours=8)
        assert late(session, shared, morning) == []
        publish(session, "marts.weighed", day=today.date())
    last = today + timedelta(days=2, hours=12)
    assert late(session, shared, last) == []
    assert late(session, shared, last + second) == [("marts.weighed", today.date())]


def test_a_late_kpi_and_its_recovery_are_each_reported_once(session: Connection[Any], shared: PipelineHarness) -> None:
    for job in ("marts.weighed", "marts.again"):
        publish(session, job, day=DAY)
    assert report_and_close(session, shared) == report_and_close(session, shared) == []
    since = ("marts.again is late since 2025-03-04 12:00 UTC", "marts.weighed is late since 2025-03-03 12:00 UTC")
    rest = "its latest published load_date is 2025-03-01, and its freshness is within_hours:"
    end = "counted from that load_date's end"
    details = [f"{since[0]}: {rest} 60, {end}", f"{since[1]}: {rest} 36, {end}"]
    assert every_incident(session) == [(NEXT, "late", None, "marts.again", details, 1, True)]

    for job in ("marts.weighed", "marts.again"):
        publish(session, job, day=NEXT)
    assert report_and_close(session, shared) == [], "after one more load_date the KPI is still late"
    assert len(every_incident(session)) == 1
    for job in ("marts.weighed", "marts.again"):
        publish(session, job, day=TODAY)
    assert report_and_close(session, shared) == [NEXT]
    assert report_and_close(session, shared) == []
    assert [(row[0], row[1], row[-1]) for row in every_incident(session)] == [
        (NEXT, "late", False),
        (NEXT, "recovered", False),
    ]


def test_a_load_date_that_lacks_objects_is_not_reported_a_second_time(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    publish(session, "marts.weighed", day=DAY)
    incidents.report_late(session, shared.name, NEXT, "things.csv is missing")
    report_and_close(session, shared)
    assert [row[4] for row in every_incident(session)] == [["things.csv is missing"]]


def test_the_doctor_names_a_late_kpi(session: Connection[Any], shared: PipelineHarness) -> None:
    publish(session, "marts.weighed", day=DAY)
    found = [
        each for each in warehouse.server(shared.server, [shared.pipeline()], embedded=True) if "late" in each.text
    ]
    [(state, text)] = [(each.state, each.text) for each in found]
    assert state == "advice"
    assert text.startswith("marts.weighed is late since 2025-03-03 12:00 UTC: ")
    assert text.endswith(
        f" within_hours: 36, counted from that load_date's end: `kpi plan {shared.name}` says what is not published"
    )
