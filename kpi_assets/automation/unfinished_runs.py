"""Unfinished runs: the load_dates of a pipeline that a queued or executing run is about to build."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date

import dagster as dg

from kpi_assets.assets.run_tags import requested_load_dates
from kpi_assets.errors import UsageError
from kpi_assets.model.pipeline import Pipeline

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
PAGE = 500  # runs read at once


def unfinished_load_dates(instance: dg.DagsterInstance, pipeline: Pipeline) -> tuple[set[date], dict[str, str]]:
    """Return the load_dates of every run that builds any of the pipeline's assets and has not ended.

    The second value maps a run id to the problem of a run whose tags name no load_date that may be built. Such a
    run will build nothing.
    """
    days: set[date] = set()
    problems = {}
    for run in _unfinished_runs(instance):
        if _builds(run, pipeline):
            try:
                days.update(requested_load_dates(pipeline, run.tags))
            except UsageError as error:
                problems[run.run_id] = str(error)
    return days, problems


def live_load_dates(instance: dg.DagsterInstance, pipeline: Pipeline) -> Iterator[date]:
    """Yield the load_date of each live run of the pipeline that has not ended; of none whose tags name no load_date."""
    for run in _unfinished_runs(instance, pipeline.live_job):
        with suppress(UsageError):
            yield from requested_load_dates(pipeline, run.tags)


def _unfinished_runs(instance: dg.DagsterInstance, job: str | None = None) -> Iterator[dg.DagsterRun]:
    cursor = None
    while page := instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNFINISHED), cursor=cursor, limit=PAGE):
        yield from page
        cursor = page[-1].run_id


def _builds(run: dg.DagsterRun, pipeline: Pipeline) -> bool:
    if run.job_name in {pipeline.job, pipeline.kpis_job}:
        return True
    return any(key.path[:1] == [pipeline.name] for key in run.asset_selection or ())
