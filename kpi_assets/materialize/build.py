"""Builds one table for one load_date: finds its inputs, fills a candidate, audits it, and publishes or holds it.

Whatever happens, the build's row in the run log is closed, and readers see either the old rows or the new ones.
Belongs here: the order of the steps, and the handling of their failures. Not here: the steps themselves (load.py,
transform.py, audit.py, publish.py, hold.py), and their SQL (warehouse/).
"""

from contextlib import suppress
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import quarantine, runs
from kpi_assets.ledger.locks import build_lock
from kpi_assets.ledger.publishes import shown_as
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize import carry_on, rulings
from kpi_assets.materialize.audit import AuditedCandidate, record
from kpi_assets.materialize.batch import as_one, wait_for_repeats
from kpi_assets.materialize.context import SHOWN, BuildContext, BuildOutcome, Stopwatch, run_log_message
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.hold import hold
from kpi_assets.materialize.inputs import Inputs, resolve_inputs
from kpi_assets.materialize.places import IN_POSTGRES, Place, place_of
from kpi_assets.materialize.publish import PublishOutcome, publish
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.rulings import WaiverGoneError
from kpi_assets.materialize.time_limit import TimeLimitError, limited
from kpi_assets.model.pii_tables import masked_bad_row
from kpi_assets.model.results import SAMPLES
from kpi_assets.model.table import Table
from kpi_assets.observed import Work, observed
from kpi_assets.warehouse import preview
from kpi_assets.warehouse.audit import Audit
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import WarehouseError, is_lost
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.refusal import find_remedy


def build(context: BuildContext, table: Table, load_date: date) -> BuildOutcome:
    """Build one table for one load_date; wait while another session builds the same.

    Raises UpstreamError, LakeError, WarehouseError and DefinitionError, and writes them in the run log. Raises
    UsageError, and writes nothing, for a load_date that may not be built.
    """
    context.pipeline.check_due(table, load_date)
    work = Work("build", context.pipeline.name, str(table.relation), load_date, facts={"run_id": context.run_id})
    with observed(work):
        outcome = _build(context, table, load_date)
        work.outcome = "held" if outcome.held else "published"
        counts = {name: getattr(outcome, name) for name in ("build_id", "rows", "quarantined")}
        work.facts = {"run_id": context.run_id, **counts}
        work.phases, work.verdicts = outcome.seconds, {each.name: each.verdict for each in outcome.results}
    return outcome


def _build(context: BuildContext, table: Table, load_date: date) -> BuildOutcome:
    name = f"{context.run_id[:8]} {table.relation} {load_date}"
    watch = Stopwatch()
    with context.session(table, name) as connection:
        lock = build_lock(table.relation, load_date)
        wait_for_lock(connection, lock, "waiting for another build of it", context.on_progress)
        wait_for_repeats(context, connection, table)
        build_id = runs.open_row(
            connection,
            run_id=context.run_id,
            pipeline=context.pipeline.name,
            job=str(table.relation),
            load_date=load_date,
        )
        candidate = Candidate(table, load_date, build_id)
        with place_of(context, table) as place:
            try:
                return Build(context, connection, candidate, place, watch).run()
            except BaseException as error:
                context.on_progress("failed", 0, 0)
                reported = interruption(error) or error
                if isinstance(reported, psycopg.Error):
                    reported = explain(table, reported)
                close_failed(context, connection, candidate, reported, place)
                if reported is error:
                    raise
                raise reported from None if table.pii else error  # a trace would quote the values of the cause


