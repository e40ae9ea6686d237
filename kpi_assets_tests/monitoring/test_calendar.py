"""What is not due is not late, and opens no incident; one of a load_date that is due no more is closed."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.monitoring import freshness
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets_tests.ledger.test_incidents import closed, every_incident, publish
from kpi_assets_tests.pipeline_harness import MART, PIPELINE_YAML, RAW_THINGS, PipelineHarness

KPI = "kpi: {chart: {x: thing_id, y: weight}}\nfreshness: {within_hours: 36}\n@end"
OTHERS = RAW_THINGS.replace("raw/things", "raw/others").replace("format: csv", "format: csv\n  every: monday")
FRIDAY, SATURDAY, MONDAY, TUESDAY = (date(2025, 3, day) for day in (7, 8, 10, 11))


@pytest.fixture(scope="module")
def shared(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("calendar")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.file("raw/others.sql", OTHERS)
        opened.file("marts/weighed.sql", MART.replace("@end", KPI))
        opened.file("marts/weekly.sql", MART.replace("@end", KPI).replace("raw.things", "raw.others"))
        opened.prepared()
        yield opened


@pytest.fixture
def session(shared: PipelineHarness) -> Iterator[Connection[Any]]:
    calendar(shared, "weekday, except: [2025-03-10]")
    with shared.session() as opened:
        opened.execute(
            "truncate ops.pipeline_runs, ops.data_quality_results, ops.publishes, ops.quarantine, ops.holds cascade"
        )
        opened.execute("truncate ops.alerts, ops.alert_deliveries")
        yield opened


def calendar(shared: PipelineHarness, every: str) -> None:
    yaml = PIPELINE_YAML.format(bucket=shared.bucket)
    (shared.folder / "pipeline.yaml").write_text(f"{yaml}calendar: {{every: {every}}}\n")


def late(session: Connection[Any], shared: PipelineHarness, now: datetime) -> list[tuple[str, date, date]]:
    found = freshness.late(session, shared.pipeline(), now)
    return [(str(each.relation), each.latest, each.lacking) for each in found]


def test_days_on_which_a_kpi_is_not_due_do_not_count(session: Connection[Any], shared: PipelineHarness) -> None:
    for job in ("marts.weighed", "marts.weekly"):
        publish(session, job, day=date(2025, 3, 3))
    publish(session, "marts.weighed", day=FRIDAY)
    # After Friday come a weekend and a holiday: Tuesday is due when it is over, and has until the noon after.
    noon = datetime(2025, 3, 12, 12, tzinfo=timezone.utc)
    assert late(session, shared, noon) == []
    assert late(session, shared, noon + timedelta(seconds=1)) == [("marts.weighed", FRIDAY, TUESDAY)]
    [found] = freshness.late(session, shared.pipeline(), noon + timedelta(seconds=1))
    assert found.sentence == (
        "marts.weighed is late since 2025-03-12 12:00 UTC: its latest published load_date is 2025-03-07, and its "
        "freshness is within_hours: 36, counted from the beginning of 2025-03-11, on which it is due next"
    )
    # The Monday after the holiday is the next one of the weekly KPI.
    noon = datetime(2025, 3, 18, 12, tzinfo=timezone.utc)
    assert ("marts.weekly", date(2025, 3, 3), date(2025, 3, 17)) not in late(session, shared, noon)
    assert ("marts.weekly", date(2025, 3, 3), date(2025, 3, 17)) in late(session, shared, noon + timedelta(seconds=1))


def test_a_late_kpi_opens_an_incident_of_the_load_date_that_it_lacks(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    publish(session, "marts.weighed", day=FRIDAY)
    freshness.report_late(session, shared.pipeline())
    assert [(row[0], row[1], row[3]) for row in every_incident(session)] == [(TUESDAY, "late", "marts.weighed")]
    assert close_recovered(session, shared.pipeline()) == []
    today = datetime.now(timezone.utc).date() + timedelta(days=1)
    publish(session, "marts.weighed", day=today)
    assert close_recovered(session, shared.pipeline()) == [TUESDAY]


def fail(session: Connection[Any], job: str, day: date) -> None:
    closed(session, job, "failed", "r1", day)


def states(session: Connection[Any]) -> list[tuple[date, str, bool]]:
    return [(row[0], row[1], row[-1]) for row in every_incident(session)]


def test_a_load_date_is_whole_again_without_what_is_not_due_on_it(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    fail(session, "raw.things", TUESDAY)
    closed(session, "s3.things", "success", "r2", TUESDAY)
    publish(session, "raw.things", day=TUESDAY)
    assert close_recovered(session, shared.pipeline()) == [], "marts.weighed is due and not published"
    publish(session, "marts.weighed", day=TUESDAY)
    assert close_recovered(session, shared.pipeline()) == [TUESDAY]


def test_an_incident_closes_when_the_calendar_takes_its_load_date_out(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    calendar(shared, "day")
    fail(session, "raw.things", SATURDAY)
    incidents.report_late(session, shared.name, SATURDAY, "things.csv is missing")
    fail(session, "raw.things", TUESDAY)
    assert close_recovered(session, shared.pipeline()) == []
    calendar(shared, "weekday")
    assert close_recovered(session, shared.pipeline()) == []
    assert states(session) == [(SATURDAY, "failed", False), (SATURDAY, "late", False), (TUESDAY, "failed", True)]


def test_an_incident_of_a_table_that_is_due_no_more_closes_when_the_rest_is_published(
    session: Connection[Any], shared: PipelineHarness
) -> None:
    closed(session, "s3.things", "success", "r0", TUESDAY)
    for job in ("raw.things", "marts.weighed"):
        publish(session, job, day=TUESDAY)
    shared.file("raw/others.sql", RAW_THINGS.replace("raw/things", "raw/others"))
    fail(session, "raw.others", TUESDAY)
    assert close_recovered(session, shared.pipeline()) == []
    shared.file("raw/others.sql", OTHERS)
    assert close_recovered(session, shared.pipeline()) == [TUESDAY]
