"""Everything that this project uses of Dagster and that is not part of Dagster's public API.

These are imports from `dagster._*`, attributes that begin with an underscore, replaced functions, and undocumented
behavior. All of it was read in the source of VERIFIED_WITH. test_dagster_internals.py tests each part and fails if an
upgrade changes it; then only this module has to change.

Not here: the storage classes that dagster.yaml names, whose import takes long (instance/storage.py).
"""

import logging
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import RunFailureReason
from dagster._core.execution import compute_logs
from dagster._core.execution.plan import active
from dagster._core.execution.plan.objects import ErrorSource
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as CheckState
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as CheckStateTable
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as EventLogTable
from dagster._core.storage.tags import BACKFILL_ID_TAG, MAX_RETRIES_TAG, PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG
from dagster._serdes import ConfigurableClassData
from dagster._time import get_current_timestamp
from dagster._utils.interrupts import raise_interrupts_as

from kpi_assets.interrupts import kept_interrupts

VERIFIED_WITH = "1.13.27"

# Types and constants that other modules import from here.
__all__ = [
    "BACKFILL_ID_TAG",
    "MAX_RETRIES_TAG",
    "PARENT_RUN_ID_TAG",
    "RETRY_NUMBER_TAG",
    "AssetCheckEvaluationTargetMaterializationData",
    "CheckState",
    "CheckStateTable",
    "ConfigurableClassData",
    "ErrorSource",
    "EventLogTable",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorTick",
    "InstigatorType",
    "RunFailureReason",
    "ScheduleInstigatorData",
    "SensorInstigatorData",
    "SqlEventLogStorage",
    "TickStatus",
    "UnresolvedAssetJobDefinition",
    "UserConfigSchema",
]


# ---- steps


def output_without_materialization(context: dg.AssetExecutionContext, key: dg.AssetKey) -> dg.DagsterEvent:
    """Return an event that gives a step its output, so that the steps after it run, without a materialization.

    `dg.Output` records one for each load_date of the run. Dagster passes on any event that a step yields.
    """
    step = context.get_step_execution_context()
    handle = StepOutputHandle(step.step.key, context.assets_def.get_output_name_for_asset_key(key))
    return dg.DagsterEvent.step_output_event(step, StepOutputData(handle))


def is_last_step(context: dg.AssetExecutionContext) -> bool:
    """Whether no other step of the run depends on this one."""
    step = context.get_step_execution_context()
    return not any(step.step.key in needed for needed in step.execution_plan.get_executable_step_deps().values())


@contextmanager
def interrupts_as_keyboard_interrupt() -> Iterator[None]:
    """While it lasts, stopping the run raises KeyboardInterrupt at once, not Dagster's own exception."""
    with kept_interrupts(), raise_interrupts_as(KeyboardInterrupt):
        yield


def _is_not_about_missing_checks(record: logging.LogRecord) -> bool:
    return "emitted no result" not in record.getMessage()


def silence_missing_check_warnings() -> None:
    """Suppress Dagster's warning that the steps after a skipped step run without its checks.

    Here they are skipped as well, so the warning is wrong. The function may be called many times.
    """
    active.logger.addFilter(_is_not_about_missing_checks)


# ---- runs


def end_as_canceled(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> NoReturn:
    """End the current run as CANCELED. Call it while a resource is torn down.

    The exception keeps Dagster from recording a success afterwards. Dagster raises the same exception for an interrupt,
    so it does not record a failure either.
    """
    instance.report_run_canceled(run, why)
    raise dg.DagsterExecutionInterruptedError(why)


def keep_ctrl_c_from_helpers() -> None:
    """Start the programs that Dagster runs beside a step in a session of their own, for which it has no setting.

    They repeat a step's output. Ctrl-C in a terminal goes to every process of the session: each of them would print a
    stack trace and end early.
    """
    vars(compute_logs)["subprocess"] = SimpleNamespace(Popen=partial(subprocess.Popen, start_new_session=True))


# ---- the instance


def unswitched_state(name: str, location: str, data: SensorInstigatorData | ScheduleInstigatorData) -> InstigatorState:
    """Return the state of a sensor or schedule as if it had never been on.

    Dagster finds the state of a sensor by the names of its code location and of its repository there.
    """
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
    type_ = InstigatorType.SENSOR if isinstance(data, SensorInstigatorData) else InstigatorType.SCHEDULE
    return InstigatorState(repository.get_instigator_origin(name), type_, InstigatorStatus.STOPPED, data)


def started_now(state: InstigatorState, cron_schedule: str) -> InstigatorState:
    """Return the state with its start time set to now, as the UI sets it when somebody switches the sensor on."""
    now = get_current_timestamp()
    if state.instigator_type == InstigatorType.SENSOR:
        return state.with_data(
            (state.sensor_instigator_data or SensorInstigatorData()).with_sensor_start_timestamp(now)
        )
    return state.with_data(ScheduleInstigatorData(cron_schedule, now))


def close_pools(storages: Iterable[Any]) -> None:
    """Close the connections of storages on Postgres. Dagster keeps pooled ones for as long as the process lives."""
    for storage in storages:
        storage._engine.dispose()


# ---- the web server

MAKES_WEB_APP = "create_app_from_workspace_process_context"  # what dagster-webserver calls for the app that it serves


def wrap_web_app(wrap: Callable[[Any], Any]) -> None:
    """Make dagster-webserver, which has no hook for this, serve `wrap(app)` in this process.

    Raises AttributeError if an upgrade has dropped the name, so that nothing is served without the wrapper.
    """
    from dagster_webserver import cli  # noqa: PLC0415  its import takes longer than a small build

    make_app = getattr(cli, MAKES_WEB_APP)
    setattr(cli, MAKES_WEB_APP, lambda *words, **named: wrap(make_app(*words, **named)))
