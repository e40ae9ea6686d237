"""The sensor `alerts`: each minute it closes dead runs, opens and closes incidents, and delivers alerts.

It launches no runs. Commands deliver alerts too, when they end. The outbox makes sure that no alert is sent twice.
"""

import logging
import time
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta, timezone

import dagster as dg
from pydantic import SecretStr

from kpi_assets.alerts.channels import channels
from kpi_assets.alerts.delivery import deliver
from kpi_assets.assets.run_tags import requested_load_dates
from kpi_assets.automation import digests
from kpi_assets.automation.stalled import record_stalled
from kpi_assets.embedded.stack import servers_for_life
from kpi_assets.errors import UsageError, UserError
from kpi_assets.instance import ticks
from kpi_assets.instance.starters import ALERTS, starters
from kpi_assets.instance.ticks import Stalled
from kpi_assets.ledger import incidents, runs, schema
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import Broken
from kpi_assets.monitoring import alerting_checks, drifted, freshness, thresholds
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.monitoring.restated import report_restated
from kpi_assets.monitoring.waived import report_waived
from kpi_assets.read.addresses import pages_of
from kpi_assets.warehouse.connection import connect

LOGGER = logging.getLogger("kpi_assets.alerts")
EVERY = 60  # seconds
CHANNEL_SECONDS = 8.0  # for one channel and the outbox of one pipeline
TICK_SECONDS = 25.0  # after them the rest waits for the next tick; Dagster ends a tick after 60
LOOK_BACK = timedelta(days=1)  # how old a failed run may be, where the cursor does not name a later time
MARGIN = timedelta(minutes=5)  # clocks differ
LOST = "The run failed before it could begin a build: its page in the UI says why."


class AlertsError(Exception):
    """The tick failed for some pipelines with an unexpected error; it handled all others."""


def alerts_sensor(pipelines: Sequence[Pipeline], broken: Collection[Broken] = ()) -> dg.SensorDefinition:
    """Return the one sensor for the alerts of all pipelines. Its cursor is a time, and only saves work."""
    every = starters(pipelines, broken)

    @dg.sensor(
        name=ALERTS,
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people what is held, failed, late, stalled or recovered; it launches no runs.",
    )
    def alert(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(timezone.utc)
        since = _since(context.cursor, now)
        # Without a limit: runs that a limit left out would be older than the next cursor.
        failed = context.instance.get_run_records(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since - MARGIN)
        )
        stalled = ticks.find_stalled(context.instance, every)
        problems, complete = tick(pipelines, sorted(failed, key=_ended), stalled)
        if complete:
            context.update_cursor(now.isoformat())
        return dg.SkipReason("; ".join(problems) or "All alerts that were due are delivered.")

    return alert


def _since(cursor: str | None, now: datetime) -> datetime:
    """Return the time since which failed runs count. A cursor that is no time or is older than LOOK_BACK is ignored."""
    try:
        found = datetime.fromisoformat(cursor or "")
    except ValueError:
        return now - LOOK_BACK
    return found if found.tzinfo and now - LOOK_BACK <= found <= now else now - LOOK_BACK


