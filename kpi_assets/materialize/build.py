"""The build of one table for one load_date: find its inputs, fill a candidate, audit it, and publish it or hold it.

Whatever happens, the build's row in the run log is closed, and readers see either the old rows or the new ones.
Belongs here: the order of the steps, and what happens when one fails. Not here: the steps (load.py, transform.py,
audit.py, publish.py, hold.py), and how they are done in SQL (warehouse/).
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
from kpi_assets.materialize.audit import AuditedCandidate, audit_candidate, record
from kpi_assets.materialize.context import BuildContext, BuildOutcome, Stopwatch, run_log_message
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.hold import hold
from kpi_assets.materialize.inputs import Inputs, resolve_inputs
from kpi_assets.materialize.load import load_object
from kpi_assets.materialize.publish import publish
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.transform import transform
from kpi_assets.model import excerpt
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import SAMPLES, ChartRows
from kpi_assets.warehouse import candidates, preview
from kpi_assets.warehouse.audit import Audit
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import WarehouseError, is_lost
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.refusal import cure_of


def build(context: BuildContext, table: Table, load_date: date) -> BuildOutcome:
    """Build one table for one load_date; waits while another session builds the same.

    Raises UpstreamError, LakeError, WarehouseError and DefinitionError, and writes them in the run log. Raises
    UsageError for a load_date that may not be built; then nothing is written.
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
            return Build(context, connection, candidate, watch).run()
        except BaseException as error:
            context.on_progress("failed", 0, 0)
            reported = _explain(table, error) if isinstance(error, psycopg.Error) else error
            _close_failed(context, connection, candidate, reported)
            if reported is error:
                raise
            raise reported from error


class Build:
    """One build of one table for one load_date, in its session; `run` has its steps in their order."""

    def __init__(
        self, context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
    ) -> None:
        self._context, self._connection, self._candidate, self._watch = context, connection, candidate, watch
        self._table, self._load_date = candidate.table, candidate.load_date

    def run(self) -> BuildOutcome:
        """Take every step; the candidate is published or held when this returns."""
        inputs = resolve_inputs(self._context, self._connection, self._table, self._load_date)
        warnings = inputs.warnings(self._connection)
        self._drop_leftovers()
        self._watch.lap("wait")
        audited = self._fill_and_audit(inputs)
        first_rows, chart = self._sample()
        self._watch.lap("check")
        publish_id = self._publish_or_hold(audited)
        return BuildOutcome(
            relation=self._table.relation,
            load_date=self._load_date,
            build_id=self._candidate.build_id,
            publish_id=publish_id,
            candidate=self._candidate.relation,
            rows=audited.audit.rows,
            checksum=audited.audit.checksum,
            size_bytes=audited.size_bytes,
            manifest_hash=audited.filled.manifest_hash,
            inputs={relation: each.publish_id for relation, each in inputs.of_day.items()},
            window=inputs.window,
            results=audited.audit.results,
            warnings=warnings,
            preview=first_rows,
            chart=chart,
            seconds=self._watch.seconds,
        )

    def _drop_leftovers(self) -> None:
        """Drop the candidates that earlier builds of the load_date left: held ones, and those of killed processes."""
        for leftover in candidates.leftovers(self._connection, self._table, self._load_date):
            candidates.drop(self._connection, leftover)

    def _fill_and_audit(self, inputs: Inputs) -> AuditedCandidate:
        """Make the candidate from its inputs, make its checks, and record their results."""
        if not self._table.storage.stores_rows:
            filled, audit = _read_through(self._candidate, inputs)
        else:
            filled = self._fill(inputs)
            self._context.on_progress("checking", 0, len(self._table.checks))
            audit = audit_candidate(self._context, self._connection, self._candidate, inputs, filled)
        if audit.blocks_publish:
            # An input that was published again meanwhile can be the cause: rows of two versions that do not add up.
            inputs.check_unchanged(self._connection)
        record(self._context, self._connection, self._candidate, audit, filled)
        size_bytes = strategy_of(self._table).size(self._connection, self._candidate)
        return AuditedCandidate(self._candidate, inputs, filled, audit, size_bytes)

    def _fill(self, inputs: Inputs) -> FillResult:
        if self._table.has_object:
            return load_object(self._context, self._connection, self._candidate, self._watch)
        return transform(self._context, self._connection, self._candidate, inputs, self._watch)

    def _sample(self) -> tuple[list[dict[str, str | None]], ChartRows]:
        """The first rows, and the bars of a KPI's chart, for people to look at."""
        first_rows = preview.first_rows(self._connection, self._candidate, SAMPLES)
        kpi = self._table.header.kpi
        chart = preview.chart_rows(self._connection, self._candidate, kpi.chart) if kpi else ChartRows([], 0)
        return first_rows, chart

    def _publish_or_hold(self, audited: AuditedCandidate) -> int | None:
        """The id of the publish; None if the candidate is held."""
        publish_id = None
        if audited.audit.blocks_publish:
            hold(self._context, self._connection, audited)
        else:
            self._context.on_progress("publishing", 0, 0)
            publish_id = publish(self._context, self._connection, audited)
        self._watch.lap("publish")
        self._context.on_progress("held" if publish_id is None else "published", audited.audit.rows, audited.audit.rows)
        return publish_id


def _read_through(candidate: Candidate, inputs: Inputs) -> tuple[FillResult, Audit]:
    """The result and the audit of a view: those of the table that it shows, which was counted and audited there."""
    shown, columns = candidate.table.origin
    read = inputs.of_day[shown]
    checksum = read.checksum + shown_as(columns)
    return FillResult(Counts(), read.manifest_hash, [], grain_is_proven=True), Audit(read.rows, checksum, [])


def _explain(table: Table, error: psycopg.Error) -> WarehouseError:
    """An error of Postgres with the name of the file whose SQL was executed, and with what to do about it."""
    reason = excerpt.cut(" ".join(str(error).split()), excerpt.MESSAGE)
    cure = cure_of(error)
    end = f": {cure}." if cure else "."
    sentence = f"{table.path}: building {table.relation} failed ({type(error).__name__}: {reason}){end}"
    return WarehouseError(sentence, transient=is_lost(error))


def _close_failed(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, error: BaseException
) -> None:
    """Write the failure in the run log and drop the candidate, in another session where this one is lost."""

    def close(session: Connection[Any]) -> None:
        layer = context.pipeline.layer(candidate.table.relation)
        # A row that is closed already belongs to a published or held build, whose tables must stay.
        if runs.close_build(
            session, candidate.build_id, "failed", layer=layer, counts=Counts(), error=run_log_message(error)
        ):
            candidates.drop(session, candidate.relation)

    with suppress(psycopg.Error):
        connection.rollback()
        close(connection)
        return
    with suppress(psycopg.Error, WarehouseError), context.session(candidate.table, "close") as session:
        close(session)
