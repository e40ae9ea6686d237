"""Filling a candidate: from its S3 object, or from its SELECT. Rows are accounted for while they pass.

Not here: whether what came out may be published (table.py).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.ledger import manifests
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, Stopwatch, UpstreamError
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.parallel import write_slices
from kpi_assets.materialize.verify_object import asset_name
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.names import Relation
from kpi_assets.model.records import BadRecord, Record
from kpi_assets.model.slices import KEY_TYPES, Slice, slices_at
from kpi_assets.sources.checksums import PartSums
from kpi_assets.sources.cut import find_cuts
from kpi_assets.sources.proof import Proof, UnprovenError
from kpi_assets.sources.records import HEADER_LIMIT, NotPlainError, RecordCounter, header_problem, plain, read_records
from kpi_assets.sources.store import PinnedRead
from kpi_assets.warehouse import candidates, float_sums, slices
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.quarantine import triage


class StoppedEarlyError(Exception):
    """COPY ended without a word before the records did."""


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
    inputs: Inputs,
    watch: Stopwatch,
) -> Filled:
    """Make the candidate with all its rows and, where no two share a key, the index of its grain."""
    if candidate.table.header.source:
        return _fill_from_object(context, connection, candidate, watch)
    context.on_progress("selecting", 0, 0)
    try:
        float_sums.refuse(connection, candidate.table, candidate.load_date, inputs.window)
        proven = _select(context, connection, candidate, inputs, watch)
    except psycopg.errors.UndefinedTable:
        inputs.check_unchanged(connection)  # what was to be read was replaced meanwhile, and says so
        raise
    return Filled(Counts(), inputs.manifest_hash, [], proven)


def _select(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, inputs: Inputs, watch: Stopwatch
) -> bool:
    """Make the candidate from its SELECT, sliced as the table its key comes from; whether no two rows share it."""
    tables, origins = context.pipeline.tables, context.pipeline.co_sliced_inputs(candidate.table)
    instead = candidates.as_declared(connection, [tables[relation] for relation in candidate.table.query_reads])
    if instead:
        origins = {}  # slices are read where they lie, which has other types for the time being
    sources = {
        named: found
        for named, origin in origins.items()
        if (found := slices.stored(connection, tables[named], origin, candidate.load_date))
    }
    parts = max((source.slices for source in sources.values()), key=len, default=[])
    for named, source in sources.items():
        if not parts and context.slices_of(inputs.of_day[origins[named]].size_bytes) > 1:
            key = tables[origins[named]].header.grain[0]
            parts = slices.even_slices(connection, source.partition, key, context.writers)

    def read(relation: Relation, column: str, part: Slice) -> sql.Composable:
        source = sources.get(relation)
        return source.read(column, part) if source else candidates.read_slice(relation, column, part)

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> bool:
        candidates.create_from_select(session, part, read=read)
        candidates.add_partition_check(session, part)
        laps.lap("select")
        return _finish(context, session, part, laps)

    if parts:
        with suppress(psycopg.errors.CheckViolation):  # a row without a key, which the audit then counts
            return _is_proven(connection, candidate, write_slices(context, connection, candidate, parts, write, watch))
    with connection.transaction():
        candidates.create_from_select(connection, candidate, inputs.window, instead=instead)
        candidates.add_partition_check(connection, candidate)
        watch.lap("select")
        return _finish(context, connection, candidate, watch)


def _finish(context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch) -> bool:
    """Give the planner its statistics and build the index of the grain; False where rows share a key."""
    candidates.analyze(connection, candidate)
    if candidate.slice is None:  # else whoever watches the writers tells of all slices together
        context.on_progress("indexing", 0, 0)
    is_unique = candidates.build_index(connection, candidate)  # how many rows are not, the audit counts
    watch.lap("index")
    return is_unique


def _is_proven(connection: Connection[Any], candidate: Candidate, of_slices: Sequence[bool]) -> bool:
    """Whether no two rows of any slice share a key; then the slices' indexes are made one, and planners know it too."""
    return all(of_slices) and candidates.build_index(connection, candidate)


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
    # From the quickest way to the one that copes with everything; each proves on the way that it was right to take it.
    for way in (_copy_slices, _copy_plain, _copy_whole):
        try:
            filled = way(context, connection, candidate, manifest, watch)
        except (NotPlainError, psycopg.errors.CheckViolation):
            continue
        except (UnprovenError, psycopg.DataError, StoppedEarlyError):
            break  # a value or a record does not fit: which ones, triage tells
        finally:
            watch.lap("copy")
        if filled:
            return filled
    return _copy_by_triage(context, connection, candidate, manifest, watch)


