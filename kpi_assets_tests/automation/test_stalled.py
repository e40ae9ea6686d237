"""A sensor or schedule that fails again and again is an incident that is reported once, whatever else fails."""

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickData, TickStatus
from dagster._utils.error import SerializableErrorInfo

from kpi_assets.automation.alerts import AlertsError, alerts_sensor
from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.database import clear_ledger
from kpi_assets.instance import ticks
from kpi_assets.instance.starters import ALERTS_SENSOR, Starter, pipeline_schedule_of, pipeline_sensor_of, starters
from kpi_assets.instance.ticks import MOST_FAILED, Stalled
from kpi_assets.ledger import runs
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import settings
from kpi_assets_tests.alerts.receivers import Web
from kpi_assets_tests.automation.conftest import SensorHarness
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness

WHY = "WarehouseError: The warehouse cannot be reached"
OPEN = "select kind, job, closed_at is null from ops.alerts order by id"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PipelineHarness]]:
    """Two pipelines, each with a database."""
    folder = tmp_path_factory.mktemp("two")
    with PipelineHarness.open(stack, folder) as one, PipelineHarness.open(stack, folder) as other:
        for lab in (one, other):
            lab.file("raw/things.sql", RAW_THINGS)
            lab.prepared()
        yield [one, other]


@pytest.fixture
def labs(shared: list[PipelineHarness]) -> list[PipelineHarness]:
    for lab in shared:
        with lab.session() as session:
            clear_ledger(session)
    return shared


