"""Assets of others that read a pipeline: Dagster builds each of them in a run of its own, where no gate is checked.

Each has a partitions definition other than load_dates, or an automation condition that starts its runs.
"""

import os
from pathlib import Path

import dagster as dg

from kpi_assets.assets.metadata import table_key
from kpi_assets.assets.partitions import load_dates
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.automation.conftest import definitions_of

SQL_DIR, PIPELINE = "NEIGHBOURS_SQL_DIR", "NEIGHBOURS_PIPELINE"  # environment variables, for `defs`
EAGER = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
DAILY, WEEKLY, WHOLE = dg.AssetKey("daily"), dg.AssetKey("weekly"), dg.AssetKey("whole")


def readers_of_labels(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """Return three assets that read raw.labels: by day, by week, and all load_dates at once."""
    labels = table_key(pipeline.name, Relation("raw", "labels"))
    week = dg.WeeklyPartitionsDefinition(start_date=pipeline.config.start_date.isoformat())

    @dg.asset(key=DAILY, deps=[labels], partitions_def=load_dates(pipeline), automation_condition=EAGER)
    def daily() -> None:
        pass

    @dg.asset(key=WEEKLY, deps=[labels], partitions_def=week, automation_condition=EAGER)
    def weekly() -> None:
        pass

    @dg.asset(key=WHOLE, deps=[labels], automation_condition=EAGER)
    def whole() -> None:
        pass

    return [daily, weekly, whole]


def defs() -> dg.Definitions:
    """Return the pipeline that the environment names and the assets that read it, as a code location."""
    pipeline = load_pipelines(Path(os.environ[SQL_DIR]))[os.environ[PIPELINE]]
    return definitions_of(pipeline, readers_of_labels(pipeline))
