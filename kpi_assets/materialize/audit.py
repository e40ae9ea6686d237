"""The audit of a candidate: the facts that its checks compare it with, and the record of their results.

Not here: the SQL of a check (warehouse/audit.py), and what follows from the results (publish.py, hold.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import manifests, quarantine, results
from kpi_assets.ledger.publishes import Publish
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs, rows_before
from kpi_assets.model.checks import ForeignKey, NotSeenBefore
from kpi_assets.model.names import Relation
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.audit import SAMPLES, Audit, Facts, audit, gapless
from kpi_assets.warehouse.candidates import Candidate, identifier


@dataclass(frozen=True)
class AuditedCandidate:
    """A candidate whose results are recorded: what is published or held."""

    candidate: Candidate
    inputs: Inputs
    filled: FillResult
    audit: Audit
    size_bytes: int

    @property
    def counts(self) -> Counts:
        """Its rows for the run log."""
        return Counts(self.filled.counts.extracted, self.audit.rows, self.filled.counts.quarantined)


def audit_candidate(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    filled: FillResult,
) -> Audit:
    """The results of the table's checks on its candidate."""
    table = candidate.table
    same_bytes: list[dict[str, Any]] = []
    if any(isinstance(check, NotSeenBefore) for check in table.checks):
        same_bytes = manifests.same_bytes(connection, table.relation.table, candidate.load_date, filled.manifest_hash)
    facts = Facts(
        candidate.load_date,
        **rows_before(connection, table, candidate.load_date),
        source_rows={relation: publish.rows for relation, publish in inputs.of_day.items()},
        records=filled.counts.extracted,
        quarantined=filled.counts.quarantined or 0,
        quarantine_samples=[
            {"line": bad.line, "column": bad.column, "value": bad.value, "reason": bad.reason}
            for bad in filled.quarantined[:SAMPLES]
        ],
        unreadable=filled.unreadable,
        same_bytes=same_bytes,
        grain_is_proven=filled.grain_is_proven,
        gapless=_gapless_keys(context, connection, candidate, inputs.of_day),
        window=inputs.window,
        instead=candidates.as_declared(connection, [context.pipeline.tables[read] for read in table.reads]),
    )
    return audit(connection, candidate.name, table.types, table.checks, facts)


def _gapless_keys(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Mapping[Relation, Publish]
) -> dict[str, tuple[int, int]]:
    """The lowest and highest value of each key without gaps that a foreign key refers to, by the check's name."""
    ends = {}
    for check in candidate.table.checks:
        if isinstance(check, ForeignKey):
            header, rows = context.pipeline.tables[check.refers].header, inputs[check.refers].rows
            if header.grain == [check.to] and header.columns[check.to].type in KEY_TYPES:
                found = gapless(connection, identifier(check.refers), check.to, candidate.load_date, rows)
                ends.update({check.name: found} if found else {})
    return ends


def record(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, found: Audit, filled: FillResult
) -> None:
    """Write the results and the quarantined records of a build, in one transaction."""
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
                object_key=candidate.table.object_key(load_date),
            )
