"""Assets: one for each S3 object and one for each file below sql/, all partitioned by load_date.

An asset's checks run inside its step, before it is published. If a check holds the build, its evaluation is recorded
for that load_date, and no materialization. Then Dagster skips the steps after it, and no other run can build
on the partition. The step does not fail, because the UI shows everything that a failed run skipped as failed too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import dagster as dg

from kpi_assets.assets import chart, metadata
from kpi_assets.assets.metadata import object_key, table_key
from kpi_assets.assets.partitions import check_specs, dependency, horizon, load_dates, most_load_dates
from kpi_assets.assets.steps import Step, upstream_names
from kpi_assets.dagster_internals import AssetCheckEvaluationTargetMaterializationData
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildOutcome, ObjectOutcome
from kpi_assets.materialize.object_checks import checks as object_checks
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.calendar import EVERY_DAY
from kpi_assets.model.checks.base import Check
from kpi_assets.model.excerpt import RECORD, cut
from kpi_assets.model.kpi import Freshness
from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import Ruling
from kpi_assets.model.table import Table
from kpi_assets.settings import settings

T = TypeVar("T")
RESOURCES = {"s3", "run_log", "progress"}


def pipeline_assets(pipeline: Pipeline) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return every asset of a pipeline."""
    return [
        *(_object_asset(pipeline, table) for table in pipeline.object_tables),
        *(_stream_asset(pipeline, table) for table in pipeline.stream_tables),
        *(_table_asset(pipeline, table) for table in pipeline.tables.values()),
        *(_live_asset(pipeline, table) for table in pipeline.live.values()),
    ]


def _live_asset(pipeline: Pipeline, table: Table) -> dg.AssetSpec:
    """Return the external asset of a live view: Dagster shows it, and no run builds it."""
    return dg.AssetSpec(
        table_key(pipeline.name, table.relation),
        deps=[table_key(pipeline.name, relation) for relation in table.reads if relation in pipeline.live],
        group_name=f"{pipeline.name}_{table.relation.schema}",
        description=table.header.description,
        owners=[table.header.owner],
        kinds={"postgres", "sql"},
        tags={"layer": table.relation.schema, "live": "true"},
        metadata=metadata.definition_metadata(pipeline, table),
    )


def _stream_asset(pipeline: Pipeline, table: Table) -> dg.AssetSpec:
    """Return the asset of the objects in which the events of a stream land: no run makes them, `kpi stream` does.

    A live run records a materialization with how many of them are built.
    """
    return dg.AssetSpec(
        object_key(table),
        group_name=f"{pipeline.name}_s3",
        description=f"The events of the stream {table.stream}, in the order in which the broker took them: the objects "
        f"below {table.source.object} on S3. A load_date grows until the stream is past its end.",
        owners=[table.header.owner],
        kinds={"s3", table.format.name},
        tags={"layer": "s3", "stream": "true"},
        metadata={"object": table.source.object, "stream": table.stream or "", **metadata.code_reference(table)},
        partitions_def=load_dates(pipeline),
    )


def _object_asset(pipeline: Pipeline, table: Table) -> dg.AssetsDefinition:
    """Return the asset of a raw table's S3 object. A materialization records that the object existed, and its bytes."""
    key, partitions = object_key(table), load_dates(pipeline)
    checks = object_checks(table)
    spec = dg.AssetSpec(
        key,
        group_name=f"{pipeline.name}_s3",
        description=_described(table),
        owners=[table.header.owner],
        kinds={"s3", table.format.name, *(["api"] if table.source.api else [])},
        tags={"layer": "s3"},
        code_version=table.object_version,
        metadata={"object": table.source.object, **metadata.code_reference(table)},
        skippable=True,
    )

    def events(context: dg.AssetExecutionContext, partition: str, outcome: ObjectOutcome) -> Iterator[Any]:
        return _object_events(context, key, partition, outcome)

    step = Step(pipeline, table, key, table.object_name, [], lambda work, day: verify(work, table, day), events)

    @dg.multi_asset(
        name=_op_name(key),
        specs=[spec],
        check_specs=check_specs(key, checks, partitions),
        partitions_def=partitions,
        required_resource_keys=RESOURCES,
    )
    def object_asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from step.run(context)
        yield from _check_outputs(key, checks)

    return object_asset