def _copy_slices(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> Filled | None:
    """Several streams of a large object at once; None where it is small or cannot be cut."""
    table = candidate.table
    key = table.header.grain[0]
    count = context.slices_of(manifest.size_bytes)
    if count < 2 or not table.storage.sliceable or table.header.columns[key].type not in KEY_TYPES:
        return None
    cuts = find_cuts(context.store, manifest, table.columns.index(key), count)
    if cuts is None:
        return None
    offsets = [0, *(offset for offset, _ in cuts), manifest.size_bytes]
    digests: dict[int, PartSums] = {}
    done = [0] * count

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> tuple[int, bool]:
        assert part.slice is not None
        number = part.slice.number
        source = context.store.read(manifest, offsets[number], offsets[number + 1])

        def on_bytes(read: int) -> None:
            done[number] = read
            context.on_progress("copying", sum(done), manifest.size_bytes)

        records = _copy(session, part, source, on_bytes, is_plain=True)
        digests.update(source.digests)
        laps.lap("copy", read=source.waited)
        return records, _finish(context, session, part, laps)

    written = write_slices(context, connection, candidate, slices_at([key for _, key in cuts]), write, watch)
    records = sum(count for count, _ in written)
    manifests.record_content(connection, manifest, rows=records, sha256=context.store.proven(manifest, digests))
    proven = _is_proven(connection, candidate, [proven for _, proven in written])
    return Filled(Counts(records, records, 0), manifest.hash, [], proven)


def _copy_plain(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> Filled:
    return _copy_one(context, connection, candidate, manifest, watch, is_plain=True)


def _copy_whole(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> Filled:
    return _copy_one(context, connection, candidate, manifest, watch, is_plain=False)


def _copy_one(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    manifest: Manifest,
    watch: Stopwatch,
    *,
    is_plain: bool,
) -> Filled:
    """The whole object in one stream."""
    source = context.store.read(manifest)

    def on_bytes(read: int) -> None:
        context.on_progress("copying", read, manifest.size_bytes)

    with connection.transaction():
        records = _copy(connection, candidate, source, on_bytes, is_plain=is_plain)
        watch.lap("copy", read=source.waited)
        proven = _finish(context, connection, candidate, watch)
        manifests.record_content(
            connection, manifest, rows=records, sha256=context.store.proven(manifest, source.digests)
        )
    return Filled(Counts(records, records, 0), manifest.hash, [], proven)


def _copy(
    session: Connection[Any],
    candidate: Candidate,
    source: PinnedRead,
    on_bytes: Callable[[int], None],
    *,
    is_plain: bool,
) -> int:
    """Load what the source gives, as the columns' types; the records.

    Raises UnprovenError where one is not written by the rules, and StoppedEarlyError where some were lost.
    """
    header = candidate.slice is None or candidate.slice.number == 0
    counter = RecordCounter(header=header)
    candidates.create_empty(session, candidate)
    candidates.add_partition_check(session, candidate)
    proof = Proof(candidate.table.types, header=header)
    blocks = proof.watch(counter.watch(plain(source) if is_plain else source))
    loaded = candidates.copy_in(session, candidate, blocks, on_bytes, plain=is_plain, header=header)
    if loaded != counter.records:
        raise StoppedEarlyError
    return loaded


def _copy_by_triage(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> Filled:
    """Load what can be read and set aside what cannot."""
    context.on_progress("sorting out what cannot be read", 0, manifest.size_bytes)
    source = context.store.read(manifest)
    declared = candidate.table.header.source
    assert declared is not None
    # The typed COPY refuses another header; here it must be looked at, or columns would change places.
    problem = header_problem(context.store.head(manifest, HEADER_LIMIT), candidate.table.columns)
    unreadable = f"s3://{manifest.bucket}/{manifest.key}: {problem}" if problem else ""
    records = 0

    def counted() -> Iterator[Record]:
        nonlocal records
        for record in () if unreadable else read_records(source, candidate.table.columns):
            records += 1
            yield record

    with connection.transaction():
        candidates.create_empty(connection, candidate)
        candidates.add_partition_check(connection, candidate)
        triaged = triage(connection, candidate, counted(), declared.quarantine_budget)
        watch.lap("triage")
        proven = _finish(context, connection, candidate, watch)
        if not unreadable:
            manifests.record_content(
                connection, manifest, rows=records, sha256=context.store.proven(manifest, source.digests)
            )
    counts = Counts(records, triaged.loaded, triaged.bad)
    return Filled(counts, manifest.hash, triaged.samples, proven, unreadable)