def tick(
    pipelines: Sequence[Pipeline], failed: Sequence[dg.RunRecord], stalled: Sequence[Stalled] = ()
) -> tuple[list[str], bool]:
    """Update the incidents of each pipeline and deliver its alerts; a channel that fails gets nothing more.

    The `failed` runs are in the order in which they ended. Returns sentences on what went wrong, and whether all
    pipelines and runs were handled. Raises AlertsError, after all pipelines.
    """
    servers = servers_for_life()
    config, server = servers.settings, servers.postgres
    working = channels(config)
    deadline = time.monotonic() + TICK_SECONDS
    problems, unexpected, updated, handled = [], [], [], 0
    of = {record.dagster_run.run_id: _pipeline_of(record, pipelines) for record in failed}
    for pipeline in pipelines:
        if time.monotonic() > deadline:
            problems.append(f"{pipeline.name} waits for the next tick")
            continue
        try:
            mine = [record for record in failed if of[record.dagster_run.run_id] is pipeline]
            ready = update_incidents(server, pipeline, mine, stalled)
            if ready and working:
                digests.record_due(server, pipeline, datetime.now(timezone.utc))
            refusals = (
                deliver(
                    *(server, pipeline.name, working, config.ui_url, CHANNEL_SECONDS),
                    run_history_days=config.run_history_days,
                    pages=pages_of(pipeline, config.serve_url),
                )
                if ready
                else {}
            )
        except UserError as error:
            problems.append(str(error))
            continue
        except Exception as error:
            LOGGER.exception("The alerts of %s could not be handled.", pipeline.name)
            unexpected.append(f"{pipeline.name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
            continue
        handled += 1
        updated += [pipeline] if ready else []
        problems += [f"{name}: {reason}" for name, reason in refusals.items()]
        working = [channel for channel in working if channel.name not in refusals]
    names = [pipeline.name for pipeline in updated]
    without_pipeline = [record for record in failed if of[record.dagster_run.run_id] is None]
    _record_elsewhere(
        server, updated, [each for each in stalled if each.starter.pipeline not in names], without_pipeline
    )
    if unexpected:
        raise AlertsError("; ".join([*unexpected, *problems]))
    return problems, handled == len(pipelines) and bool(updated or not without_pipeline)


def _record_elsewhere(
    server: SecretStr, updated: Sequence[Pipeline], stalled: Sequence[Stalled], failed: Sequence[dg.RunRecord]
) -> None:
    """Record incidents that belong to no pipeline, or to one whose outbox cannot be used, in the first of `updated`.

    A failed run that one of these pipelines knows is left out: its run log or its incidents name the run already.
    """
    for pipeline in updated if failed else ():
        with connect(server, pipeline.name, "alerts") as connection:
            failed = [each for each in failed if not incidents.knows_run(connection, each.dagster_run.run_id)]
    if not updated or not (stalled or failed):
        return
    with connect(server, updated[0].name, "alerts") as connection:
        record_stalled(connection, updated[0].name, stalled)
        for record in failed:
            run = record.dagster_run
            sentence = f"The run of the job {run.job_name} failed: its page in the UI says why."
            incidents.report_lost_run(
                connection, updated[0], None, run.run_id, _ended(record), sentence, job=run.job_name
            )


def update_incidents(
    server: SecretStr, pipeline: Pipeline, failed: Sequence[dg.RunRecord], stalled: Sequence[Stalled] = ()
) -> bool:
    """Bring a pipeline's incidents up to date, also with the `failed` runs that its run log does not know.

    `stalled` are the stalled sensors and schedules of all pipelines. Returns False if the database is not prepared yet.
    Raises UserError.
    """
    with connect(server, pipeline.name, "alerts") as connection:
        if schema.pending(connection):
            return False
        runs.close_dead_rows(connection)
        for record in failed:
            run = record.dagster_run
            load_date, sentence = _requested(pipeline, run)
            job = run.job_name if run.job_name in _without_builds(pipeline) else None
            incidents.report_lost_run(connection, pipeline, load_date, run.run_id, _ended(record), sentence, job)
        record_stalled(connection, pipeline.name, [each for each in stalled if each.starter.pipeline == pipeline.name])
        incidents.close_stalled(connection, pipeline.name, [each.starter.name for each in stalled])
        record_declared(connection, pipeline)
        freshness.report_late(connection, pipeline)
        thresholds.report_breached(connection, pipeline)
        alerting_checks.report_failing(connection, pipeline)
        drifted.report_drifted(connection, pipeline)
        report_waived(connection, pipeline)
        report_restated(connection, pipeline)
        close_recovered(connection, pipeline)
    return True


def _ended(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), timezone.utc)


def _pipeline_of(record: dg.RunRecord, pipelines: Sequence[Pipeline]) -> Pipeline | None:
    """Return the pipeline of a run: that of its assets, or the one that names its job (`<pipeline>_<what>`)."""
    run = record.dagster_run
    first = {part for key in run.asset_selection or () for part in key.path[:1]}
    found = [
        pipeline
        for pipeline in pipelines
        if pipeline.name in first or f"{run.job_name}_".startswith(f"{pipeline.name}_")
    ]
    return max(found, key=lambda pipeline: len(pipeline.name), default=None)


def _without_builds(pipeline: Pipeline) -> dict[str, str]:
    """Return the jobs that publish nothing, each with the word for one of its runs."""
    return {pipeline.recheck_job: "recheck", pipeline.retention_job: "retention"}


def _requested(pipeline: Pipeline, run: dg.DagsterRun) -> tuple[date | None, str]:
    """Return the load_date of a lost run, or the first one of its range, and the sentence of its incident.

    The load_date is None if the run requested one that may not be built, and if its job builds nothing. Then nothing
    can recover, so the incident is reported once and is over.
    """
    what = _without_builds(pipeline).get(run.job_name)
    try:
        first, why = next(iter(requested_load_dates(pipeline, run.tags)), None), ""
    except UsageError as error:
        first, why = None, f" {error}"
    if what:
        of = f" of {first}" if first else ""
        return None, f"The {what}{of} failed before it could begin: its page in the UI says why.{why}"
    return first, f"{LOST}{why}"
