"""The sensor that keeps a live run of each load_date that grows."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

import dagster as dg
import pytest

from kpi_assets.automation.jobs import pipeline_jobs
from kpi_assets.automation.live_run import NOTHING_GROWS, live_sensor
from kpi_assets.automation.sensor_tick import TickEvaluator
from kpi_assets.instance.processes import process_tags
from kpi_assets.ledger import growth
from kpi_assets.process_identity import ProcessIdentity
from kpi_assets_tests.automation.conftest import RESOURCES, create_run
from kpi_assets_tests.clicks_pipeline import ClicksPipeline


@dataclass
class LiveSensor:
    """The sensor of a pipeline, and the runs of its instance."""

    clicks: ClicksPipeline
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    skipped: str | None = None

    def __post_init__(self) -> None:
        pipeline = self.clicks.pipeline()
        self.sensor = live_sensor(pipeline)
        self.defs = dg.Definitions(jobs=pipeline_jobs(pipeline)[2:], sensors=[self.sensor], resources=RESOURCES)

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(instance=self.instance, repository_def=self.defs.get_repository_def())
        told = self.sensor.evaluate_tick(context)
        self.skipped = told.skip_message
        return list(told.run_requests or [])

    def days(self) -> list[date]:
        return [date.fromisoformat(str(request.partition_key)) for request in self.tick()]

    def run(self, day: date, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
        job = self.defs.resolve_job_def(f"{self.clicks.name}_live")
        return create_run(self.instance, job, status, {"dagster/partition": day.isoformat(), **tags})


@pytest.fixture
def sensor(clicks: ClicksPipeline) -> LiveSensor:
    return LiveSensor(clicks)


TODAY = datetime.now(timezone.utc).date()


def test_it_requests_one_run_of_today_which_goes_before_others_and_is_not_repeated_by_dagster(
    sensor: LiveSensor,
) -> None:
    [request] = sensor.tick()
    assert request.partition_key == TODAY.isoformat()
    assert request.tags["dagster/priority"] == "10"
    assert request.tags["dagster/max_retries"] == "0"


@pytest.mark.parametrize("status", ["QUEUED", "STARTING", "STARTED", "CANCELING"])
def test_it_requests_none_while_a_run_of_the_load_date_is_unfinished(sensor: LiveSensor, status: str) -> None:
    sensor.run(TODAY, dg.DagsterRunStatus[status])
    assert sensor.tick() == []
    assert sensor.skipped == f"A live run builds each load_date that grows: {TODAY}."


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_it_requests_the_next_one_when_a_run_has_ended(sensor: LiveSensor, status: str) -> None:
    sensor.run(TODAY, dg.DagsterRunStatus[status])
    assert sensor.days() == [TODAY]


def test_around_midnight_two_load_dates_have_a_run_each(sensor: LiveSensor) -> None:
    yesterday = TODAY - timedelta(days=1)
    sensor.clicks.report(datetime.now(timezone.utc))
    with sensor.clicks.session() as session:
        growth.record_tick(session, yesterday, run_id="r", through=None)
    assert sensor.days() == [yesterday, TODAY]
    sensor.run(TODAY, dg.DagsterRunStatus.STARTED)
    assert sensor.days() == [yesterday]
    sensor.clicks.close(yesterday)
    assert sensor.days() == [yesterday], "all of it must be built first"
    with sensor.clicks.session() as session:
        growth.finish(session, yesterday)
    assert sensor.days() == []


def test_a_run_whose_process_was_killed_is_closed_and_replaced_at_once(sensor: LiveSensor) -> None:
    alive = sensor.run(TODAY, dg.DagsterRunStatus.STARTED)
    sensor.instance.add_run_tags(alive.run_id, process_tags(alive.run_id))
    assert sensor.days() == []
    here = ProcessIdentity.of()
    gone = f"{alive.run_id} {ProcessIdentity(here.pid, here.since - 1000)}"
    name = next(name for name in process_tags(alive.run_id) if name.endswith("kpi_process"))
    sensor.instance.add_run_tags(alive.run_id, {name: gone})
    assert sensor.days() == [TODAY]
    killed = sensor.instance.get_run_by_id(alive.run_id)
    assert killed is not None
    assert killed.status == dg.DagsterRunStatus.FAILURE


def test_a_run_of_the_whole_pipeline_is_no_live_run(sensor: LiveSensor) -> None:
    job = dg.Definitions(jobs=[sensor.defs.resolve_job_def(f"{sensor.clicks.name}_recheck")], resources=RESOURCES)
    create_run(
        sensor.instance,
        job.resolve_job_def(f"{sensor.clicks.name}_recheck"),
        dg.DagsterRunStatus.STARTED,
        {"dagster/partition": TODAY.isoformat()},
    )
    assert sensor.days() == [TODAY]


def test_before_the_first_load_date_nothing_grows(sensor: LiveSensor) -> None:
    path = sensor.clicks.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("2025-01-01", str(TODAY + timedelta(days=1))))
    early = LiveSensor(sensor.clicks)
    assert early.tick() == []
    assert early.skipped == NOTHING_GROWS


def test_it_is_on_where_automation_is_on(sensor: LiveSensor) -> None:
    assert sensor.sensor.default_status == dg.DefaultSensorStatus.STOPPED
    path = sensor.clicks.folder / "pipeline.yaml"
    path.write_text(path.read_text() + "automation: {start: sensor, interval_seconds: 7}\n")
    on = live_sensor(sensor.clicks.pipeline())
    assert on.default_status == dg.DefaultSensorStatus.RUNNING
    assert on.minimum_interval_seconds == 7


def test_the_sensor_of_the_pipeline_starts_no_run_of_a_load_date_that_grows_and_calls_none_late(
    sensor: LiveSensor,
) -> None:
    clicks = sensor.clicks
    path = clicks.folder / "marts/kpi_clicks.sql"
    path.write_text(path.read_text().replace("grain:", "freshness: {within_minutes: 3}\ngrain:", 1))
    clicks.land("a", day=TODAY)
    with clicks.session() as session:
        growth.record_tick(session, TODAY, run_id="r", through=datetime.now(timezone.utc) - timedelta(minutes=9))
    found = TickEvaluator(clicks.pipeline()).evaluate(sensor.instance, None, 10.0)
    assert found.states["late"] == 1
    assert found.requests == []
    assert clicks.rows(f"select kind from ops.alerts where load_date = '{TODAY}'") == []
