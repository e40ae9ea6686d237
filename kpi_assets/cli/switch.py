"""`kpi enable` and `kpi disable` switch automation on and off, and a line of `kpi status` prints its state.

The switches are those of the UI. The Dagster instance keeps them, also while `kpi up` does not run.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from typing import Annotated

import dagster as dg
import typer

from kpi_assets.automation.unfinished_runs import unfinished_load_dates
from kpi_assets.cli.arguments import PipelineName
from kpi_assets.cli.plan import count_states, load_date_statuses
from kpi_assets.cli.stack import say_off
from kpi_assets.cli.terminal import err, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.embedded.apis import needed_apis
from kpi_assets.errors import UserError
from kpi_assets.instance import folder
from kpi_assets.instance.starters import Starter, live_sensor_of, pipeline_schedule_of, pipeline_sensor_of, switched_on
from kpi_assets.instance.storage import open_instance
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.settings import settings

SILENCE = 120  # seconds without a heartbeat after which a daemon counts as dead


def enable(
    pipeline: PipelineName,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Switch on the daily schedule instead of the sensor.")
    ] = False,
) -> None:
    """Switch on the automation of a pipeline: its sensor, or its daily schedule."""
    simulated = needed_apis(settings(), [pipeline_of(pipeline)]).get(pipeline, [])
    with open_workspace(pipeline) as work, _instance(work.ready()) as instance:
        automation = work.pipeline.config.automation
        sensor, daily = pipeline_sensor_of(work.pipeline), pipeline_schedule_of(work.pipeline)
        chosen, other = (daily, sensor) if schedule or automation.start == "schedule" else (sensor, daily)
        changed = chosen.switch(instance, on=True)
        what = _what(work, chosen)
        say(styled("on", "green"), f" {pipeline}: {what}{'' if changed else ', as before'}.")
        if other.switch(instance, on=False):
            say(styled("off", "yellow"), f" {pipeline}: {other.name}, which it replaces.")
        if live := live_sensor_of(work.pipeline):
            again = "" if live.switch(instance, on=True) else ", as before"
            say(styled("on", "green"), f" {pipeline}: {_what(work, live)}{again}.")
        if simulated:
            are = "are simulated, and have" if simulated[1:] else "is simulated, and has"
            setting = f"KPI_API_URLS__{pipeline.upper()}__{simulated[0].upper()}"
            say(
                f"warning: {', '.join(simulated)} of {pipeline} {are} no records of a load_date that `kpi sample "
                f"{pipeline}` did not fill: set {setting} to the address of the real one.",
                console=err,
            )
        due = _due(work)
        counts = count_states([status.state for status in due])
        say(f"To be built now: {_load_dates(due)}, {counts}" if due else "No load_date is to be built now.")
        if not _daemon_runs(instance):
            say("No daemon runs: automation begins with `kpi up`.")


def disable(pipeline: PipelineName) -> None:
    """Switch off the automation of a pipeline; runs that were requested already go on."""
    with open_workspace(pipeline) as work, _instance(work.ready()) as instance:
        every = (pipeline_sensor_of(work.pipeline), pipeline_schedule_of(work.pipeline), live_sensor_of(work.pipeline))
        switched = [starter.name for starter in every if starter and starter.switch(instance, on=False)]
        what = " and ".join(switched) if switched else "automation was off before"
        say(styled("off", "yellow"), f" {pipeline}: {what}.")
        requested, _ = unfinished_load_dates(instance, work.pipeline)
        if requested:
            say(f"Built all the same, as requested before: {_load_dates(requested)}. Cancel runs in the UI.")
        due = [each for each in _due(work) if each.load_date not in requested]
        if due:
            counts = count_states([status.state for status in due])
            say(f"Left as it is until `kpi run`, `kpi backfill` or `kpi enable`: {_load_dates(due)}, {counts}")


def say_switch(work: Workspace) -> None:
    """Print whether the automation of a pipeline is on."""
    name = work.pipeline.name
    try:
        with _instance(work) as instance:
            found = switched_on(instance, work.pipeline)
    except UserError as error:  # the rest of `kpi status` does not need it
        say(f"{name}: whether automation is on is not known. {error}")
        return
    if found:
        say(f"{name}: automation is ", styled("on", "green"), f": {' and '.join(_what(work, each) for each in found)}.")
    else:
        say_off(name)


@contextmanager
def _instance(work: Workspace) -> "Iterator[dg.DagsterInstance]":
    folder.prepare(work.settings)
    with open_instance() as instance:
        yield instance


def _what(work: Workspace, starter: "Starter") -> str:
    interval = (
        f"every {work.pipeline.config.automation.interval_seconds} seconds" if starter.is_sensor else "at 02:00 UTC"
    )
    return f"{starter.name} runs {interval}"


def _due(work: Workspace) -> "list[LoadDateStatus]":
    """Return the load_dates that automation would build now."""
    config = work.pipeline.config
    found = load_date_statuses(work, config.start_date, datetime.now(timezone.utc).date())
    return [each for each in found if each.is_due(rebuild_on_sql_change=config.automation.rebuild_on_sql_change)]


def _load_dates(due: "Collection[LoadDateStatus | date]") -> str:
    return f"{len(due)} load_date{'' if len(due) == 1 else 's'}"


def _daemon_runs(instance: "dg.DagsterInstance") -> bool:
    beats = instance.get_daemon_heartbeats().values()
    return any(datetime.now(timezone.utc).timestamp() - beat.timestamp < SILENCE for beat in beats)
