"""Jobs of a pipeline: all assets of one load_date, its KPIs only, and its checks only on published rows.

The last of these is an op, because the checks of the assets are part of a build. It cannot release a held build: it
checks the rows that readers see, and held rows are not among them.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from kpi_assets.assets.factory import evaluations
from kpi_assets.assets.metadata import table_key
from kpi_assets.assets.partitions import load_dates
from kpi_assets.assets.run_tags import requested_load_dates
from kpi_assets.assets.steps import user_errors_as_failures
from kpi_assets.automation.live_run import live_job
from kpi_assets.automation.retention import retention_job
from kpi_assets.dagster_internals import UnresolvedAssetJobDefinition
from kpi_assets.errors import UsageError
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import AS_PUBLISHED, recheck
from kpi_assets.model.excerpt import RECORD, cut
from kpi_assets.model.pipeline import Pipeline


def pipeline_jobs(pipeline: Pipeline) -> list[dg.JobDefinition | UnresolvedAssetJobDefinition]:
    """Return every job of a pipeline: two for any, and one each if it has KPIs, retention, or streams."""
    kpis = [kpis_job(pipeline)] if any(table.header.kpi for table in pipeline.tables.values()) else []
    retention = [retention_job(pipeline)] if pipeline.has_retention else []
    live = [live_job(pipeline)] if pipeline.stream_tables else []
    return [pipeline_job(pipeline), *kpis, recheck_job(pipeline), *retention, *live]


def pipeline_job(pipeline: Pipeline) -> UnresolvedAssetJobDefinition:
    """Return the job of all assets of a pipeline, from its objects to its KPIs."""
    return dg.define_asset_job(
        pipeline.job,
        selection=dg.AssetSelection.key_prefixes(pipeline.name),
        description=f"From S3 to KPIs for one load_date: {pipeline.config.description}",
    )


def kpis_job(pipeline: Pipeline) -> UnresolvedAssetJobDefinition:
    """Return the job of the KPIs only, which builds them from the published rows of the tables that they read."""
    keys = [table_key(pipeline.name, table.relation) for table in pipeline.tables.values() if table.header.kpi]
    return dg.define_asset_job(
        pipeline.kpis_job,
        selection=dg.AssetSelection.assets(*keys),
        description="The KPIs of one load_date, from tables that are published already.",
    )


class RecheckConfig(dg.Config):
    """The tables to check, as schema.table; by default all that are published."""

    tables: list[str] = []


def _the_load_date(pipeline: Pipeline, context: dg.OpExecutionContext) -> date:
    days = requested_load_dates(pipeline, context.run.tags)
    if len(days) != 1:
        raise UsageError(f"A recheck takes one load_date, and the run names {len(days)}: give it one partition.")
    return days[0]


def recheck_job(pipeline: Pipeline) -> dg.JobDefinition:
    """Return the job that runs the checks of a pipeline's tables again, on the published rows of one load_date."""

    @dg.op(name=f"{pipeline.name}__recheck_tables", required_resource_keys={"s3", "run_log", "progress"})
    def recheck_tables(context: dg.OpExecutionContext, config: RecheckConfig) -> Iterator[Any]:
        resources = context.resources
        failed = []
        with user_errors_as_failures(context):
            load_date = _the_load_date(pipeline, context)
            tables = [pipeline.table(name) for name in config.tables]
            work = resources.run_log.context(pipeline, resources.s3, resources.progress(context.log, "recheck"))
            for table in tables or pipeline.tables.values():
                try:
                    results = recheck(work, table, load_date)
                except UpstreamError as error:
                    if table in tables:
                        raise
                    if pipeline.is_table_due(table, load_date):
                        context.log.warning(str(error))
                    continue
                key = table_key(pipeline.name, table.relation)
                where = {"published": f"{pipeline.name}.{table.relation}"}
                of_asset = [result for result in results if result.name != AS_PUBLISHED]
                yield from evaluations(context.instance, key, str(load_date), of_asset, where)
                blocking = [result for result in results if result.blocks_publish]
                failed += [f"{table.relation} {result.name} ({result.message})" for result in blocking]
        yield dg.Output(None)
        if failed:
            found = cut("; ".join(failed), RECORD)
            raise dg.Failure(f"The published rows of {load_date} fail checks: {found}.", allow_retries=False)

    @dg.job(
        name=pipeline.recheck_job,
        partitions_def=load_dates(pipeline),
        description="The checks alone, on what is published of one load_date; nothing is built.",
    )
    def recheck_published() -> None:
        recheck_tables()

    return recheck_published
