"""Holds a candidate: it is kept for inspection, and readers keep the rows that they had."""

from dataclasses import replace
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import holds, manifests, runs
from kpi_assets.materialize.audit import AuditedCandidate
from kpi_assets.materialize.context import BuildContext
from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.model.ruling import NOT_RULED_OUT


def hold(context: BuildContext, connection: Connection[Any], audited: AuditedCandidate) -> None:
    """Record in the ledger and the run log which checks hold the build, and which inputs it read."""
    candidate, table = audited.candidate, audited.candidate.table
    results = [result for result in audited.audit.results if result.blocks_publish]
    failed = {result.name for result in results}
    said = ", ".join(
        f"{result.name} ({result.message})" if result.name == NOT_RULED_OUT else result.name for result in results
    )
    place = ""
    if table.has_object and audited.filled.manifest_hash != NO_OBJECT:
        name, read = table.relation.table, audited.filled.manifest_hash
        manifest = manifests.of_publish(connection, name, candidate.load_date, read)
        place = f"read from {manifest.url}; " if manifest else ""
    holds.record(
        connection,
        candidate.build_id,
        manifest_hash=audited.filled.manifest_hash,
        code_version=table.code_version,
        checks_version=table.checks_version,
        inputs=audited.inputs.publish_ids,
        compared={name: read for check in failed for name, read in audited.audit.compared.get(check, {}).items()},
        rows=audited.audit.rows,
        checksum=audited.audit.checksum,
        place=audited.place.snapshot(candidate),
        checksum_kind=audited.place.checksum_kind,
    )
    runs.close_build(
        connection,
        candidate.build_id,
        "held",
        layer=context.pipeline.layer(table.relation),
        counts=replace(audited.counts, loaded=0),
        error=f"held by {said}; {place}the candidate is kept as {audited.place.named(candidate)}",
        candidate=audited.place.held_as(candidate),
    )
