"""Ticks of the sensor of a pipeline, and the runs that it requests, in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.progress import to_log
from kpi_assets.assets.resources import plain_s3, run_log
from kpi_assets.automation.jobs import pipeline_jobs
from kpi_assets.automation.schedules import pipeline_schedules
from kpi_assets.automation.sensors import pipeline_sensor
from kpi_assets.model.pipeline import Pipeline
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

RESOURCES = {"s3": plain_s3, "run_log": run_log, "progress": dg.ResourceDefinition.hardcoded_resource(to_log)}


_cached: dict[tuple[tuple[Path, bytes], ...], dg.Definitions] = {}


def definitions(shop: TwoSourcePipeline) -> dg.Definitions:
    """Return the definitions of the pipeline as its files are now; the same object until a file changes."""
    files = tuple((path, path.read_bytes()) for path in sorted(shop.folder.rglob("*")) if path.is_file())
    if files not in _cached:
        made = definitions_of(shop.pipeline())
        _cached.clear()
        _cached[files] = made
    return _cached[files]


def definitions_of(pipeline: Pipeline, more: Sequence[dg.AssetsDefinition] = ()) -> dg.Definitions:
    """Return the definitions of a pipeline and of further assets that read it."""
    return dg.Definitions(
        assets=[*pipeline_assets(pipeline), *more],
        jobs=pipeline_jobs(pipeline),
        sensors=[pipeline_sensor(pipeline)],
        schedules=pipeline_schedules(pipeline),
        resources=RESOURCES,
        executor=dg.in_process_executor,
    )


@dataclass
class SensorHarness:
    """The sensor of a pipeline and its Dagster instance; `cursor` is the one that the last tick returned."""

    shop: TwoSourcePipeline
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    cursor: str | None = None
    skipped: str | None = None

    def tick(self, cursor: str | None = None) -> list[dg.RunRequest]:
        """Evaluate one tick of the sensor; return its run requests."""
        defs = definitions(self.shop)
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor or self.cursor, repository_def=defs.get_repository_def()
        )
        told = defs.resolve_sensor_def(f"{self.shop.name}_sensor").evaluate_tick(context)
        self.cursor, self.skipped = told.cursor, told.skip_message
        return list(told.run_requests or [])

    def requested(self, cursor: str | None = None) -> list[date]:
        """Evaluate one tick; return the load_dates that it requests."""
        return [date.fromisoformat(str(request.partition_key)) for request in self.tick(cursor)]

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Execute a requested run, as the daemon does."""
        day = date.fromisoformat(str(request.partition_key))
        return self.run(day, request.tags, list(request.asset_selection or []))

    def keys(self, *names: str) -> list[dg.AssetKey]:
        """Return the asset keys of tables."""
        return [dg.AssetKey([self.shop.name, *name.split(".")]) for name in names]

    def run(self, day: date, tags: object = None, only: Sequence[dg.AssetKey] = ()) -> dg.ExecuteInProcessResult:
        """Run the whole pipeline for a load_date, or some assets only."""
        job = definitions(self.shop).resolve_job_def(self.shop.name)
        return job.execute_in_process(
            instance=self.instance,
            partition_key=day.isoformat(),
            asset_selection=list(only) or None,
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    def range(self, first: date, last: date) -> dg.ExecuteInProcessResult:
        """Run the whole pipeline for a range of load_dates in a single run, as the UI's backfill page offers it."""
        job = definitions(self.shop).resolve_job_def(self.shop.name)
        ends = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        return job.execute_in_process(instance=self.instance, tags=ends, raise_on_error=False)

    def materialized(self, name: str) -> list[str]:
        """Return the load_dates for which Dagster has a materialization of `schema.table`, or of `s3.object`."""
        return sorted(self.instance.get_materialized_partitions(dg.AssetKey([self.shop.name, *name.split(".")])))

    def queue(self, day: date, status: dg.DagsterRunStatus, job: str | None = None, **tags: str) -> dg.DagsterRun:
        """Create a run for another process to execute."""
        name = job or self.shop.name
        job_def = definitions(self.shop).resolve_job_def(name)
        return create_run(self.instance, job_def, status, tags or {"dagster/partition": day.isoformat()})


def create_run(
    instance: dg.DagsterInstance, job: dg.JobDefinition, status: dg.DagsterRunStatus, tags: Mapping[str, str]
) -> dg.DagsterRun:
    """Create a run for another process to execute."""
    location = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("elsewhere"), "__repository__")
    return instance.create_run_for_job(
        job,
        status=status,
        tags=dict(tags),
        remote_job_origin=RemoteJobOrigin(location, job.name),
        job_code_origin=JobPythonOrigin(job.name, RepositoryPythonOrigin("python", ModuleCodePointer("m", "defs"))),
    )


@pytest.fixture
def harness(shop: TwoSourcePipeline) -> SensorHarness:
    """The shop without any earlier load_date; each tick looks at all of them and waits for no object to settle."""
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("start_date: 2025-01-01", f"start_date: {shop.day}"))
    shop.automate("settle_seconds: 0, look_back_days: 3660")
    for entry in shop.store.entries(""):
        shop.s3.delete_object(Bucket=shop.bucket, Key=entry.key)
    with shop.session() as session:
        session.execute("truncate ops.requests")
    return SensorHarness(shop)