class Build:
    """One build of one table for one load_date, in its own session; `run` executes its steps in order."""

    def __init__(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        place: Place,
        watch: Stopwatch,
    ) -> None:
        self._context, self._connection, self._candidate, self._watch = context, connection, candidate, watch
        self._place = place
        self._table, self._load_date = candidate.table, candidate.load_date

    def run(self) -> BuildOutcome:
        """Execute every step; the candidate is published or held when this returns."""
        inputs = resolve_inputs(self._context, self._connection, self._table, self._load_date)
        warnings = [
            *inputs.warnings(self._connection),
            *carry_on.find_warnings(self._context.pipeline, self._table, self._load_date, inputs.previous),
        ]
        self._place.drop_leftovers(self._connection, self._table, self._load_date)
        self._watch.lap("wait")
        audited = self._fill_and_audit(inputs)
        first_rows, chart = self._place.sample(self._connection, self._candidate)
        bad_rows = self._first_bad_rows()
        self._watch.lap("check")
        published = self._publish_or_hold(audited)
        versions = self._sample_versions() if published and published.versions else []
        return BuildOutcome(
            relation=self._table.relation,
            load_date=self._load_date,
            build_id=self._candidate.build_id,
            publish_id=published.publish_id if published else None,
            versions=published.versions if published else None,
            candidate=self._candidate.relation,
            rows=audited.audit.rows,
            checksum=audited.audit.checksum,
            size_bytes=audited.size_bytes,
            manifest_hash=audited.filled.manifest_hash,
            inputs={relation: each.publish_id for relation, each in inputs.of_load_date.items()},
            window=inputs.window,
            results=audited.audit.results,
            set_aside=audited.filled.set_aside,
            quarantined=audited.counts.quarantined or 0,
            bad_rows=bad_rows,
            warnings=warnings,
            waiver=audited.waiver if published else None,
            place=str(self._place.snapshot(self._candidate) or ""),
            statements=self._place.statements,
            measure_warnings=published.warnings if published else [],
            measures=published.values if published else {},
            preview=versions or first_rows,
            chart=chart,
            seconds=self._watch.seconds,
        )

    def _fill_and_audit(self, inputs: Inputs) -> AuditedCandidate:
        """Fill the candidate from its inputs, run its checks, and record their results."""
        comparison = None
        if not self._table.storage.stores_rows:
            filled, audit = _read_through(self._candidate, inputs)
        else:
            place, candidate = self._place, self._candidate
            with limited(self._context, self._connection, self._table, self._load_date, place.interrupt) as context:
                filled = place.fill(context, self._connection, candidate, inputs, self._watch)
                filled = as_one(inputs, filled, self._connection, candidate) if inputs.as_one else filled
                context.on_progress("checking", 0, len(self._table.checks))
                if filled.grain_is_proven:
                    comparison = place.compare(self._connection, candidate)
                audit = place.audit(context, self._connection, candidate, inputs, filled, comparison)
        key = rulings.key_of(self._table, filled, audit)
        audit = rulings.ruled_out(self._connection, audit, key, inputs)
        waiver = rulings.find_waiver(self._table, audit, key, inputs.rulings)
        if audit.blocks_publish:
            # If an input was published again meanwhile, the checks may have failed on a mix of its old and new rows.
            inputs.check_unchanged(self._connection)
            inputs.check_previous(self._connection, latest=True)  # a check may compare with the load_date before
        is_held = audit.blocks_publish and waiver is None
        record(self._context, self._connection, self._candidate, audit, filled, is_held=is_held)
        size_bytes = self._place.size(self._connection, self._candidate)
        return AuditedCandidate(self._candidate, inputs, filled, audit, size_bytes, self._place, comparison, waiver)

    def _sample_versions(self) -> list[dict[str, str | None]]:
        """Return the first versions of a history, for metadata; none if Postgres fails now.

        The load_date is published, so that nothing may fail its build any more.
        """
        with suppress(psycopg.Error):
            return preview.first_versions(self._connection, self._table, self._load_date, SAMPLES)
        return []

    def _first_bad_rows(self) -> list[dict[str, Any]]:
        """Return the first records or rows that were set aside, for the materialization's metadata."""
        table, build_id = str(self._table.relation), self._candidate.build_id
        found = quarantine.first_of(
            self._connection, table=table, load_date=self._load_date, build_id=build_id, most=SHOWN
        )
        return [masked_bad_row(self._table, row) for row in found]

    def _publish_or_hold(self, audited: AuditedCandidate) -> PublishOutcome | None:
        """Publish the candidate and return the outcome, or hold it and return None."""
        published = None
        if not audited.is_held:
            self._context.on_progress("publishing", 0, 0)
            with suppress(WaiverGoneError):
                published = publish(self._context, self._connection, audited)
        if published is None:
            hold(self._context, self._connection, audited)
        self._watch.lap("publish")
        self._context.on_progress("held" if published is None else "published", audited.audit.rows, audited.audit.rows)
        return published


def _read_through(candidate: Candidate, inputs: Inputs) -> tuple[FillResult, Audit]:
    """Return the result and the audit of a view: those of the table that it shows, which has been audited itself."""
    shown, columns = candidate.table.origin
    read = inputs.of_load_date[shown]
    checksum = read.checksum + shown_as(columns)
    return FillResult(Counts(), read.manifest_hash, [], grain_is_proven=True), Audit(read.rows, checksum, [])


def interruption(error: BaseException) -> BaseException | None:
    """Return what interrupted the build, if that is why it failed: the session then may fail in another way, too."""
    found: BaseException | None = error
    while isinstance(found, Exception):
        found = found.__context__
    return found


def explain(table: Table, error: psycopg.Error) -> WarehouseError:
    """Convert an error of Postgres into one that names the file whose SQL was executed and, if known, a remedy."""
    reason = one_line(error, table.pii)
    remedy = find_remedy(error)
    end = f": {remedy}." if remedy else "."
    sentence = f"{table.path}: building {table.relation} failed ({type(error).__name__}: {reason}){end}"
    return WarehouseError(sentence, transient=is_lost(error))


def close_failed(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    error: BaseException,
    place: Place = IN_POSTGRES,
) -> None:
    """Write the failure to the run log and drop the candidate, in a new session if this one is lost."""

    def close(session: Connection[Any]) -> None:
        layer = context.pipeline.layer(candidate.table.relation)
        # If the row is already closed, the build was published or held, and its tables must stay.
        if runs.close_build(
            session, candidate.build_id, "failed", layer=layer, counts=Counts(), error=run_log_message(error)
        ):
            place.drop(session, candidate)
            if isinstance(error, TimeLimitError):  # its alarm may have cancelled the removal of slices
                IN_POSTGRES.drop_leftovers(session, candidate.table, candidate.load_date)

    with suppress(psycopg.Error):
        connection.rollback()
        close(connection)
        return
    with suppress(psycopg.Error, WarehouseError), context.session(candidate.table, "close") as session:
        close(session)
