"""The sensor of each pipeline, which requests runs, and its replacement for a pipeline whose files cannot be read.

Belongs here: the definition of a sensor. Not here: one tick of it (sensor_tick.py), and the daily alternative
(schedules.py).
"""

from collections.abc import Collection

import dagster as dg

from kpi_assets.automation.sensor_tick import TickEvaluator
from kpi_assets.automation.stalled import stand_in
from kpi_assets.instance.starters import broken_sensor_of, sensor_name
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import Broken

SECONDS = 15.0  # for old load_dates; the next tick goes on. Dagster ends a tick after 60 seconds


def pipeline_sensor(pipeline: Pipeline, others: Collection[Pipeline] = ()) -> dg.SensorDefinition:
    """Return the sensor that requests one run for each load_date that needs one.

    `others` are the other pipelines. If the sensor `alerts` is stalled, one of their sensors, or this one, reports it.
    """
    evaluator, automation = TickEvaluator(pipeline), pipeline.config.automation
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=sensor_name(pipeline),
        job_name=pipeline.job,
        minimum_interval_seconds=automation.interval_seconds,
        default_status=status.RUNNING if automation.start == "sensor" else status.STOPPED,
        description="Runs a load_date once all its objects have landed, and again when one of them is replaced.",
    )
    def landed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        result = evaluator.evaluate(context.instance, context.cursor, SECONDS)
        for sentence in result.problems:
            context.log.warning(sentence)
        context.log.info(result.summary)
        try:
            stand_in(context.instance, pipeline, others)
        except Exception as error:  # the requests are claimed by now, and must not be lost
            context.log.warning(f"The stalled sensor `alerts` cannot be reported ({type(error).__name__}: {error}).")
        if not result.requests:
            return dg.SensorResult(skip_reason=result.summary, cursor=result.cursor)
        return dg.SensorResult(run_requests=result.requests, cursor=result.cursor)

    return landed


def broken_sensor(broken: Broken) -> dg.SensorDefinition:
    """Return the sensor of a pipeline whose files cannot be read: each tick fails with the error in the files.

    So the UI shows the error, and after some ticks it becomes an incident, as for any sensor. The other pipelines
    are not affected.
    """
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=sensor_name(broken),
        minimum_interval_seconds=broken.config.automation.interval_seconds if broken.config else 30,
        default_status=status.RUNNING if broken_sensor_of(broken).declared else status.STOPPED,
        description=f"Nothing of {broken.name} runs: its files cannot be read.",
    )
    def unreadable(_context: dg.SensorEvaluationContext) -> dg.SkipReason:
        raise dg.Failure(str(broken.error))

    return unreadable
