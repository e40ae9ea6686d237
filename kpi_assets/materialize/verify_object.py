"""Verifies an S3 object: it exists, is not empty, begins with the declared header, and was not cut off.

Belongs here: the checks that need only S3's metadata and a few bytes. Not here: the checks that need the whole object
(load.py, audit.py).
"""

from contextlib import suppress
from dataclasses import replace
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
from kpi_assets.sources.formats.base import OpenObject


def checks(table: Table) -> list[Check]:
    """Return the checks of a raw table's object, in the order in which they are made."""
    found = [
        Check("exists", "The object lies on S3 under its key."),
        Check("not_empty", "It has bytes."),
        Check("header", table.format.start_check),
    ]
    if _checks_last_record(table):
        blocking = table.source.ends_with_line_end == "hold"
        found.append(Check("ends_with_line_end", "Its last record was not cut off.", blocking=blocking))
    return found


def asset_name(table: Table) -> str:
    """Return the name of the table's object in ops: `s3.<table>`."""
    return table.object_name


def verify(context: BuildContext, table: Table, load_date: date) -> ObjectOutcome:
    """Verify the object of a raw table and record its state and the results.

    A check that makes no sense after an earlier one failed (the header of an empty object) has no result. Raises
    LakeError, and writes it to the run log, if S3 cannot be used; raises UsageError for a load_date that may not be
    built.
    """
    context.pipeline.check_due(table, load_date)
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
    context.on_progress("missing" if outcome.is_missing else "held" if outcome.held else "verified", 0, 0)
    return outcome


def _inspect(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> ObjectOutcome:
    """Make the checks in order, until one fails after which the next makes no sense."""
    key = table.object_key(load_date)
    manifest = context.store.manifest(table.relation.table, load_date, key)
    absent = f"s3://{context.store.bucket}/{key} is not there"
    if manifest is None and table.source.optional:
        return ObjectOutcome(None, [replace(_result("exists", ""), message=f"{absent}: it is optional")])
    found = [_result("exists", absent if manifest is None else "")]
    if manifest is not None:
        found.append(_result("not_empty", "" if manifest.size_bytes else f"{_url(manifest)} has 0 bytes"))
    if manifest is not None and manifest.size_bytes:
        with format_of(table).open(context.store, manifest, table, load_date) as opened:
            problem = opened.problem
            found.append(_result("header", f"{_url(manifest)}: {problem}" if problem else ""))
            if not problem and _checks_last_record(table):
                found.append(_ends_with_line_end(connection, table, opened))
    return ObjectOutcome(manifest, found)


def _ends_with_line_end(connection: Connection[Any], table: Table, opened: OpenObject) -> CheckResult:
    """Check that the object ends with a line end.

    Some programs write no line end after the last record. If the object is also smaller than the previous load_date's,
    its upload was probably cut off, and the check blocks the build whatever the header says.
    """
    blocking, problem, manifest = table.source.ends_with_line_end == "hold", "", opened.manifest
    if opened.may_be_cut_off():
        problem = f"{_url(manifest)} ends without a line end: its last record may be cut off"
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
    status: runs.Status = "missing" if outcome.is_missing else "held" if outcome.held else "success"
    problems = "; ".join(result.message for result in outcome.results if result.blocks_publish)
    if outcome.held and outcome.manifest is not None:
        holds.record(connection, row_id, manifest_hash=outcome.manifest.hash, code_version=table.object_version)
    runs.close_build(connection, row_id, status, layer="raw", counts=runs.Counts(), error=problems or None)


def _url(manifest: Manifest) -> str:
    return f"s3://{manifest.bucket}/{manifest.key}"


def _checks_last_record(table: Table) -> bool:
    """Return whether the check `ends_with_line_end` applies to the table. The end of a packed object is not known."""
    is_known = table.format.ends_with_line_end and not table.source.compression
    return is_known and table.source.ends_with_line_end != "ignore"


def _result(name: str, problem: str, *, blocking: bool = True) -> CheckResult:
    return CheckResult(
        name, passed=not problem, blocking=blocking, metric=int(bool(problem)), threshold=0, message=problem
    )
