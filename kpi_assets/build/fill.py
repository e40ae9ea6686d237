"""Filling a candidate: from its S3 object, or from its SELECT. Rows are accounted for while they pass.

Not here: whether what came out may be published (table.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.build.context import BuildContext, Stopwatch, UpstreamError
from kpi_assets.build.object import asset_name
from kpi_assets.lake.records import HEADER_LIMIT, RecordCounter, UnreadableError, header_problem, read_records
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.names import Relation
from kpi_assets.model.query import digest
from kpi_assets.model.records import BadRecord, Record
from kpi_assets.ops import manifests
from kpi_assets.ops.publishes import Publish
from kpi_assets.ops.runs import Counts
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.triage import triage


@dataclass(frozen=True)
class Filled:
    """What filling the candidate told, beyond its rows."""

    counts: Counts
    manifest_hash: str
    quarantined: list[BadRecord]
    grain_is_proven: bool
    unreadable: str = ""


def fill(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    inputs: Mapping[Relation, Publish],
    watch: Stopwatch,
) -> Filled:
    """Make the candidate with all its rows and, where no two share a key, the index of its grain."""
    if candidate.table.header.source:
        return _fill_from_object(context, connection, candidate, watch)
    context.on_progress("selecting", 0, 0)
    with connection.transaction():
        candidates.create_from_select(connection, candidate)
        watch.lap("select")
        proven = _index(context, connection, candidate, watch)
    # The objects behind it are those behind its inputs.
    manifest_hash = digest(*sorted(publish.manifest_hash for publish in inputs.values()))
    return Filled(Counts(), manifest_hash, [], proven)


def _index(context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch) -> bool:
    """Build the index of the grain; False where rows share a key, which the audit then counts."""
    context.on_progress("indexing", 0, 0)
    try:
        with connection.transaction():
            candidates.build_index(connection, candidate)
    except psycopg.errors.UniqueViolation:
        return False
    finally:
        watch.lap("index")
    return True


def _fill_from_object(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
) -> Filled:
    table, load_date = candidate.table, candidate.load_date
    manifest = manifests.latest(connection, table.relation.table, load_date)
    if manifest is None:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: its object has not been verified; "
            f"materialise {context.pipeline.name}/{asset_name(table).replace('.', '/')} of that load_date first."
        )
    try:
        filled = _copy_typed(context, connection, candidate, manifest, watch)
        if filled:
            return filled
    except psycopg.DataError:
        pass  # a value or a record does not fit: which ones, triage tells
    watch.lap("copy")
    return _copy_by_triage(context, connection, candidate, manifest, watch)


def _copy_typed(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> Filled | None:
    """Load the whole object as its columns' types; None where COPY stopped early without a word."""
    counter, source = RecordCounter(), context.store.read(manifest)
    total = manifest.size_bytes

    def on_bytes(done: int) -> None:
        context.on_progress("copying", done, total)

    with connection.transaction():
        candidates.create_empty(connection, candidate)
        loaded = candidates.copy_csv(connection, candidate, counter.watch(source), on_bytes)
        if loaded != counter.records:
            raise psycopg.Rollback
        watch.lap("copy")
        proven = _index(context, connection, candidate, watch)
        manifests.record_content(connection, manifest, rows=loaded, sha256=source.sha256)
        return Filled(Counts(counter.records, loaded, 0), manifest.hash, [], proven)
    return None


def _copy_by_triage(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> Filled:
    """Load what can be read and set aside what cannot."""
    context.on_progress("sorting out what cannot be read", 0, manifest.size_bytes)
    source = context.store.read(manifest)
    declared = candidate.table.header.source
    assert declared is not None
    records, unreadable = 0, ""

    def counted() -> Iterator[Record]:
        nonlocal records, unreadable
        try:
            # The typed COPY refuses another header; here it must be looked at, or columns would change places.
            start = b"".join(context.store.read(manifest, HEADER_LIMIT))
            if problem := header_problem(start, candidate.table.columns):
                raise UnreadableError(problem)
            for record in read_records(source, len(candidate.table.columns)):
                records += 1
                yield record
        except UnreadableError as error:
            unreadable = f"s3://{manifest.bucket}/{manifest.key}: {error}"

    with connection.transaction():
        candidates.create_empty(connection, candidate)
        triaged = triage(connection, candidate, counted(), declared.quarantine_budget)
        watch.lap("triage")
        proven = _index(context, connection, candidate, watch)
        if not unreadable:
            manifests.record_content(connection, manifest, rows=records, sha256=source.sha256)
    counts = Counts(records, triaged.loaded, triaged.bad)
    return Filled(counts, manifest.hash, triaged.samples, proven, unreadable)
