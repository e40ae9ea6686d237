"""The verification of an S3 object: it exists, has bytes, begins with the contract's header, and was not cut off.

Belongs here: the checks that need S3's metadata and a few bytes. Not here: the checks that need all of it (load.py,
audit.py).
"""

from contextlib import suppress
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import holds, manifests, results, runs
from kpi_assets.materialize.context import BuildContext, ObjectOutcome, run_log_message
from kpi_assets.model.checks.base import Check
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import CheckResult
from kpi_assets.sources.formats import format_of


def checks(table: Table) -> list[Check]:
    """The checks of a raw table's object, in the order in which they are made."""
    found = [
        Check("exists", "The object lies on S3 under its key."),
        Check("not_empty", "It has bytes."),
        Check("header", table.format.start_check),
    ]
    if _may_be_cut_off(table):
        blocking = table.source.ends_with_line_end == "hold"
        found.append(Check("ends_with_line_end", "Its last record was not cut off.", blocking=blocking))
    return found


def asset_name(table: Table) -> str:
    """What the object is called in ops: `s3.<table>`."""
    return table.object_name


def verify(context: BuildContext, table: Table, load_date: date) -> ObjectOutcome:
    """Verify the object of a raw table and record its state and the results.

    A check that makes no sense after an earlier one failed (the header of an empty object) has no result. Raises
    LakeError when S3 cannot be used, which is also written in the run log, and UsageError for a load_date that may not
    be built.
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
            outcome = _inspect(context, connection, table, load_date)
            _record(context, connection, table, load_date, row_id, outcome)
        except BaseException as error:
            context.on_progress("failed", 0, 0)
            with suppress(psycopg.Error):
                runs.close_build(
                    connection, row_id, "failed", layer="raw", counts=runs.Counts(), error=run_log_message(error)
                )
            raise
    context.on_progress("missing" if outcome.manifest is None else "held" if outcome.held else "verified", 0, 0)
    return outcome


def _inspect(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> ObjectOutcome:
    key = table.object_key(load_date)
    manifest = context.store.manifest(table.relation.table, load_date, key)
    found = [_result("exists", f"s3://{context.store.bucket}/{key} is not there" if manifest is None else "")]
    if manifest is not None:
        found.append(_result("not_empty", "" if manifest.size_bytes else f"{_place(manifest)} has 0 bytes"))
    if manifest is not None and manifest.size_bytes:
        format_ = format_of(table)
        problem = format_.check_start(context.store.head(manifest, format_.start_size), table.types)
        found.append(_result("header", f"{_place(manifest)}: {problem}" if problem else ""))
        if not problem and _may_be_cut_off(table):
            found.append(_ends_with_line_end(context, connection, table, manifest))
    return ObjectOutcome(manifest, found)


def _ends_with_line_end(
    context: BuildContext, connection: Connection[Any], table: Table, manifest: Manifest
) -> CheckResult:
    """Check that the object ends where a record ends.

    Some programs write no line end after the last record. Where the object is also smaller than the one before, its
    upload was probably cut off, and the check holds whatever the header says.
    """
    blocking, problem = table.source.ends_with_line_end == "hold", ""
    if context.store.head(manifest, 1, manifest.size_bytes - 1) != b"\n":
        problem = f"{_place(manifest)} ends without a line end: its last record may be cut off"
        earlier = manifests.before(connection, manifest.object, manifest.load_date)
        if earlier and manifest.size_bytes < earlier.size_bytes:
            blocking = True
            problem += (
                f", and it has fewer bytes than that of {earlier.load_date} "
                f"({manifest.size_bytes} after {earlier.size_bytes})"
            )
    return _result("ends_with_line_end", problem, blocking=blocking)


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
    status: runs.Status = "missing" if outcome.manifest is None else "held" if outcome.held else "success"
    problems = "; ".join(result.message for result in outcome.results if result.blocks_publish)
    if outcome.held and outcome.manifest is not None:
        holds.record(connection, row_id, manifest_hash=outcome.manifest.hash, code_version=table.object_version)
    runs.close_build(connection, row_id, status, layer="raw", counts=runs.Counts(), error=problems or None)


def _place(manifest: Manifest) -> str:
    return f"s3://{manifest.bucket}/{manifest.key}"


def _may_be_cut_off(table: Table) -> bool:
    """Whether it is checked that its last record was not cut off."""
    return table.format.ends_with_line_end and table.source.ends_with_line_end != "ignore"


def _result(name: str, problem: str, *, blocking: bool = True) -> CheckResult:
    return CheckResult(
        name, passed=not problem, blocking=blocking, metric=int(bool(problem)), threshold=0, message=problem
    )
