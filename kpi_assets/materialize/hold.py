"""Holding a candidate: readers keep what they have, and the candidate stays for inspection."""

from typing import Any

from psycopg import Connection

from kpi_assets.ledger import holds, runs
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.warehouse.audit import Audit
from kpi_assets.warehouse.candidates import Candidate


def hold(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Inputs,
    filled: FillResult,
    found: Audit,
    counts: Counts,
) -> None:
    """Write in the ledger and the run log which checks hold a build, and what it was made from."""
    table, load_date = candidate.table, candidate.load_date
    failed = ", ".join(result.name for result in found.results if result.holds)
    place = f"read from s3://{context.store.bucket}/{table.object_key(load_date)}; " if table.header.source else ""
    reason = f"held by {failed}; {place}the candidate is kept as {candidate.relation}"
    holds.record(
        connection,
        candidate.build_id,
        manifest_hash=filled.manifest_hash,
        code_version=table.code_version,
        checks_version=table.checks_version,
        inputs=inputs.publish_ids,
    )
    runs.close_build(
        connection,
        candidate.build_id,
        "held",
        layer=context.pipeline.layer(table.relation),
        counts=Counts(counts.extracted, 0, counts.quarantined),
        error=reason,
        candidate=str(candidate.relation),
    )
