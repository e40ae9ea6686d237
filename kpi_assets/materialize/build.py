"""The build of a table for one load_date: lock, look upstream, fill a candidate, audit it, publish it or hold it.

Whatever happens, the run log is closed, the publish is one transaction, and readers see the old rows or the new ones.
Not here: how each step is done in SQL (warehouse/).
"""

from contextlib import suppress
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import runs
from kpi_assets.ledger.locks import build_lock
from kpi_assets.ledger.publishes import shown_as
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.audit import audit_candidate, record
from kpi_assets.materialize.context import BuildContext, BuildOutcome, Stopwatch, reason_of
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.hold import hold
from kpi_assets.materialize.inputs import Inputs, look_upstream
from kpi_assets.materialize.load import load_object
from kpi_assets.materialize.publish import publish
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.transform import transform
from kpi_assets.model import excerpt
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import ChartRows
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.audit import SAMPLES, Audit
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import WarehouseError, is_lost
from kpi_assets.warehouse.refusal import cure_of


def build(context: BuildContext, table: Table, load_date: date) -> BuildOutcome:
    """Build one table for one load_date; waits where another session is building the same.

    Raises UpstreamError, LakeError, WarehouseError and DefinitionError; the run log says so too. For a load_date that
    may not be built it raises UsageError, and nothing is written.
    """
    context.pipeline.check_load_date(load_date)
    name = f"{context.run_id[:8]} {table.relation} {load_date}"
    watch = Stopwatch()
    with context.session(table, name) as connection:
        lock = build_lock(table.relation, load_date)
        wait_for_lock(connection, lock, "waiting for another build of it", context.on_progress)
        build_id = runs.open_row(
            connection,
            run_id=context.run_id,
            pipeline=context.pipeline.name,
            job=str(table.relation),
            load_date=load_date,
        )
        candidate = Candidate(table, load_date, build_id)
        try:
            return _build(context, connection, candidate, watch)
        except BaseException as error:
            context.on_progress("failed", 0, 0)
            told = _explained(table, error) if isinstance(error, psycopg.Error) else error
            _close_failed(context, connection, candidate, told)
            if told is error:
                raise
            raise told from error


def _explained(table: Table, error: psycopg.Error) -> WarehouseError:
    """What Postgres said while it executed a file's SQL, with the file's name."""
    reason = excerpt.cut(" ".join(str(error).split()), excerpt.MESSAGE)
    cure = cure_of(error)
    end = f": {cure}." if cure else "."
    sentence = f"{table.path}: building {table.relation} failed ({type(error).__name__}: {reason}){end}"
    return WarehouseError(sentence, passing=is_lost(error))


def _close_failed(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, error: BaseException
) -> None:
    """Write the failure down, on another connection where this one is lost; then the original error goes on."""

    def close(session: Connection[Any]) -> None:
        layer = context.pipeline.layer(candidate.table.relation)
        # A build that was published or held came to its end before the error: what it left is not ours to drop.
        if runs.close_build(
            session, candidate.build_id, "failed", layer=layer, counts=Counts(), error=reason_of(error)
        ):
            candidates.drop(session, candidate.relation)

    with suppress(psycopg.Error):
        connection.rollback()
        close(connection)
        return
    with suppress(psycopg.Error, WarehouseError), context.session(candidate.table, "close") as session:
        close(session)


def _build(context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch) -> BuildOutcome:
    table, load_date = candidate.table, candidate.load_date
    inputs = look_upstream(context, connection, table, load_date)
    warnings = inputs.warnings(connection)
    for leftover in candidates.leftovers(connection, table, load_date):
        candidates.drop(connection, leftover)
    watch.lap("wait")
    if table.header.storage == "view":
        filled, found = _look_through(candidate, inputs)
    else:
        if table.header.source:
            filled = load_object(context, connection, candidate, watch)
        else:
            filled = transform(context, connection, candidate, inputs, watch)
        context.on_progress("checking", 0, len(table.checks))
        found = audit_candidate(context, connection, candidate, inputs, filled)
    if found.holds:
        inputs.check_unchanged(connection)  # else it may be two versions that do not add up
    record(context, connection, candidate, found, filled)
    preview = candidates.first_rows(connection, candidate, SAMPLES)
    kpi = table.header.kpi
    chart = candidates.chart_rows(connection, candidate, kpi.chart) if kpi else ChartRows([], 0)
    size = candidates.size_of(connection, candidate)
    watch.lap("check")
    counts = Counts(filled.counts.extracted, found.rows, filled.counts.quarantined)
    publish_id = None
    if found.holds:
        hold(context, connection, candidate, inputs, filled, found, counts)
    else:
        context.on_progress("publishing", 0, 0)
        publish_id = publish(context, connection, candidate, inputs, filled, found, counts, size)
    watch.lap("publish")
    context.on_progress("published" if publish_id else "held", found.rows, found.rows)
    return BuildOutcome(
        relation=table.relation,
        load_date=load_date,
        build_id=candidate.build_id,
        publish_id=publish_id,
        candidate=candidate.relation,
        rows=found.rows,
        checksum=found.checksum,
        size_bytes=size,
        manifest_hash=filled.manifest_hash,
        inputs={relation: each.publish_id for relation, each in inputs.of_day.items()},
        window=inputs.window,
        results=found.results,
        warnings=warnings,
        preview=preview,
        chart=chart,
        seconds=watch.seconds,
    )


def _look_through(candidate: Candidate, inputs: Inputs) -> tuple[FillResult, Audit]:
    """What a view is: the rows of the table that it shows, which were counted and audited there."""
    shown, columns = candidate.table.shows
    read = inputs.of_day[shown]
    checksum = read.checksum + shown_as(columns)
    return FillResult(Counts(), read.manifest_hash, [], grain_is_proven=True), Audit(read.rows, checksum, [])
