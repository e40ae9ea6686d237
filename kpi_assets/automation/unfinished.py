"""Unfinished runs: the load_dates of a pipeline that some run, queued or executing, is about to build."""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg

from kpi_assets.automation.jobs import kpis_job_name
from kpi_assets.model.pipeline import Pipeline

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
PARTITION, RANGE = "dagster/partition", ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
PAGE = 500  # runs read at once


def unfinished_load_dates(instance: dg.DagsterInstance, pipeline: Pipeline) -> set[date]:
    """The load_dates of every run that builds any of the pipeline's assets and has not ended."""
    return {day for run in _unfinished_runs(instance) if _builds(run, pipeline) for day in _load_dates_of(run)}


def _unfinished_runs(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    cursor = None
    while page := instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED), cursor=cursor, limit=PAGE):
        yield from page
        cursor = page[-1].run_id


def _builds(run: dg.DagsterRun, pipeline: Pipeline) -> bool:
    if run.job_name in {pipeline.name, kpis_job_name(pipeline)}:
        return True
    return any(key.path[0] == pipeline.name for key in run.asset_selection or ())


def _load_dates_of(run: dg.DagsterRun) -> Iterator[date]:
    if PARTITION in run.tags:
        yield date.fromisoformat(run.tags[PARTITION])
    elif RANGE[0] in run.tags:
        first, last = (date.fromisoformat(run.tags[tag]) for tag in RANGE)
        yield from (first + timedelta(days=n) for n in range((last - first).days + 1))
