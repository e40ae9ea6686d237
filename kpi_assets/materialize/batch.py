"""The steps of a batch that a build of a whole load_date of a growing table has too: its place in the ledger.

A whole load_date is one batch, the first; what grows adds others to it.
Belongs here: what a batch adds to the rows and to the ledger. Not here: which batch is next (grow.py), and publishing
(publish.py).
"""

from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.ledger import batches, publishes, stream_objects
from kpi_assets.ledger.batches import Counts
from kpi_assets.ledger.locks import repeats_lock
from kpi_assets.materialize.audit import AuditedCandidate
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.fill import Added, FillResult
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.kinds import strategy_of


class PublishedRows(NamedTuple):
    """What is published of a load_date: rows, checksum, and bytes on disk."""

    rows: int
    checksum: str
    size_bytes: int


def wait_for_repeats(context: BuildContext, connection: Connection[Any], table: Table) -> None:
    """Wait until no other load_date of a table that leaves repeats out is being built; then others wait.

    Two load_dates that are built at once would each publish a key that comes in both.
    """
    if table.header.repeats:
        phase = "waiting for a build of another load_date of it"
        wait_for_lock(connection, repeats_lock(table.relation), phase, context.on_progress)


def as_one(inputs: Inputs, filled: FillResult, connection: Connection[Any], candidate: Candidate) -> FillResult:
    """Return the result of a SELECT that read all batches of its input as one, with what the ledger has to know."""
    [read] = inputs.growing.values()
    rows = candidates.count(connection, candidate)
    added = Added(
        up_to=read.up_to,
        records=rows + filled.repeats,
        input_base_build_id=read.base_build_id,
        through=read.through,
    )
    return replace(filled, added=added)


def add(connection: Connection[Any], audited: AuditedCandidate) -> PublishedRows:
    """Add the rows of a candidate to the published ones, in the transaction of its publish. Raises UpstreamError."""
    candidate, added = audited.candidate, audited.filled.added
    assert added is not None
    assert added.before is not None
    table, load_date = candidate.table, candidate.load_date
    publish = publishes.current(connection, [table.relation], load_date).get(table.relation)
    if publish is None or publish.build_id != added.before.build_id:
        raise _replaced(table, load_date)
    size_bytes = strategy_of(table).add(connection, candidate)
    checksum = str(int(publish.checksum) + int(audited.audit.checksum))
    return PublishedRows(publish.rows + audited.audit.rows, checksum, size_bytes)


def _replaced(table: Table, load_date: date) -> UpstreamError:
    return UpstreamError(
        f"{table.relation} of {load_date} got no further batch, because its rows were replaced or removed meanwhile: "
        "the next batch is built from what is there then."
    )


def record_batch(connection: Connection[Any], audited: AuditedCandidate, publish_id: int) -> int:
    """Record the batch of a candidate, and the objects that it was made from, in the transaction of its publish.

    Returns the build of the first batch.
    """
    candidate, added = audited.candidate, audited.filled.added
    assert added is not None
    table, load_date = candidate.table, candidate.load_date
    counts = Counts(added.records, audited.audit.rows, audited.filled.repeats, audited.counts.quarantined or 0)
    batches.record(
        connection,
        table.relation,
        load_date,
        batch=candidate.batch,
        up_to=added.up_to,
        build_id=candidate.build_id,
        publish_id=publish_id,
        input_base_build_id=added.input_base_build_id,
        objects=len(added.objects),
        counts=counts,
        manifest_hash=audited.filled.manifest_hash,
        through=added.through,
        before=added.before,
    )
    base = added.before.base_build_id if added.before else candidate.build_id
    if table.stream:
        stream_objects.record(connection, table.relation, load_date, added.objects, batch=candidate.batch, base=base)
    return base
