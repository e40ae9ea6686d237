"""A run of a load_date that may not be built is refused, whoever requests it, and sensor and alerts go on."""

import socket
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

import dagster as dg
import pytest

from kpi_assets.assets.run_tags import PARTITION, RANGE_END, RANGE_START
from kpi_assets.automation.alerts import LOST, alerts_sensor
from kpi_assets.errors import UsageError
from kpi_assets.instance.processes import HOST, PROCESS, close_dead_runs
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.table import Table
from kpi_assets_tests.automation.conftest import SensorHarness, definitions
from kpi_assets_tests.automation.test_ranges import failures
from kpi_assets_tests.examples import few

TODAY = datetime.now(timezone.utc).date()
FUTURE = TODAY + timedelta(days=3)  # days ahead, so that it still is when the tests run past midnight
IN_THE_FUTURE = f"The load_date {FUTURE} lies in the future: today is "
REFUSED = {
    "the future": ({PARTITION: str(FUTURE)}, IN_THE_FUTURE),
    "before the first": ({PARTITION: "2024-12-31"}, " has no load_date 2024-12-31: its first is "),
    "no load_date": ({PARTITION: "2025-7-1"}, "The run's partition '2025-7-1' is no load_date"),
    "another form of a date": ({PARTITION: "20250701"}, "The run's partition '20250701' is no load_date"),
    "a range into the future": ({RANGE_START: str(TODAY), RANGE_END: str(FUTURE)}, IN_THE_FUTURE),
    "a reversed range": ({RANGE_START: str(TODAY), RANGE_END: "2025-11-01"}, " is empty: give the earlier date first."),
    "half a range": ({RANGE_START: str(TODAY)}, "The run names only one end of a range of load_dates"),
    "a range of no dates": ({RANGE_START: "a", RANGE_END: "b"}, "The run's partition 'a' is no load_date"),
}


# Dagster itself creates no run with these tags; they can be added to a run that exists.
NO_RUN = {"another form of a date", "half a range", "a range of no dates"}


def odd_run(harness: SensorHarness, status: dg.DagsterRunStatus, tags: dict[str, str]) -> dg.DagsterRun:
    """Create a run for another process, and add these tags to it."""
    run = harness.queue(TODAY, status, odd="yes")
    harness.instance.add_run_tags(run.run_id, tags)
    return run


def execute(harness: SensorHarness, job: str, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    """Execute a run with these tags, as the web UI's call launches it: nothing has validated them."""
    found = definitions(harness.shop).resolve_job_def(job)
    return found.execute_in_process(instance=harness.instance, tags=tags, raise_on_error=False)


def written(harness: SensorHarness) -> list[tuple[object, ...]]:
    """Count the rows of the ops tables that a run writes."""
    return harness.shop.rows(
        "select (select count(*) from ops.publishes), (select count(*) from ops.pipeline_runs), "
        "(select count(*) from ops.manifests), (select count(*) from ops.data_quality_results)"
    )


@pytest.mark.parametrize("case", few(2, [name for name in REFUSED if name not in NO_RUN]))
def test_a_run_is_refused_in_one_sentence_and_writes_nothing(harness: SensorHarness, case: str) -> None:
    tags, sentence = REFUSED[case]
    for day in (TODAY, FUTURE, date(2025, 7, 1)):
        harness.shop.land(day)
    before = written(harness)
    result = execute(harness, harness.shop.name, tags)
    assert not result.success
    told = failures(result)
    assert {*told} >= {"s3.things", "s3.labels"}
    assert all(sentence in text for text in told.values()), told
    assert written(harness) == before
    assert [harness.materialized(name) for name in ("s3.things", "raw.things", "marts.heavy")] == [[], [], []]


def test_today_is_not_refused(harness: SensorHarness) -> None:
    today = datetime.now(timezone.utc).date()
    harness.shop.land(today)
    assert execute(harness, harness.shop.name, {PARTITION: str(today)}).success
    assert harness.materialized("marts.heavy") == [str(today)]


@pytest.mark.parametrize("case", ["the future", "no load_date", "half a range"])
def test_a_recheck_is_refused_too(harness: SensorHarness, case: str) -> None:
    tags, sentence = REFUSED[case]
    result = execute(harness, f"{harness.shop.name}_recheck", tags)
    [told] = [
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]
    assert sentence in told


@pytest.mark.parametrize("way", [verify, build, recheck])
def test_builds_and_rechecks_refuse_a_load_date_in_the_future_without_dagster_too(
    harness: SensorHarness, way: Callable[[BuildContext, Table, date], object]
) -> None:
    harness.shop.land(FUTURE)
    context = harness.shop.prepared()
    before = written(harness)
    with pytest.raises(UsageError, match="lies in the future"):
        way(context, context.pipeline.table("raw.things"), FUTURE)
    assert written(harness) == before


def test_queued_runs_with_odd_tags_do_not_stop_the_sensor_and_are_reported_once(harness: SensorHarness) -> None:
    harness.shop.land()
    runs = [odd_run(harness, dg.DagsterRunStatus.QUEUED, tags) for tags, _ in REFUSED.values()]
    defs = definitions(harness.shop)
    sensor = defs.resolve_sensor_def(f"{harness.shop.name}_sensor")
    told: list[str] = []
    asked: list[str | None] = []
    for _ in range(2):
        context = dg.build_sensor_context(instance=harness.instance, repository_def=defs.get_repository_def())
        context.log.warning = told.append  # type: ignore[method-assign,assignment]
        ticked = sensor.evaluate_tick(context)
        asked += [request.partition_key for request in ticked.run_requests or []]
    assert asked == [str(harness.shop.day)], "the load_date that landed is requested once"
    assert sorted(text.split(":")[0] for text in told) == sorted(f"Run {run.run_id}" for run in runs)


def test_failed_runs_with_odd_tags_do_not_stop_the_alerts_and_are_reported_once(harness: SensorHarness) -> None:
    harness.shop.prepared()
    sensor, cursor = alerts_sensor([harness.shop.pipeline()]), "no time at all"
    with harness.shop.session() as session:
        session.execute("truncate ops.alerts cascade")
    for tags, _ in REFUSED.values():
        harness.instance.report_run_failed(odd_run(harness, dg.DagsterRunStatus.STARTED, tags))
    for _ in range(2):
        with dg.build_sensor_context(instance=harness.instance, cursor=cursor) as context:
            cursor = sensor.evaluate_tick(context).cursor or ""
    details = [text for [[text]] in harness.shop.rows("select details from ops.alerts order by id")]
    assert len(details) == len(REFUSED)
    for text, (_, sentence) in zip(details, REFUSED.values(), strict=True):
        assert text.startswith(f"{LOST} ")
        assert sentence in text
    assert harness.shop.rows("select count(*) from ops.alerts where closed_at is null or load_date is not null") == [
        (0,)
    ]


@pytest.mark.parametrize("process", few(2, [None, "", "x", "{id}", "{id} ", "{id} x 1", "{id} -1 1"]))
def test_a_run_whose_tag_names_no_process_is_not_closed(harness: SensorHarness, process: str | None) -> None:
    tags = {HOST: socket.gethostname()}
    run = harness.queue(TODAY, dg.DagsterRunStatus.STARTED, **tags)
    if process is not None:
        harness.instance.add_run_tags(run.run_id, {PROCESS: process.format(id=run.run_id)})
    assert close_dead_runs(harness.instance) == []