def _described(table: Table) -> str:
    """Return the description of an object, with when it comes unless that is every day."""
    source = table.source
    words = [f"The object {source.object} on S3, verified against the columns of {table.relation}."]
    words += [f"It is fetched from the API {source.api}."] if source.api else []
    words += [f"It comes {source.calendar_text}."] if table.delivery_calendar != EVERY_DAY else []
    words += [f"It is read for {source.carried_days} more days at most."] if source.carried_days else []
    words += ["It is optional."] if source.optional else []
    return " ".join(words)


def _object_events(
    context: dg.AssetExecutionContext, key: dg.AssetKey, partition: str, outcome: ObjectOutcome
) -> Iterator[Any]:
    manifest = outcome.manifest
    where = {"object": manifest.url} if manifest else {}

    def evaluated() -> list[dg.AssetCheckEvaluation]:
        return list(evaluations(context.instance, key, partition, outcome.results, where))

    if outcome.held:
        yield from evaluated()
        state = "missing" if outcome.is_missing else "held"
        context.log.error(f"{key.to_user_string()} of {partition} is {state}: {_reasons(outcome.results)}")
        return
    described = _make_or_warn(context, "Its metadata", lambda: metadata.object_metadata(outcome)) or {}
    # The manifest is the data version: a replaced object makes everything downstream stale.
    yield from _materialized(context, key, partition, manifest.hash if manifest else NO_OBJECT, described)
    yield from _make_or_warn(context, "The results of its checks", evaluated) or []


def _since_any_build(pipeline: Pipeline, table: Table, freshness: Freshness | None) -> dg.FreshnessPolicy | None:
    """Return Dagster's policy, which counts the hours from the latest materialization of any load_date.

    A load_date may be built from its first minute on, and counts as late some hours after its end. So the policy is a
    day longer, or as long as the longest time between two load_dates on which the table is due. A table that is on time
    by its load_dates (monitoring/freshness.py) is then never late for Dagster. It knows nothing of minutes: a table is
    not materialized while no event comes, and is fresh all the same.
    """
    if freshness is None or freshness.within_hours is None:
        return None
    days = pipeline.calendars[table.relation].longest_gap(pipeline.config.start_date, horizon())
    return dg.FreshnessPolicy.time_window(timedelta(days=days, hours=freshness.within_hours))


def _table_asset(pipeline: Pipeline, table: Table) -> dg.AssetsDefinition:
    """Return the asset of one file below sql/."""
    key, partitions = table_key(pipeline.name, table.relation), load_dates(pipeline)
    layer, kpi, freshness = table.relation.schema, table.header.kpi, table.header.freshness
    upstream = [
        dependency(
            table_key(pipeline.name, relation),
            most_load_dates(pipeline, table.header.lookback.days)
            if table.header.lookback and relation in table.window_reads
            else None,
        )
        for relation in table.reads
    ]
    upstream_is_object = table.has_object or table.stream is not None
    if upstream_is_object:
        upstream.append(dependency(object_key(table), None))
    spec = dg.AssetSpec(
        key,
        deps=upstream,
        group_name=f"{pipeline.name}_{layer}",
        description=chart.description(table),
        owners=[table.header.owner],
        kinds={"postgres", *(["sql"] if table.query else []), *([table.format.name] if upstream_is_object else [])},
        tags={"layer": layer, **({"kpi": "true"} if kpi else {})},
        code_version=table.code_version,
        metadata={
            **metadata.pages_metadata(pipeline, table, settings().serve_url),
            **metadata.definition_metadata(pipeline, table),
        },
        freshness_policy=_since_any_build(pipeline, table, freshness),
        skippable=True,
    )

    def events(context: dg.AssetExecutionContext, partition: str, outcome: BuildOutcome) -> Iterator[Any]:
        return _table_events(context, pipeline, table, partition, outcome)

    names = upstream_names(pipeline, table)
    step = Step(pipeline, table, key, str(table.relation), names, lambda work, day: build(work, table, day), events)

    @dg.multi_asset(
        name=_op_name(key),
        specs=[spec],
        check_specs=check_specs(key, table.checks, partitions),
        partitions_def=partitions,
        required_resource_keys=RESOURCES,
    )
    def table_asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from step.run(context)
        yield from _check_outputs(key, table.checks)

    return table_asset


