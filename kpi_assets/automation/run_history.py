"""The instance's own history: runs and their events, which Dagster keeps for ever, are deleted when they are old.

A run that holds the latest materialisation of a load_date stays, whatever its age: without it the UI would call that
load_date missing. What ops records of a run stays too. Not here: sensors' and schedules' ticks (dagster.yaml).
"""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import dagster as dg

from kpi_assets.instance.starters import HISTORY
from kpi_assets.settings import settings

JOB = "run_history"
SECONDS = 600.0  # for one look; the next goes on
PAGE = 200  # runs read at once
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def delete_old_runs(instance: dg.DagsterInstance, before: datetime, seconds: float = SECONDS) -> tuple[int, int]:
    """Delete the runs that ended before a time, and were superseded; how many, and how many of them stayed."""
    deadline = time.monotonic() + seconds
    latest: dict[dg.AssetKey, Mapping[str, int]] = {}
    deleted, kept, cursor = 0, 0, None
    wanted = dg.RunsFilter(statuses=ENDED, updated_before=before)
    while page := instance.get_runs(wanted, cursor=cursor, limit=PAGE):
        for run in page:
            if time.monotonic() > deadline:
                return deleted, kept
            if _holds_a_latest(instance, run.run_id, latest):
                kept += 1
            else:
                instance.delete_run(run.run_id)
                deleted += 1
        # The page after a run that is deleted is not found: it goes by the last one of it that stayed.
        cursor = next((run.run_id for run in reversed(page) if instance.has_run(run.run_id)), cursor)
    return deleted, kept


def _holds_a_latest(instance: dg.DagsterInstance, run_id: str, latest: dict[dg.AssetKey, Mapping[str, int]]) -> bool:
    """Whether a materialisation of the run is the newest of its partition; `latest` remembers them by asset."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    for record in instance.get_records_for_run(run_id, of_type=kind).records:
        event = record.event_log_entry.dagster_event
        assert event is not None
        assert event.asset_key is not None
        if event.partition is None:
            return True
        if event.asset_key not in latest:
            latest[event.asset_key] = instance.get_latest_storage_id_by_partition(event.asset_key, kind)
        if latest[event.asset_key].get(event.partition) == record.storage_id:
            return True
    return False


def history_job() -> dg.JobDefinition:
    """Deletes old runs; nothing where KPI_RUN_HISTORY_DAYS is 0."""

    @dg.op(name=f"{JOB}__delete_old_runs")
    def delete(context: dg.OpExecutionContext) -> None:
        days = settings().run_history_days
        if not days:
            context.log.info("KPI_RUN_HISTORY_DAYS is 0: every run is kept.")
            return
        deleted, kept = delete_old_runs(context.instance, datetime.now(timezone.utc) - timedelta(days=days))
        context.log.info(f"Of the runs that ended {days} days ago, {deleted} deleted; {kept} hold what the UI shows.")

    @dg.job(name=JOB, description="Deletes runs and events of this instance that are older than KPI_RUN_HISTORY_DAYS.")
    def history() -> None:
        delete()

    return history


def history_schedule() -> dg.ScheduleDefinition:
    """Once a day, on from the start."""
    return dg.ScheduleDefinition(
        name=HISTORY,
        job_name=JOB,
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Deletes old runs and their events, which Dagster itself never does.",
    )
