"""Starters: the sensors and schedules of the code location, their names, and which of them are on.

Belongs here: switching them in the Dagster instance, as the UI does. Not here: the results of their ticks (ticks.py),
and what they do (automation/).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from kpi_assets.dagster_internals import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    started_now,
    unswitched_state,
)
from kpi_assets.instance.folder import LOCATION
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import Broken

ALERTS, HISTORY = "alerts", "run_history_daily"
DAILY_AT_TWO = "0 2 * * *"  # UTC


def sensor_name(pipeline: Pipeline | Broken) -> str:
    """Return the name of a pipeline's sensor."""
    return f"{pipeline.name}_sensor"


def live_sensor_name(pipeline: Pipeline) -> str:
    """Return the name of the sensor that keeps live runs of a pipeline with streams."""
    return f"{pipeline.live_job}_sensor"


def schedule_name(pipeline: Pipeline) -> str:
    """Return the name of a pipeline's daily schedule."""
    return f"{pipeline.name}_daily"


@dataclass(frozen=True)
class Starter:
    """A sensor or schedule of one pipeline, or of all (None). `declared`: whether it is on before any switch."""

    name: str
    pipeline: str | None
    declared: bool
    is_sensor: bool = True

    @property
    def type(self) -> InstigatorType:
        """Dagster's type for it."""
        return InstigatorType.SENSOR if self.is_sensor else InstigatorType.SCHEDULE

    def state(self, instance: dg.DagsterInstance) -> InstigatorState | None:
        """Return its state in the instance, or None if it was never on and never switched."""
        if instance.schedule_storage is None:  # an in-process instance has none
            return None
        initial = self._initial_state()
        found = instance.get_instigator_state(initial.instigator_origin_id, initial.selector_id)
        return found if found and found.instigator_type == self.type else None

    def is_on(self, instance: dg.DagsterInstance) -> bool:
        """Return whether it is on, so that a running daemon evaluates it."""
        state = self.state(instance)
        if state is None or state.status == InstigatorStatus.DECLARED_IN_CODE:
            return self.declared
        return state.status == InstigatorStatus.RUNNING

    def switch(self, instance: dg.DagsterInstance, *, on: bool) -> bool:
        """Switch it on or off as the UI does. Return whether that changed anything."""
        if self.is_on(instance) == on:
            return False
        state = self.state(instance)
        status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
        wanted = (state or self._initial_state()).with_status(status)
        if on:
            wanted = started_now(wanted, DAILY_AT_TWO)
        if state:
            instance.update_instigator_state(wanted)
        else:
            instance.add_instigator_state(wanted)
        return True

    def _initial_state(self) -> InstigatorState:
        """Return the state of a starter that was never on."""
        data = SensorInstigatorData() if self.is_sensor else ScheduleInstigatorData(DAILY_AT_TWO)
        return unswitched_state(self.name, LOCATION, data)


ALERTS_SENSOR = Starter(ALERTS, None, declared=True)


def pipeline_sensor_of(pipeline: Pipeline) -> Starter:
    """Return the sensor that starts runs of a pipeline."""
    return Starter(sensor_name(pipeline), pipeline.name, pipeline.config.automation.start == "sensor")


def live_sensor_of(pipeline: Pipeline) -> Starter | None:
    """Return the sensor that keeps live runs of a pipeline; None if it has no stream."""
    if not pipeline.stream_tables:
        return None
    return Starter(live_sensor_name(pipeline), pipeline.name, pipeline.config.automation.start != "none")


def pipeline_schedule_of(pipeline: Pipeline) -> Starter:
    """Return the schedule that starts runs of a pipeline once a day."""
    declared = pipeline.config.automation.start == "schedule"
    return Starter(schedule_name(pipeline), pipeline.name, declared, is_sensor=False)


def broken_sensor_of(broken: Broken) -> Starter:
    """Return the sensor of a pipeline that cannot be read. Another pipeline keeps its incident.

    If pipeline.yaml cannot be read either, the sensor is on, so that automation never stops silently.
    """
    declared = broken.config is None or broken.config.automation.start == "sensor"
    return Starter(sensor_name(broken), None, declared)


def switched_on(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[Starter]:
    """Return those of a pipeline's sensors and schedule that are on."""
    every = (pipeline_sensor_of(pipeline), pipeline_schedule_of(pipeline), live_sensor_of(pipeline))
    return [starter for starter in every if starter and starter.is_on(instance)]


def starters(pipelines: Sequence[Pipeline], broken: Collection[Broken] = ()) -> list[Starter]:
    """Return all sensors and schedules of the code location."""
    found = [ALERTS_SENSOR, Starter(HISTORY, None, declared=True, is_sensor=False)]
    found += map(broken_sensor_of, broken)
    for pipeline in pipelines:
        found += [pipeline_sensor_of(pipeline), pipeline_schedule_of(pipeline)]
        live = live_sensor_of(pipeline)
        found += [live] if live else []
        if pipeline.has_retention:
            name = f"{pipeline.retention_job}_daily"
            found.append(Starter(name, pipeline.name, declared=True, is_sensor=False))
    return found