def _table_events(
    context: dg.AssetExecutionContext, pipeline: Pipeline, table: Table, partition: str, outcome: BuildOutcome
) -> Iterator[Any]:
    key = table_key(pipeline.name, table.relation)
    for warning in (*outcome.warnings, *outcome.measure_warnings):
        context.log.warning(warning)
    declared = {check.name for check in table.checks}
    results = [result for result in outcome.results if result.name in declared]  # no ruling, which nobody declares
    if outcome.held:
        where = {"candidate": outcome.place or f"{pipeline.name}.{outcome.candidate}"}
        yield from evaluations(context.instance, key, partition, results, where)
        context.log.error(
            f"{table.relation} of {partition} is held: {_reasons(outcome.results)}. Readers keep what was published "
            f"before; the candidate is kept as {outcome.place or outcome.candidate}."
        )
        return
    described = _make_or_warn(context, "Its metadata", lambda: metadata.build_metadata(pipeline, table, outcome))
    if kpi := table.header.kpi:
        pictures = _make_or_warn(
            context, "Its chart", lambda: chart.metadata_of(kpi.chart, outcome.chart, table.relation, partition)
        )
        described = {**(pictures or {}), **(described or {})}
    yield from _materialized(context, key, partition, f"{outcome.rows}-{outcome.checksum}", described or {})
    where = {"published": f"{pipeline.name}.{table.relation}"}
    if waiver := outcome.waiver:
        context.log.warning(
            f"{table.relation} of {partition} is published although checks fail: {_reasons(outcome.results)}. "
            f"{waiver.by} waived that: {waiver.reason}"
        )

    def evaluated() -> list[dg.AssetCheckEvaluation]:
        return list(evaluations(context.instance, key, partition, results, where, waiver))

    yield from _make_or_warn(context, "The results of its checks", evaluated) or []


def _make_or_warn(context: dg.AssetExecutionContext, what: str, make: Callable[[], T]) -> T | None:
    """Return what `make` returns. If it fails, warn and return None, because the build is published already."""
    try:
        return make()
    except Exception as error:
        context.log.warning(
            f"{what} cannot be shown ({type(error).__name__}: {error}); what was built stays published."
        )
        return None


def _materialized(
    context: dg.AssetExecutionContext, key: dg.AssetKey, partition: str, data_version: str, described: dict[str, Any]
) -> Iterator[Any]:
    """Yield the materialization of a partition: the step's result if the run has one load_date, else an event."""
    if _is_single_partition_run(context):
        yield dg.MaterializeResult(asset_key=key, metadata=described, data_version=dg.DataVersion(data_version))
    else:
        code_version = context.assets_def.get_asset_spec(key).code_version or ""
        tags = {"dagster/data_version": data_version, "dagster/code_version": code_version}
        yield dg.AssetMaterialization(key, partition=partition, metadata=described, tags=tags)


def evaluations(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partition: str,
    results: Iterable[CheckResult],
    where: Mapping[str, str],
    waiver: Ruling | None = None,
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the check results of one load_date as evaluations; a failure that somebody waived is a warning.

    Yield them after the materialization of the load_date. An evaluation names the materialization that it is about, and
    Dagster shows a load_date as unchecked if its latest materialization has none. None of them is blocking, whatever
    the spec says: a failed blocking one would fail the step and the run. The steps after it do not run because this
    step gives no output.
    """
    target = _latest_materialization(instance, key, partition)
    for result in sorted(results, key=lambda result: not result.passed):  # the UI opens a run's log at its end
        is_waived = waiver is not None and result.blocks_publish
        is_error = (result.blocking or result.errored) and not is_waived and result.ruling_id is None
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=result.name,
            passed=result.passed,
            partition=partition,
            blocking=False,
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            description=result.message or None,
            metadata=metadata.check_metadata(result, where, waiver if is_waived else None),
            target_materialization_data=target,
        )


def _latest_materialization(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        return AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
    return None


def _check_outputs(key: dg.AssetKey, checks: Sequence[Check]) -> Iterator[dg.Output[None]]:
    """Yield an output for each check, which Dagster requires; the evaluations were yielded before."""
    for check in checks:
        yield dg.Output(None, output_name=f"{key.to_python_identifier()}_{check.name}")


def _reasons(results: Sequence[CheckResult]) -> str:
    return cut("; ".join(f"{result.name} ({result.message})" for result in results if result.blocks_publish), RECORD)


def _is_single_partition_run(context: dg.AssetExecutionContext) -> bool:
    """Whether the run has one load_date. Only then a step without an output stops the steps after it (steps.py)."""
    return len(context.partition_keys) == 1


def _op_name(key: dg.AssetKey) -> str:
    return key.to_python_identifier()
