"""Deletes old runs and their events from the Dagster instance, which itself keeps them forever.

A run with the latest materialization of a load_date stays, whatever its age: without it the UI would show the load_date
as missing. The rows of a run in schema ops stay too. Not here: the ticks of sensors and schedules (dagster.yaml).
"""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import dagster as dg

from kpi_assets.instance.starters import HISTORY
from kpi_assets.settings import settings

JOB = "run_history"
SECONDS = 600.0  # for one run of the job; the next run deletes the rest
PAGE = 200  # runs read at once
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def delete_old_runs(instance: dg.DagsterInstance, before: datetime, seconds: float = SECONDS) -> tuple[int, int]:
    """Delete the superseded runs that ended before a time; return how many were deleted, and how many had to stay."""
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
        # Dagster finds no page after a deleted run, so the cursor is the last run of this page that stayed.
        cursor = next((run.run_id for run in reversed(page) if instance.has_run(run.run_id)), cursor)
    return deleted, kept


def _holds_a_latest(instance: dg.DagsterInstance, run_id: str, latest: dict[dg.AssetKey, Mapping[str, int]]) -> bool:
    """Whether a materialization of the run is the newest of its partition; `latest` is a cache of them by asset."""
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
    """Return the job that deletes old runs; it deletes none if KPI_RUN_HISTORY_DAYS is 0."""

    @dg.op(name=f"{JOB}__delete_old_runs")
    def delete(context: dg.OpExecutionContext) -> None:
        days = settings().run_history_days
        if not days:
            context.log.info("KPI_RUN_HISTORY_DAYS is 0: every run is kept.")
            return
        deleted, kept = delete_old_runs(context.instance, datetime.now(timezone.utc) - timedelta(days=days))
        context.log.info(
            f"Of the runs that ended {days} days ago, {deleted} were deleted; {kept} stay, because the UI shows them."
        )

    @dg.job(name=JOB, description="Deletes runs and events of this instance that are older than KPI_RUN_HISTORY_DAYS.")
    def history() -> None:
        delete()

    return history


def history_schedule() -> dg.ScheduleDefinition:
    """Return the daily schedule of the job; it is on from the start."""
    return dg.ScheduleDefinition(
        name=HISTORY,
        job_name=JOB,
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Deletes old runs and their events, which Dagster itself never does.",
    )
