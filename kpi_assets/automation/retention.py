"""The job of retention, for each pipeline whose pipeline.yaml has the word `retention`, or that has tables on a lake.

Not here: what is dropped, and how (materialize/retention.py), and when the job runs (schedules.py).
"""

from datetime import datetime, timezone

import dagster as dg

from kpi_assets.assets.factory import RESOURCES
from kpi_assets.assets.steps import NAMED, user_errors_as_failures
from kpi_assets.materialize.retention import drop_due, find_due, settle_lake, totals_by_table
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.warehouse.connection import connect


def retention_job(pipeline: Pipeline) -> dg.JobDefinition:
    """Return the job that drops the load_dates that are older than pipeline.yaml keeps."""

    @dg.op(name=f"{pipeline.name}__drop_old_rows", required_resource_keys=RESOURCES)
    def drop_old_rows(context: dg.OpExecutionContext) -> None:
        resources = context.resources
        with user_errors_as_failures(context):
            work = resources.run_log.context(pipeline, resources.s3, resources.progress(context.log, "retention"))
            with connect(work.server, pipeline.name, "retention") as connection:
                found = find_due(connection, pipeline, datetime.now(timezone.utc).date())
            outcomes = list(drop_due(work, found))
            for sentence in settle_lake(work):
                context.log.info(sentence)
        for total in totals_by_table(publish for publish, kept_reason in outcomes if not kept_reason):
            days = f"{total.load_dates} load_dates from {total.first} to {total.last}"
            context.log.info(f"{total.asset}: {total.rows} rows of {days} dropped")
        left = [
            f"{publish.asset} of {publish.load_date}: {kept_reason}" for publish, kept_reason in outcomes if kept_reason
        ]
        for sentence in left[:NAMED]:
            context.log.warning(f"Left for the next time: {sentence}")
        context.log.info(f"{len(outcomes) - len(left)} dropped, {len(left)} left for the next time.")

    @dg.job(
        name=pipeline.retention_job,
        description="Drops the load_dates that are older than pipeline.yaml keeps.",
    )
    def drop_old() -> None:
        drop_old_rows()

    return drop_old
