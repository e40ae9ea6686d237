"""What starts runs by itself: for each pipeline a sensor, a daily schedule as the alternative, and one for retention.

Belongs here: when a look is taken, and what Dagster is told of it. Not here: the look (sensor_tick.py).
"""

from collections.abc import Collection, Iterator

import dagster as dg

from kpi_assets.automation.retention import retention_schedule
from kpi_assets.automation.sensor_tick import Watch
from kpi_assets.automation.stalled import stand_in
from kpi_assets.instance.starters import DAILY_AT_TWO, broken_sensor_of, schedule_name, sensor_name
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import Broken

# For the load_dates before the look-back. Dagster gives up on a tick after 60 seconds; the sensor goes on in its next.
SENSOR_SECONDS, SCHEDULE_SECONDS = 15.0, 40.0


def pipeline_sensor(pipeline: Pipeline, others: Collection[Pipeline] = ()) -> dg.SensorDefinition:
    """Looks every few seconds, and asks for one run of each load_date that is in need of it.

    `others` are the pipelines beside it, one of whose sensors stands in for the sensor `alerts` where that is stalled.
    """
    watch, words = Watch(pipeline), pipeline.config.automation
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=sensor_name(pipeline),
        job_name=pipeline.job,
        minimum_interval_seconds=words.interval_seconds,
        default_status=status.RUNNING if words.start == "sensor" else status.STOPPED,
        description="Runs a load_date once all its objects have landed, and again when one of them is replaced.",
    )
    def landed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        look = watch.look(context.instance, context.cursor, SENSOR_SECONDS)
        for sentence in look.problems:
            context.log.warning(sentence)
        context.log.info(look.summary)
        try:
            stand_in(context.instance, pipeline, others)
        except Exception as error:  # what was asked for is claimed, and is not to be lost
            context.log.warning(
                f"The alerts cannot be seen to in their sensor's place ({type(error).__name__}: {error})."
            )
        if not look.requests:
            return dg.SensorResult(skip_reason=look.summary, cursor=look.cursor)
        return dg.SensorResult(run_requests=look.requests, cursor=look.cursor)

    return landed


def broken_sensor(broken: Broken) -> dg.SensorDefinition:
    """In the place of the sensor of a pipeline that cannot be read: each look fails with what is wrong with its files.

    So the UI shows it, and where that goes on, it is an incident as of any sensor. The other pipelines go on.
    """
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=sensor_name(broken),
        minimum_interval_seconds=broken.config.automation.interval_seconds if broken.config else 30,
        default_status=status.RUNNING if broken_sensor_of(broken).declared else status.STOPPED,
        description=f"Nothing of {broken.name} runs: its files cannot be read.",
    )
    def unread(_context: dg.SensorEvaluationContext) -> dg.SkipReason:
        raise dg.Failure(str(broken.error))

    return unread


def pipeline_schedules(pipeline: Pipeline) -> list[dg.ScheduleDefinition]:
    """Every schedule of a pipeline; retention's where it wants it."""
    retention = [retention_schedule(pipeline)] if pipeline.config.retention else []
    return [pipeline_schedule(pipeline), *retention]


def pipeline_schedule(pipeline: Pipeline) -> dg.ScheduleDefinition:
    """The same look once a day at 02:00 UTC, for who wants runs at night only."""
    watch, status = Watch(pipeline), dg.DefaultScheduleStatus

    @dg.schedule(
        name=schedule_name(pipeline),
        job_name=pipeline.job,
        cron_schedule=DAILY_AT_TWO,
        execution_timezone="UTC",
        default_status=status.RUNNING if pipeline.config.automation.start == "schedule" else status.STOPPED,
        description="Runs each load_date that has landed or was replaced since; the alternative to the sensor.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        look = watch.look(context.instance, None, SCHEDULE_SECONDS)
        for sentence in look.problems:
            context.log.warning(sentence)
        yield from look.requests
        if not look.requests:
            yield dg.SkipReason(look.summary)

    return daily