@pytest.fixture
def web(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with Web.open() as receiver:
        monkeypatch.setenv("KPI_ALERT_WEBHOOK_URL", receiver.url)
        settings.cache_clear()
        yield receiver
    monkeypatch.undo()
    settings.cache_clear()


def ticked(instance: dg.DagsterInstance, starter: Starter, *statuses: TickStatus) -> None:
    """Record ticks of a sensor or schedule that is on, as the daemon does."""
    starter.switch(instance, on=True)
    if starter.state(instance) is None:
        instance.add_instigator_state(starter._initial_state().with_status(InstigatorStatus.DECLARED_IN_CODE))
    state = starter.state(instance)
    assert state is not None
    for status in statuses:
        cause = SerializableErrorInfo(f"{WHY}\nand more\n", [], "WarehouseError")
        error = SerializableErrorInfo("Error occurred", [], "SensorError", cause)
        instance.create_tick(
            TickData(
                state.instigator_origin_id,
                starter.name,
                starter.type,
                status,
                time.time(),
                selector_id=state.selector_id,
                error=error if status == TickStatus.FAILURE else None,
                run_ids=["r"] if status == TickStatus.SUCCESS else None,
            )
        )


def failures(starter: Starter, more: int = 1) -> list[TickStatus]:
    return [TickStatus.FAILURE] * (MOST_FAILED[starter.type] + more)


def pipelines(labs: list[PipelineHarness]) -> list[Pipeline]:
    return [lab.pipeline() for lab in labs]


def tick(labs: list[PipelineHarness], instance: dg.DagsterInstance) -> str | None:
    """Evaluate one tick of the sensor `alerts`."""
    with dg.build_sensor_context(instance=instance) as context:
        return alerts_sensor(pipelines(labs)).evaluate_tick(context).skip_message


def test_a_starter_that_failed_more_often_than_allowed_is_stalled(
    labs: list[PipelineHarness], instance: dg.DagsterInstance
) -> None:
    every = starters(pipelines(labs))
    assert ticks.find_stalled(instance, every) == []
    for starter in every:
        ticked(instance, starter, TickStatus.SUCCESS, *failures(starter, 0), TickStatus.STARTED)
    assert ticks.find_stalled(instance, every) == []
    for starter in every:
        ticked(instance, starter, TickStatus.FAILURE)
    found = ticks.find_stalled(instance, every)
    assert [each.starter for each in found] == every
    assert {each.error for each in found} == {WHY}
    ticked(instance, every[0], TickStatus.SKIPPED)
    every[2].switch(instance, on=False)
    left = [each.starter for each in ticks.find_stalled(instance, every)]
    assert left == [every[1], *every[3:]], "one had a good tick again, and one is off"


def test_a_stalled_sensor_is_reported_once_and_recovers_with_its_next_good_tick(
    labs: list[PipelineHarness], instance: dg.DagsterInstance, web: Web
) -> None:
    sensor = pipeline_sensor_of(labs[1].pipeline())
    ticked(instance, sensor, *failures(sensor))
    tick(labs, instance)
    ticked(instance, sensor, TickStatus.FAILURE)
    tick(labs, instance)
    assert labs[0].rows(OPEN) == []
    assert labs[1].rows(OPEN) == [("stalled", sensor.name, True)]
    [body] = web.bodies
    assert (body["kind"], body["pipeline"], body["load_dates"]) == ("stalled", labs[1].name, [])
    assert body["title"] == f"{labs[1].name}, {sensor.name} is stalled: it fails again and again"
    assert body["details"][0].startswith("it failed each of the last 11 times, so nothing that it does is done; at ")
    assert body["details"][0].endswith(WHY)
    ticked(instance, sensor, TickStatus.SKIPPED)
    tick(labs, instance)
    tick(labs, instance)
    assert [(body["kind"], body["title"]) for body in web.bodies[1:]] == [
        ("recovered", f"{labs[1].name}, {sensor.name} has recovered")
    ]
    assert labs[1].rows(OPEN) == [("stalled", sensor.name, False), ("recovered", sensor.name, False)]


def test_a_daily_schedule_is_reported_after_its_third_failure(
    labs: list[PipelineHarness], instance: dg.DagsterInstance, web: Web
) -> None:
    schedule = pipeline_schedule_of(labs[0].pipeline())
    ticked(instance, schedule, *[TickStatus.FAILURE] * 3)
    tick(labs, instance)
    assert labs[0].rows(OPEN) == [("stalled", schedule.name, True)]


@pytest.mark.nightly
def test_if_its_own_outbox_cannot_be_used_another_pipeline_reports_it(
    labs: list[PipelineHarness], instance: dg.DagsterInstance, web: Web
) -> None:
    sensor = pipeline_sensor_of(labs[0].pipeline())
    ticked(instance, sensor, *failures(sensor))
    labs[0].rows("delete from ops.migrations where version = 2 returning 1")
    labs[0].rows("update ops.migrations set version = 1000 where version = 1 returning 1")
    try:
        said = tick(labs, instance)
    finally:
        labs[0].rows("update ops.migrations set version = 1 where version = 1000 returning 1")
        labs[0].rows("insert into ops.migrations (version, name) values (2, '0002_alerts.sql') returning 1")
    assert said is not None
    assert "ahead of this kpi_assets" in said
    assert labs[1].rows(OPEN) == [("stalled", sensor.name, True)]
    tick(labs, instance)
    assert [body["kind"] for body in web.bodies] == ["stalled", "stalled"], (
        "its own outbox reports it too, as soon as it can be used"
    )
    ticked(instance, sensor, TickStatus.SUCCESS)
    tick(labs, instance)
    assert {row for lab in labs for row in lab.rows(OPEN)} == {
        ("stalled", sensor.name, False),
        ("recovered", sensor.name, False),
    }


@pytest.mark.nightly
def test_an_unexpected_error_in_one_pipeline_does_not_stop_the_alerts_of_another(
    labs: list[PipelineHarness], instance: dg.DagsterInstance, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lab in labs:
        with lab.session() as session:
            row = runs.open_row(session, run_id="r", pipeline=lab.name, job="raw.things", load_date=DAY)
            runs.close_build(session, row, "held", layer="raw", counts=runs.Counts(), error="bad")
    real = runs.close_dead_rows

    def broken(connection: object) -> object:
        if connection.info.dbname == labs[0].name:  # type: ignore[attr-defined]
            raise RuntimeError("nobody foresaw this\nat all")
        return real(connection)  # type: ignore[arg-type]

    monkeypatch.setattr("kpi_assets.automation.alerts.runs.close_dead_rows", broken)
    with pytest.raises(AlertsError, match=f"^{labs[0].name}: RuntimeError: nobody foresaw this$"):
        tick(labs, instance)
    assert [(body["kind"], body["pipeline"]) for body in web.bodies] == [("held", labs[1].name)]

    ticked(instance, ALERTS_SENSOR, *failures(ALERTS_SENSOR))
    with pytest.raises(AlertsError):
        tick(labs, instance)
    assert labs[1].rows(OPEN)[-1] == ("stalled", "alerts", True), (
        "the alerts sensor records its own incident as long as any pipeline can be used"
    )


@pytest.mark.nightly
def test_if_the_alerts_sensor_is_stalled_the_first_working_sensor_reports_it(harness: SensorHarness, web: Web) -> None:
    shop = harness.shop
    pipeline = shop.pipeline()
    with shop.session() as session:
        session.execute("truncate ops.alerts cascade")
    with dg.DagsterInstance.local_temp() as instance:
        harness.instance = instance
        ticked(instance, ALERTS_SENSOR, *failures(ALERTS_SENSOR, 0))
        harness.tick()
        assert shop.rows(OPEN) == []
        ticked(instance, ALERTS_SENSOR, TickStatus.FAILURE)
        harness.tick()
        harness.tick()
        assert shop.rows(OPEN) == [("stalled", "alerts", True)]
        [body] = web.bodies
        assert body["title"] == f"{shop.name}, alerts is stalled: it fails again and again"
        ticked(instance, ALERTS_SENSOR, TickStatus.SUCCESS)
        with dg.build_sensor_context(instance=instance) as context:
            alerts_sensor([pipeline]).evaluate_tick(context)
        assert shop.rows(OPEN)[-1] == ("recovered", "alerts", False)


def test_a_stalled_starter_says_how_often_it_failed_and_why(labs: list[PipelineHarness]) -> None:
    starter = pipeline_sensor_of(labs[0].pipeline())
    found = Stalled(starter, 11, datetime(2025, 7, 1, 2, 3, tzinfo=timezone.utc), WHY)
    assert found.sentence == (
        f"it failed each of the last 11 times, so nothing that it does is done; at 2025-07-01 02:03 UTC: {WHY}"
    )
