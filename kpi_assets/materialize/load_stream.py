"""Fills a candidate from the objects of a stream: those that come next, or all of a load_date.

Every event is a row or a bad record. First COPY gets what is proven to be written as its columns need it. If Postgres
refuses a value, all events are given to it one by one.
Not here: finding the objects (stream/links.py), their events (stream/rows.py), and files (load.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import streams
from kpi_assets.ledger.batches import Batch
from kpi_assets.ledger.runs import Counts
from kpi_assets.ledger.stream_objects import StreamObject
from kpi_assets.ledger.streams import Position
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.materialize.fill import Added, FillResult, analyze_and_index
from kpi_assets.model.records import BadRecord
from kpi_assets.model.table import Table
from kpi_assets.settings import settings
from kpi_assets.sources.lake import Lake, open_lake
from kpi_assets.stream.links import NOTHING, ChainError, Found, added_hash, whole
from kpi_assets.stream.rows import EventRows
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.quarantine import load_readable

_LINES = 1 << 40  # the number of an object and of a record in it are one number, which no two records share
_lakes: dict[tuple[str | None, str], Lake] = {}  # by address: opening one anew would lose its connections


@dataclass
class _Seen:
    """The objects that were read in one pass."""

    bucket: str
    hash: str
    objects: list[StreamObject] = field(default_factory=list)
    records: int = 0

    def add(self, found: Found, newest_ms: int | None) -> None:
        """Count an object; its newest event came at `newest_ms`."""
        at = None if newest_ms is None else datetime.fromtimestamp(newest_ms / 1000, timezone.utc)
        frame, entry = found.frame, found.entry
        self.objects.append(
            StreamObject(
                frame.partition,
                frame.start,
                frame.next,
                frame.records,
                at,
                entry.key,
                entry.size_bytes,
                entry.etag,
            )
        )
        self.records += frame.records
        self.hash = added_hash(self.hash, self.bucket, [entry])


@dataclass(frozen=True)
class Basis:
    """What was known before the objects were looked for: what is landed, the last batch, and the objects it ends with.

    Since landing was asked first, an object that it counts as landed has been found.
    """

    landed: Mapping[int, Position]
    before: Batch | None = None
    ends: Mapping[int, StreamObject] = field(default_factory=dict)

    def through(self, objects: Iterable[StreamObject], load_date: date) -> datetime | None:
        """Return the instant before which all events of a load_date are in these objects or in those before them.

        Of a partition of which all that is landed is built, landing knows; of another one, its newest event tells.
        """
        ends = dict(self.ends)
        for each in objects:
            if each.partition not in ends or each.next > ends[each.partition].next:
                ends[each.partition] = each
        instants = [end.newest_at for end in ends.values() if end.newest_at]
        if self.landed:
            found = [self._of_partition(each, ends.get(each.partition)) for each in self.landed.values()]
            if None in found:
                return None
            instants = [each for each in found if each]
        midnight = datetime.combine(load_date + timedelta(days=1), time(), timezone.utc)
        return min([*instants, midnight]) if instants else None

    @staticmethod
    def _of_partition(landed: Position, end: StreamObject | None) -> datetime | None:
        is_behind = end is not None and landed.next is not None and end.next < landed.next
        return end.newest_at if end and is_behind else landed.caught_up_at


def positions_of(connection: Connection[Any], table: Table) -> dict[int, Position]:
    """Return how far each partition of the stream of a raw table is landed."""
    return {each.partition: each for each in streams.positions(connection) if each.stream == table.stream}


def lake_of(context: BuildContext) -> Lake:
    """Return the bucket of a pipeline, of which one is open in a process. Raises LakeError."""
    words = context.settings or settings()
    address = words.s3_endpoint_url, context.store.bucket
    if address not in _lakes:
        _lakes[address] = open_lake(words, context.store.bucket)
    return _lakes[address]


def load_whole(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
) -> FillResult:
    """Fill the candidate from all objects of a load_date as its first batch."""
    lake, prefix = lake_of(context), candidate.table.stream_prefix(candidate.load_date)
    landed = positions_of(connection, candidate.table)
    return load_links(context, connection, candidate, lambda: whole(lake, prefix), Basis(landed), watch)


def load_links(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    links: Callable[[], Iterable[Found]],
    basis: Basis,
    watch: Stopwatch,
    problem: str = "",
) -> FillResult:
    """Fill the candidate from objects, which `links` yields as often as it is called.

    With a `problem`, which says why the next object cannot be built, the candidate gets no rows.
    """
    rows, before = EventRows(candidate.table, candidate.load_date, candidate.batch), basis.before
    bucket, old_hash = context.store.bucket, before.manifest_hash if before else NOTHING
    seen = _Seen(bucket, old_hash)
    try:
        if problem:
            raise ChainError(problem)
        try:
            loaded, bad, quarantined, proven = _copy(context, connection, candidate, links(), rows, seen, watch)
        except psycopg.DataError:
            seen = _Seen(bucket, old_hash)
            loaded, bad, quarantined, proven = _by_record(context, connection, candidate, links(), rows, seen, watch)
    except ChainError as error:
        with connection.transaction():
            _create(connection, candidate)
            proven = analyze_and_index(context, connection, candidate, watch)
        added = Added(candidate.batch, 0, before)
        return FillResult(Counts(0, 0, 0), old_hash, [], proven, str(error), added=added)
    through = basis.through(seen.objects, candidate.load_date)
    added = Added(candidate.batch, seen.records, before, seen.objects, through=through)
    return FillResult(Counts(seen.records, loaded, quarantined), seen.hash, bad, proven, added=added)


def _create(connection: Connection[Any], candidate: Candidate) -> None:
    candidates.create_empty(connection, candidate)
    if not candidate.is_added:
        candidates.add_partition_check(connection, candidate)


def _copy(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    links: Iterable[Found],
    rows: EventRows,
    seen: _Seen,
    watch: Stopwatch,
) -> tuple[int, list[BadRecord], int, bool]:
    """Give the rows of all objects to one COPY; return their number, the bad records, and whether the key is unique."""
    bad: list[BadRecord] = []
    written = 0

    def blocks() -> Iterator[bytes]:
        nonlocal written
        for found in links:
            for piece in rows.written(found):
                bad.extend(piece.bad)
                written += piece.rows
                yield piece.text
            seen.add(found, rows.newest_ms)
            context.on_progress("copying", seen.records, 0)

    with connection.transaction():
        _create(connection, candidate)
        loaded = candidates.copy_in(connection, candidate, blocks(), rows.columns, "format text")
        watch.lap("copy")
        proven = analyze_and_index(context, connection, candidate, watch)
    return loaded, bad, len(bad), proven


def _by_record(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    links: Iterable[Found],
    rows: EventRows,
    seen: _Seen,
    watch: Stopwatch,
) -> tuple[int, list[BadRecord], int, bool]:
    """Give the events of all objects to Postgres one by one; return what _copy does."""
    keys: list[str] = []

    def records() -> Iterator[Any]:
        for number, found in enumerate(links):
            keys.append(found.link.key)
            for record in rows.records(found):
                yield replace(record, line=number * _LINES + record.line)
            seen.add(found, rows.newest_ms)

    context.on_progress("separating unreadable records", 0, 0)
    with connection.transaction():
        _create(connection, candidate)
        result = load_readable(connection, candidate, records())
        watch.lap("quarantine")
        proven = analyze_and_index(context, connection, candidate, watch)
    bad = [replace(each, line=each.line % _LINES, object_key=keys[each.line // _LINES]) for each in result.samples]
    return result.loaded, bad, result.bad, proven
