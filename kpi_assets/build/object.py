"""The verification of an S3 object: it exists, has bytes, and begins with the contract's header."""

from contextlib import suppress
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.build.context import BuildContext, ObjectOutcome, reason_of
from kpi_assets.lake.records import HEADER_LIMIT, header_problem
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import CheckResult
from kpi_assets.ops import holds, manifests, results, runs

CHECKS = {
    "exists": "The object lies on S3 under its key.",
    "not_empty": "It has bytes.",
    "header": "Its first line names the contract's columns, in order.",
}


def asset_name(table: Table) -> str:
    """What the object is called in ops: `s3.<table>`."""
    return table.object_name


def verify(context: BuildContext, table: Table, load_date: date) -> ObjectOutcome:
    """Look at a raw table's object and record what it is now.

    A check that makes no sense after the one before it (the header of an empty object) has no result.
    Raises LakeError when S3 cannot be used; the run log says so too. Raises UsageError for a load_date that may not be
    built.
    """
    context.pipeline.check_load_date(load_date)
    with context.session(table, f"{context.run_id[:8]} {asset_name(table)}") as connection:
        row_id = runs.open_row(
            connection,
            run_id=context.run_id,
            pipeline=context.pipeline.name,
            job=asset_name(table),
            load_date=load_date,
        )
        try:
            outcome = _look(context, table, load_date)
            _record(context, connection, table, load_date, row_id, outcome)
        except BaseException as error:
            context.on_progress("failed", 0, 0)
            with suppress(psycopg.Error):
                runs.close_build(
                    connection, row_id, "failed", layer="raw", counts=runs.Counts(), error=reason_of(error)
                )
            raise
    context.on_progress("held" if outcome.held else "verified", 0, 0)
    return outcome


def _look(context: BuildContext, table: Table, load_date: date) -> ObjectOutcome:
    key = table.object_key(load_date)
    manifest = context.store.manifest(table.relation.table, load_date, key)
    found = [_result("exists", f"s3://{context.store.bucket}/{key} is not there" if manifest is None else "")]
    if manifest is not None:
        found.append(_result("not_empty", "" if manifest.size_bytes else f"{_place(manifest)} has 0 bytes"))
    if manifest is not None and manifest.size_bytes:
        start = context.store.head(manifest, HEADER_LIMIT)
        problem = header_problem(start, table.columns)
        found.append(_result("header", f"{_place(manifest)}: {problem}" if problem else ""))
    return ObjectOutcome(manifest, found)


def _record(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    row_id: int,
    outcome: ObjectOutcome,
) -> None:
    if outcome.manifest is not None:
        manifests.record(connection, outcome.manifest, run_id=context.run_id)
    results.record(
        connection,
        outcome.results,
        run_id=context.run_id,
        build_id=row_id,
        table=asset_name(table),
        load_date=load_date,
        subject="object",
    )
    status: runs.Status = "held" if outcome.held else "success"
    problems = "; ".join(result.message for result in outcome.results if result.holds)
    if outcome.held and outcome.manifest is not None:
        holds.record(connection, row_id, manifest_hash=outcome.manifest.hash, code_version=table.object_version)
    runs.close_build(connection, row_id, status, layer="raw", counts=runs.Counts(), error=problems or None)


def _place(manifest: Manifest) -> str:
    return f"s3://{manifest.bucket}/{manifest.key}"


def _result(name: str, problem: str) -> CheckResult:
    return CheckResult(name, passed=not problem, blocking=True, metric=int(bool(problem)), threshold=0, message=problem)
