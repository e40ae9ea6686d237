"""The code location: assembles the definitions for Dagster. An import of this module reads and connects to nothing.

Not here: what an asset, a job or a resource does.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.progress import to_log
from kpi_assets.assets.resources import plain_s3, run_log
from kpi_assets.automation.alerts import alerts_sensor
from kpi_assets.automation.jobs import pipeline_jobs
from kpi_assets.automation.live_run import live_sensor
from kpi_assets.automation.run_history import history_job, history_schedule
from kpi_assets.automation.schedules import pipeline_schedules
from kpi_assets.automation.sensors import broken_sensor, pipeline_sensor
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import Broken, load_sound
from kpi_assets.settings import settings


def build_defs(
    overrides: Mapping[str, Any] | None = None, tree: tuple[dict[str, Pipeline], dict[str, Broken]] | None = None
) -> dg.Definitions:
    """Return the definitions of every pipeline; `overrides` replace resources by name (`s3`, `run_log`, `progress`).

    `tree` is the result of load_sound() if it was called before. A pipeline whose files cannot be read has only a
    sensor, which reports the error.
    """
    config = settings()
    sound, broken = tree or load_sound(config.sql_dir, config.min_rows)
    pipelines = list(sound.values())
    return dg.Definitions(
        assets=[asset for pipeline in pipelines for asset in pipeline_assets(pipeline)],
        jobs=[*(job for pipeline in pipelines for job in pipeline_jobs(pipeline)), history_job()],
        sensors=[
            *(pipeline_sensor(pipeline, pipelines) for pipeline in pipelines),
            *(live_sensor(pipeline) for pipeline in pipelines if pipeline.stream_tables),
            *map(broken_sensor, broken.values()),
            alerts_sensor(pipelines, broken.values()),
        ],
        schedules=[*(each for pipeline in pipelines for each in pipeline_schedules(pipeline)), history_schedule()],
        resources={
            "s3": plain_s3,
            "run_log": run_log,
            "progress": dg.ResourceDefinition.hardcoded_resource(to_log),
            **(overrides or {}),
        },
        # Steps share one process: a process for each costs more than most builds.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions that workspace.yaml loads."""
    return build_defs()
