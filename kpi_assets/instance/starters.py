"""Starters: the sensors and schedules of the code location, what they are called, and which of them are on.

Belongs here: their switches in the Dagster instance, which the UI has too. Not here: how their looks end (ticks.py),
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
    """What the sensor of a pipeline is called."""
    return f"{pipeline.name}_sensor"


def schedule_name(pipeline: Pipeline) -> str:
    """What its daily schedule is called."""
    return f"{pipeline.name}_daily"


@dataclass(frozen=True)
class Starter:
    """A sensor or schedule of a pipeline, or of all (None). `declared` says whether it is on until somebody says."""

    name: str
    pipeline: str | None
    declared: bool
    is_sensor: bool = True

    @property
    def type(self) -> InstigatorType:
        """As Dagster has it."""
        return InstigatorType.SENSOR if self.is_sensor else InstigatorType.SCHEDULE

    def state(self, instance: dg.DagsterInstance) -> InstigatorState | None:
        """What the instance knows of it; None where it was never on, and nobody switched it."""
        if instance.schedule_storage is None:  # an instance of one process has none
            return None
        found = instance.get_instigator_state(self._fresh().instigator_origin_id, self._fresh().selector_id)
        return found if found and found.instigator_type == self.type else None

    def is_on(self, instance: dg.DagsterInstance) -> bool:
        """Whether it looks while a daemon runs."""
        state = self.state(instance)
        if state is None or state.status == InstigatorStatus.DECLARED_IN_CODE:
            return self.declared
        return state.status == InstigatorStatus.RUNNING

    def switch(self, instance: dg.DagsterInstance, *, on: bool) -> bool:
        """Switch it on or off as the UI does; returns whether that changed anything."""
        if self.is_on(instance) == on:
            return False
        state = self.state(instance)
        wanted = (state or self._fresh()).with_status(InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED)
        if on:
            wanted = started_now(wanted, DAILY_AT_TWO)
        if state:
            instance.update_instigator_state(wanted)
        else:
            instance.add_instigator_state(wanted)
        return True

    def _fresh(self) -> InstigatorState:
        """Its state as if it had never been on."""
        data = SensorInstigatorData() if self.is_sensor else ScheduleInstigatorData(DAILY_AT_TWO)
        return unswitched_state(self.name, LOCATION, data)


ALERTS_SENSOR = Starter(ALERTS, None, declared=True)


def pipeline_sensor_of(pipeline: Pipeline) -> Starter:
    """The sensor that runs a pipeline."""
    return Starter(sensor_name(pipeline), pipeline.name, pipeline.config.automation.start == "sensor")


def pipeline_schedule_of(pipeline: Pipeline) -> Starter:
    """The schedule that does so once a day."""
    declared = pipeline.config.automation.start == "schedule"
    return Starter(schedule_name(pipeline), pipeline.name, declared, is_sensor=False)


def broken_sensor_of(broken: Broken) -> Starter:
    """The sensor of a pipeline that cannot be read; its incident is kept by another pipeline.

    Where not even pipeline.yaml says whether it is on, it is: nothing is to stop in silence.
    """
    declared = broken.config is None or broken.config.automation.start == "sensor"
    return Starter(sensor_name(broken), None, declared)


def switched_on(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[Starter]:
    """Those of its sensor and its schedule that are on."""
    both = (pipeline_sensor_of(pipeline), pipeline_schedule_of(pipeline))
    return [starter for starter in both if starter.is_on(instance)]


def starters(pipelines: Sequence[Pipeline], broken: Collection[Broken] = ()) -> list[Starter]:
    """All of the code location."""
    found = [ALERTS_SENSOR, Starter(HISTORY, None, declared=True, is_sensor=False)]
    found += map(broken_sensor_of, broken)
    for pipeline in pipelines:
        found += [pipeline_sensor_of(pipeline), pipeline_schedule_of(pipeline)]
        if pipeline.config.retention:
            name = f"{pipeline.retention_job}_daily"
            found.append(Starter(name, pipeline.name, declared=True, is_sensor=False))
    return found
