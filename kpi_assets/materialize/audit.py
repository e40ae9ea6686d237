"""Audits a candidate: gathers the facts that its checks need, runs the checks, and records their results.

Not here: the SQL of a check (warehouse/audit.py), and the consequences of the results (publish.py, hold.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from kpi_assets.ledger import quarantine, results
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.check_facts import FactLookup
from kpi_assets.materialize.compare import Comparison
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.model.checks.base import AuditFacts, Need
from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.model.names import Relation
from kpi_assets.model.query import Query
from kpi_assets.model.results import SAMPLES
from kpi_assets.model.ruling import Ruling
from kpi_assets.warehouse.audit import Audit, audit
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier

if TYPE_CHECKING:
    from kpi_assets.materialize.places import Place

NOTHING: Mapping[Relation, str] = {}
MOST_OF_HELD = 10_000  # rows that a held build keeps in ops.quarantine; its candidate has all, and all are counted


@dataclass(frozen=True)
class AuditedCandidate:
    """A candidate whose check results are recorded, ready to be published or held."""

    candidate: Candidate
    inputs: Inputs
    filled: FillResult
    audit: Audit
    size_bytes: int
    place: "Place"
    comparison: Comparison | None = None
    waiver: Ruling | None = None  # by which it may be published although checks fail

    @property
    def counts(self) -> Counts:
        """The counts of rows for the run log."""
        filled = self.filled.counts
        return Counts(filled.extracted, self.audit.rows, filled.quarantined, filled.erased)

    @property
    def is_held(self) -> bool:
        """Whether its checks keep it from being published, and nobody waived that."""
        return self.audit.blocks_publish and self.waiver is None


def audit_candidate(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    filled: FillResult,
    comparison: Comparison | None = None,
    *,
    elsewhere: Callable[[Query], tuple[Any] | None] | None = None,
) -> Audit:
    """Run the table's checks on its candidate and return their results.

    `elsewhere` answers queries that do not read Postgres, as warehouse/audit.py says.
    """
    table, load_date = candidate.table, candidate.load_date
    changes = comparison.changes if comparison else None
    lookup = FactLookup(
        connection, context.pipeline, table, load_date, table.checks, filled.manifest_hash, inputs.of_load_date, changes
    )
    substitutes = inputs.substitutes(context.pipeline, connection, table.reads)
    compared = lookup.compared()
    facts = facts_of(context, candidate, inputs, filled, lookup.answers(), substitutes)
    found = audit(
        connection,
        candidate.name,
        table.hashed_types,
        table.checks,
        facts,
        identifier(candidate.aside),
        bitwise=table.storage.keeps_versions,
        elsewhere=elsewhere,
    )
    return replace(found, compared=compared)


def facts_of(
    context: BuildContext,
    candidate: Candidate,
    inputs: Inputs,
    filled: FillResult,
    looked_up: Mapping[Need, Any],
    substitutes: Mapping[Relation, str] = NOTHING,
) -> AuditFacts:
    """Return what the checks of a candidate need besides its rows."""
    table = candidate.table
    return AuditFacts(
        candidate.load_date,
        source_rows={relation: publish.rows for relation, publish in inputs.of_load_date.items()},
        records=filled.counts.extracted,
        quarantined=filled.counts.quarantined or 0,
        discarded=filled.discarded,
        erased=filled.counts.erased,
        decided=filled.decided,
        set_aside=filled.set_aside,
        quarantine_samples=[
            {
                **({"object": bad.object_key} if table.stream or table.source.key.is_pattern else {}),
                table.format.place: bad.line,
                "column": bad.column,
                "value": table.pii.shown(bad.value),
                "reason": table.pii.shown_reason(bad.reason),
            }
            for bad in [bad for bad in filled.quarantined if bad.state == "waiting"][:SAMPLES]
        ],
        unreadable=filled.unreadable,
        lost=filled.lost,
        field_counts=filled.field_counts,
        is_by_weekday=context.pipeline.calendars[table.relation].is_by_weekday,
        is_without_object=filled.manifest_hash == NO_OBJECT,
        grain_is_proven=filled.grain_is_proven,
        looked_up=looked_up,
        window=inputs.window,
        batch=candidate.batch if table.grows else None,
        repeats=filled.repeats,
        records_before=filled.added.before.total_records if filled.added and filled.added.before else 0,
        quarantined_before=filled.added.before.total_quarantined if filled.added and filled.added.before else 0,
        substitutes=substitutes,
        pii=table.pii,
    )


def record(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    found: Audit,
    filled: FillResult,
    *,
    is_held: bool,
) -> None:
    """Record the results, and the records and rows that were set aside, of a build in one transaction."""
    table, load_date = str(candidate.table.relation), candidate.load_date
    with connection.transaction():
        results.record(
            connection,
            found.results,
            run_id=context.run_id,
            build_id=candidate.build_id,
            table=table,
            load_date=load_date,
            subject="candidate",
        )
        if filled.quarantined:
            quarantine.record(
                connection,
                filled.quarantined,
                build_id=candidate.build_id,
                run_id=context.run_id,
                table=table,
                load_date=load_date,
            )
        if filled.set_aside:
            quarantine.record_rows(
                connection,
                identifier(candidate.aside),
                columns=candidate.table.columns,
                grain=candidate.table.header.grain,
                most=MOST_OF_HELD if is_held else None,
                build_id=candidate.build_id,
                run_id=context.run_id,
                table=table,
                load_date=load_date,
            )
