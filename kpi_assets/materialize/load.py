"""Filling a candidate from its S3 object; the records are counted while they pass.

Not here: filling it from a SELECT (transform.py), and whether it may be published (audit.py, build.py).
"""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import manifests
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, Stopwatch, UpstreamError
from kpi_assets.materialize.fill import FillResult, analyze_and_index, index_slices
from kpi_assets.materialize.parallel import write_slices
from kpi_assets.materialize.verify_object import asset_name
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.model.slices import KEY_TYPES, slices_at
from kpi_assets.sources.checksums import PartSums
from kpi_assets.sources.cut import find_cuts
from kpi_assets.sources.proof import Proof, UnprovenError
from kpi_assets.sources.records import HEADER_LIMIT, NotPlainError, RecordCounter, header_problem, plain, read_records
from kpi_assets.sources.store import PinnedRead
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.quarantine import triage


class StoppedEarlyError(Exception):
    """COPY ended without a word before the records did."""


def load_object(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
) -> FillResult:
    """Make the candidate from its S3 object. Raises UpstreamError where the object has not been verified."""
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
) -> FillResult | None:
    """Several streams of a large object at once; None where it is small or cannot be cut."""
    table = candidate.table
    key = table.header.grain[0]
    count = context.slice_count(manifest.size_bytes)
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
        return records, analyze_and_index(context, session, part, laps)

    written = write_slices(context, connection, candidate, slices_at([key for _, key in cuts]), write, watch)
    records = sum(count for count, _ in written)
    manifests.record_content(connection, manifest, rows=records, sha256=context.store.proven(manifest, digests))
    proven = index_slices(connection, candidate, [proven for _, proven in written])
    return FillResult(Counts(records, records, 0), manifest.hash, [], proven)


def _copy_plain(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> FillResult:
    return _copy_one(context, connection, candidate, manifest, watch, is_plain=True)


def _copy_whole(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest, watch: Stopwatch
) -> FillResult:
    return _copy_one(context, connection, candidate, manifest, watch, is_plain=False)


def _copy_one(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    manifest: Manifest,
    watch: Stopwatch,
    *,
    is_plain: bool,
) -> FillResult:
    """The whole object in one stream."""
    source = context.store.read(manifest)

    def on_bytes(read: int) -> None:
        context.on_progress("copying", read, manifest.size_bytes)

    with connection.transaction():
        records = _copy(connection, candidate, source, on_bytes, is_plain=is_plain)
        watch.lap("copy", read=source.waited)
        proven = analyze_and_index(context, connection, candidate, watch)
        manifests.record_content(
            connection, manifest, rows=records, sha256=context.store.proven(manifest, source.digests)
        )
    return FillResult(Counts(records, records, 0), manifest.hash, [], proven)


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
) -> FillResult:
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
        proven = analyze_and_index(context, connection, candidate, watch)
        if not unreadable:
            manifests.record_content(
                connection, manifest, rows=records, sha256=context.store.proven(manifest, source.digests)
            )
    counts = Counts(records, triaged.loaded, triaged.bad)
    return FillResult(counts, manifest.hash, triaged.samples, proven, unreadable)
