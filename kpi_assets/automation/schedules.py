"""The schedules of each pipeline: the daily alternative to its sensor, and the daily run of retention.

Belongs here: when they run. Not here: which runs are requested (sensor_tick.py), and what retention drops
(materialize/retention.py).
"""

from collections.abc import Iterator

import dagster as dg

from kpi_assets.automation.sensor_tick import TickEvaluator
from kpi_assets.instance.starters import DAILY_AT_TWO, schedule_name
from kpi_assets.model.pipeline import Pipeline

SECONDS = 40.0  # for old load_dates; Dagster ends a tick after 60 seconds


def pipeline_schedules(pipeline: Pipeline) -> list[dg.ScheduleDefinition]:
    """Return every schedule of a pipeline; that of retention only if it has something to do."""
    retention = [retention_schedule(pipeline)] if pipeline.has_retention else []
    return [pipeline_schedule(pipeline), *retention]


def pipeline_schedule(pipeline: Pipeline) -> dg.ScheduleDefinition:
    """Return the schedule with one tick a day at 02:00 UTC, for pipelines that should run at night only."""
    evaluator, status = TickEvaluator(pipeline), dg.DefaultScheduleStatus

    @dg.schedule(
        name=schedule_name(pipeline),
        job_name=pipeline.job,
        cron_schedule=DAILY_AT_TWO,
        execution_timezone="UTC",
        default_status=status.RUNNING if pipeline.config.automation.start == "schedule" else status.STOPPED,
        description="Runs each load_date that has landed or was replaced since; the alternative to the sensor.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        result = evaluator.evaluate(context.instance, None, SECONDS)
        for sentence in result.problems:
            context.log.warning(sentence)
        yield from result.requests
        if not result.requests:
            yield dg.SkipReason(result.summary)

    return daily


def retention_schedule(pipeline: Pipeline) -> dg.ScheduleDefinition:
    """Return the daily schedule of retention, which is on from the start, because pipeline.yaml asks for it."""
    return dg.ScheduleDefinition(
        name=f"{pipeline.retention_job}_daily",
        job_name=pipeline.retention_job,
        cron_schedule="30 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Drops what is older than pipeline.yaml keeps.",
    )
