"""Fills a candidate from its S3 object with the fastest loader that applies, and counts the records on the way.

The loaders are tried from the fastest to the most tolerant. Each checks its assumptions while it loads and rolls back
unless every record fits. Only the last loader separates bad records from good ones.

Not here: the parsers of the formats (sources/formats), filling from a SELECT (transform.py), and the decision whether
the candidate is published (audit.py, build.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.base import CopyMode, Cut, Format, ModeMismatchError, UnprovenError
from kpi_assets.sources.store import PinnedRead
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.quarantine import load_readable


@dataclass(frozen=True)
class Loaded:
    """The outcome of a loader that loaded every record of the object into the candidate."""

    result: FillResult


@dataclass(frozen=True)
class NotApplicable:
    """The outcome of a loader that cannot load this object. Nothing was loaded; the next loader may apply."""


@dataclass(frozen=True)
class BadData:
    """The outcome of a loader that met an invalid record or value. Nothing was loaded, and any COPY would fail."""


Outcome = Loaded | NotApplicable | BadData


class StoppedEarlyError(Exception):
    """COPY ended without an error but loaded fewer rows than records were counted."""


@dataclass(frozen=True)
class _Task:
    """The loading of one object into one candidate: what every loader needs."""

    context: BuildContext
    connection: Connection[Any]
    candidate: Candidate
    manifest: Manifest
    format: Format
    watch: Stopwatch

    def record_content(self, records: int, digests: dict[int, PartSums]) -> None:
        """Record the number of records and the SHA-256 of the object. Raises LakeError if other bytes were read."""
        sha256 = self.context.store.proven(self.manifest, digests)
        manifests.record_content(self.connection, self.manifest, rows=records, sha256=sha256)

    def result_of_copy(self, records: int, *, grain_is_proven: bool) -> FillResult:
        """Return the result of a COPY that loaded every record."""
        return FillResult(Counts(records, records, 0), self.manifest.hash, [], grain_is_proven)


def load_object(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, watch: Stopwatch
) -> FillResult:
    """Fill the candidate from its S3 object. Raises UpstreamError if the object has not been verified."""
    table, load_date = candidate.table, candidate.load_date
    manifest = manifests.latest(connection, table.relation.table, load_date)
    if manifest is None:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: its object has not been verified; "
            f"materialize {context.pipeline.name}/{asset_name(table).replace('.', '/')} of that load_date first."
        )
    task = _Task(context, connection, candidate, manifest, format_of(table), watch)
    for load in _copy_loaders(task.format.copy_modes):
        outcome = load(task)
        watch.lap("copy")
        if isinstance(outcome, Loaded):
            return outcome.result
        if isinstance(outcome, BadData):
            break
    return _load_by_record(task)


def _copy_loaders(modes: Sequence[CopyMode]) -> Iterator[Callable[[_Task], Outcome]]:
    """Yield the loaders that use COPY, in the order in which they are tried."""
    for mode in modes[:1]:
        yield partial(_copy_sliced, mode=mode)
    for mode in modes:
        yield partial(_copy_whole, mode=mode)


def _attempt(copy: Callable[[], FillResult]) -> Outcome:
    """Run a COPY and convert the errors that roll back its transaction into an outcome."""
    try:
        return Loaded(copy())
    except (ModeMismatchError, psycopg.errors.CheckViolation):  # a violation: a key lies outside its slice
        return NotApplicable()
    except (UnprovenError, psycopg.DataError, StoppedEarlyError):
        return BadData()


def _copy_sliced(task: _Task, mode: CopyMode) -> Outcome:
    """Load a large object with several parallel COPYs. NotApplicable if the object is small or cannot be cut."""
    cuts = _find_cuts(task)
    return _attempt(partial(_copy_parts, task, mode, cuts)) if cuts else NotApplicable()


def _find_cuts(task: _Task) -> list[Cut] | None:
    """Return where to cut the object into slices, or None if it must be loaded as a whole."""
    table = task.candidate.table
    key = table.header.grain[0]
    count = task.context.slice_count(task.manifest.size_bytes)
    if count < 2 or not table.storage.sliceable or table.header.columns[key].type not in KEY_TYPES:
        return None
    return task.format.find_cuts(task.context.store, task.manifest, table.columns.index(key), count)


def _copy_parts(task: _Task, mode: CopyMode, cuts: Sequence[Cut]) -> FillResult:
    """Load each part of the object between two cuts with a COPY of its own."""
    context, connection, candidate, manifest = task.context, task.connection, task.candidate, task.manifest
    offsets = [0, *(offset for offset, _ in cuts), manifest.size_bytes]
    digests: dict[int, PartSums] = {}
    done = [0] * (len(cuts) + 1)

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> tuple[int, bool]:
        assert part.slice is not None
        number = part.slice.number
        source = context.store.read(manifest, offsets[number], offsets[number + 1])

        def on_bytes(read: int) -> None:
            done[number] = read
            context.on_progress("copying", sum(done), manifest.size_bytes)

        records = _copy(session, part, source, mode, on_bytes)
        digests.update(source.digests)
        laps.lap("copy", read=source.waited)
        return records, analyze_and_index(context, session, part, laps)

    parts = slices_at([key for _, key in cuts])
    written = write_slices(context, connection, candidate, parts, write, task.watch)
    records = sum(count for count, _ in written)
    task.record_content(records, digests)
    return task.result_of_copy(
        records, grain_is_proven=index_slices(connection, candidate, [is_unique for _, is_unique in written])
    )


def _copy_whole(task: _Task, mode: CopyMode) -> Outcome:
    """Load the object with one COPY."""

    def copy() -> FillResult:
        source = task.context.store.read(task.manifest)

        def on_bytes(read: int) -> None:
            task.context.on_progress("copying", read, task.manifest.size_bytes)

        with task.connection.transaction():
            records = _copy(task.connection, task.candidate, source, mode, on_bytes)
            task.watch.lap("copy", read=source.waited)
            proven = analyze_and_index(task.context, task.connection, task.candidate, task.watch)
            task.record_content(records, source.digests)
        return task.result_of_copy(records, grain_is_proven=proven)

    return _attempt(copy)


def _copy(
    session: Connection[Any],
    candidate: Candidate,
    source: PinnedRead,
    mode: CopyMode,
    on_bytes: Callable[[int], None],
) -> int:
    """Create the candidate, or a slice of it, copy the source into it, and return the number of records.

    Raises ModeMismatchError and UnprovenError if the mode does, psycopg.DataError if a value does not fit its column,
    psycopg.errors.CheckViolation if a key lies outside the slice, and StoppedEarlyError if COPY loaded fewer rows than
    records were counted.
    """
    at_start = candidate.slice is None or candidate.slice.number == 0
    candidates.create_empty(session, candidate)
    candidates.add_partition_check(session, candidate)
    stream = mode.stream(source, candidate.table.types, at_start=at_start)
    loaded = candidates.copy_in(session, candidate, stream, mode.options(at_start=at_start), on_bytes)
    if loaded != stream.records:
        raise StoppedEarlyError
    return loaded


def _load_by_record(task: _Task) -> FillResult:
    """Read the object record by record, load the readable records, and set aside the others."""
    context, connection, candidate, manifest = task.context, task.connection, task.candidate, task.manifest
    phase = "separating unreadable records" if task.format.copy_modes else "reading record by record"
    context.on_progress(phase, 0, manifest.size_bytes)
    source, types = context.store.read(manifest), candidate.table.types
    # An object that does not begin as declared may have its columns in another order, so none of its records is read.
    problem = task.format.check_start(context.store.head(manifest, task.format.start_size), types)
    unreadable = f"s3://{manifest.bucket}/{manifest.key}: {problem}" if problem else ""
    records = 0

    def count_records() -> Iterator[Record]:
        nonlocal records
        for record in () if unreadable else task.format.records(source, types):
            records += 1
            yield record

    with connection.transaction():
        candidates.create_empty(connection, candidate)
        candidates.add_partition_check(connection, candidate)
        result = load_readable(connection, candidate, count_records(), candidate.table.source.quarantine_budget)
        task.watch.lap("quarantine")
        proven = analyze_and_index(context, connection, candidate, task.watch)
        if not unreadable:
            task.record_content(records, source.digests)
    counts = Counts(records, result.loaded, result.bad)
    return FillResult(counts, manifest.hash, result.samples, proven, unreadable)
