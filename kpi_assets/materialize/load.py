"""Fills a candidate from its S3 object with the fastest loader that applies, and counts the records on the way.

The loaders are tried from the fastest to the most tolerant. Each checks its assumptions while it loads and rolls back
unless every record fits. Only the last loader separates bad records from good ones.

Not here: the parsers of the formats (sources/formats), filling from a SELECT (transform.py), and the decision whether
the candidate is published (audit.py, build.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import manifests, run_states
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.context import BuildContext, Stopwatch, UpstreamError
from kpi_assets.materialize.erasures import erased_of, leave_out
from kpi_assets.materialize.fill import FillResult, analyze_and_index, index_slices
from kpi_assets.materialize.parallel import write_slices
from kpi_assets.materialize.verify_object import NAMED, asset_name
from kpi_assets.model.decision import Decision
from kpi_assets.model.manifest import NO_OBJECT, Manifest
from kpi_assets.model.records import BadRecord, Record, unused_text
from kpi_assets.model.slices import KEY_TYPES, slices_at
from kpi_assets.sources.deliveries import is_there
from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.base import (
    CopyStream,
    Cut,
    ModeMismatchError,
    OpenObject,
    UnprovenError,
    UnreadableError,
)
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.decided_records import DecidedRecords
from kpi_assets.warehouse.erased import Erased
from kpi_assets.warehouse.quarantine import count_loaded, load_readable


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


class _UnreadableObjectError(Exception):
    """An object cannot be read to its end. The message is a sentence that names it."""


@dataclass(frozen=True)
class _Task:
    """The loading of the objects of a load_date into one candidate: what every loader needs."""

    context: BuildContext
    connection: Connection[Any]
    candidate: Candidate
    objects: Sequence[OpenObject]
    manifest: Manifest  # of all objects
    decisions: Sequence[Decision]
    erased: Erased | None
    watch: Stopwatch

    @property
    def size_bytes(self) -> int:
        """The bytes of all objects."""
        return self.manifest.size_bytes

    def bytes_before(self, opened: OpenObject) -> int:
        """The bytes of the objects before one of them."""
        return sum(each.manifest.size_bytes for each in self.objects[: self.objects.index(opened)])

    def report(self, phase: str, done: float) -> None:
        """Report the progress, as the share of the objects that was read."""
        self.context.on_progress(phase, round(done * self.size_bytes), self.size_bytes)

    def record_content(self, opened: OpenObject, records: int) -> None:
        """Record the number of records and the SHA-256 of an object. Raises LakeError if other bytes were read."""
        sha256 = opened.bytes.sha256()
        manifests.record_content(self.connection, self.manifest, opened.manifest, rows=records, sha256=sha256)

    def record_sum(self) -> None:
        """Record the number of records and the SHA-256 of several objects together, after those of each."""
        if self.manifest.parts:
            manifests.record_sum(self.connection, self.manifest)

    def result_of_copy(self, records: int, *, grain_is_proven: bool) -> FillResult:
        """Return the result of COPYs that loaded every record."""
        counts = Counts(records, records, 0, 0 if self.erased else None)
        filled = FillResult(counts, self.manifest.hash, [], grain_is_proven, field_counts=self.field_counts())
        return replace(filled, decided=unused_text(len(self.decisions)))

    def field_counts(self) -> Mapping[str, int] | None:
        """Return the number of records of all objects that have each field; None if all have the same."""
        found: Counter[str] = Counter()
        for opened in self.objects:
            counts = opened.field_counts
            if counts is None:
                return None
            found.update(counts)
        return found


def load_object(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    decisions: Sequence[Decision],
    watch: Stopwatch,
) -> FillResult:
    """Fill the candidate from its S3 object; without rows if the object is optional and not there.

    `decisions` are on records that cannot be read. Persons who were erased are left out.

    Raises UpstreamError if the object has not been verified.
    """
    table, load_date = candidate.table, candidate.load_date
    erased = erased_of(context, connection, table)
    manifest = manifests.latest(connection, table.relation.table, load_date)
    if table.source.optional and is_absent(context, connection, candidate, manifest):
        return _load_nothing(context, connection, candidate, watch, manifest_hash=NO_OBJECT)
    if manifest is None:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: its object has not been verified; "
            f"materialize {context.pipeline.name}/{asset_name(table).replace('.', '/')} of that load_date first."
        )
    day = table.object_day(load_date, manifest.key)
    with ExitStack() as stack:
        objects: list[OpenObject] = []
        task = _Task(context, connection, candidate, objects, manifest, decisions, erased, watch)
        try:
            for each in manifest.objects:
                objects.append(stack.enter_context(format_of(table).open(context.store, each, table, day)))
                _prepare(task, objects[-1])
            filled = _load(task)
            return leave_out(context, connection, candidate, filled, erased, manifest, watch) if erased else filled
        except _UnreadableObjectError as error:
            return _load_nothing(
                context, connection, candidate, watch, manifest_hash=manifest.hash, unreadable=str(error)
            )


def _prepare(task: _Task, opened: OpenObject) -> None:
    """Prepare an object to be read. Raises _UnreadableObjectError."""
    with _naming(opened):
        # An object that does not begin as declared may have other columns: none of its records is read.
        if opened.problem:
            raise UnreadableError(opened.problem)
        before = task.bytes_before(opened)
        opened.prepare(lambda done: task.context.on_progress("reading", before + done, task.size_bytes))
    task.watch.lap("read")


@contextmanager
def _naming(opened: OpenObject) -> Iterator[None]:
    """Add the address of an object to the reason why it cannot be read."""
    try:
        yield
    except UnreadableError as error:
        raise _UnreadableObjectError(f"{opened.manifest.url}: {error}") from error


def _load(task: _Task) -> FillResult:
    """Load the objects by the first loader that applies."""
    for load in _copy_loaders(task.objects):
        outcome = load(task)
        task.watch.lap("copy")
        if isinstance(outcome, Loaded):
            return outcome.result
        if isinstance(outcome, BadData):
            break
    return _load_by_record(task)


def is_absent(
    context: BuildContext, connection: Connection[Any], candidate: Candidate, manifest: Manifest | None
) -> bool:
    """Whether there is no object; one that lands after the run has verified that there is none counts the next time."""
    table, load_date = candidate.table, candidate.load_date
    statuses = run_states.of_run_by_load_date(connection, context.run_id) if manifest is None else {}
    return statuses.get(load_date, {}).get(asset_name(table)) == "success" or not is_there(
        context.store, table, load_date
    )


def _load_nothing(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    watch: Stopwatch,
    *,
    manifest_hash: str,
    unreadable: str = "",
) -> FillResult:
    """Create the candidate without rows; `unreadable` is why the objects cannot be read, empty if there are none."""
    with connection.transaction():
        _create(connection, candidate)
        proven = analyze_and_index(context, connection, candidate, watch)
    return FillResult(Counts(0, 0, 0), manifest_hash, [], proven, unreadable)


def _copy_loaders(objects: Sequence[OpenObject]) -> Iterator[Callable[[_Task], Outcome]]:
    """Yield the loaders that use COPY, in the order in which they are tried."""
    modes = min((len(each.copy_modes) for each in objects), default=0)
    if modes:
        yield _copy_sliced
    for number in range(modes):
        yield partial(_copy_whole, mode=number)


def _attempt(copy: Callable[[], FillResult]) -> Outcome:
    """Run a COPY and convert the errors that roll back its transaction into an outcome."""
    try:
        return Loaded(copy())
    except (ModeMismatchError, psycopg.errors.CheckViolation):  # a violation: a key lies outside its slice
        return NotApplicable()
    except (UnprovenError, psycopg.DataError, StoppedEarlyError):
        return BadData()


def _copy_sliced(task: _Task) -> Outcome:
    """Load a large object with several parallel COPYs. NotApplicable if it is small, cannot be cut, or not alone."""
    cuts = _find_cuts(task)
    return _attempt(partial(_copy_parts, task, task.objects[0], cuts)) if cuts else NotApplicable()


def _find_cuts(task: _Task) -> list[Cut] | None:
    """Return where to cut the object into slices, or None if it must be loaded as a whole."""
    table = task.candidate.table
    key = table.header.grain[0]
    count = task.context.slice_count(sum(each.text_size for each in task.objects))
    # The number of a record is known only to who has read all records before it.
    if len(task.objects) > 1 or count < 2 or not table.storage.sliceable or table.source.position:
        return None
    return task.objects[0].find_cuts(key, count) if table.header.columns[key].type in KEY_TYPES else None


def _copy_parts(task: _Task, opened: OpenObject, cuts: Sequence[Cut]) -> FillResult:
    """Load each part of the object between two cuts with a COPY of its own."""
    context, connection, candidate = task.context, task.connection, task.candidate
    places = [0, *(place for place, _ in cuts), opened.size]
    done = [0] * (len(cuts) + 1)

    def write(session: Connection[Any], part: Candidate, laps: Stopwatch) -> tuple[int, bool]:
        assert part.slice is not None
        number = part.slice.number
        stream = opened.copy_modes[0].stream(places[number], places[number + 1])

        def on_block() -> None:
            done[number] = stream.done
            task.report("copying", sum(done) / opened.size)

        _create(session, part)
        with _naming(opened), candidates.origin(session, part, opened.manifest.key):
            records = _copy(session, part, stream, on_block)
        laps.lap("copy", read=stream.waited)
        return records, analyze_and_index(context, session, part, laps)

    parts = slices_at([key for _, key in cuts])
    written = write_slices(context, connection, candidate, parts, write, task.watch)
    records = sum(count for count, _ in written)
    task.record_content(opened, records)
    return task.result_of_copy(
        records, grain_is_proven=index_slices(connection, candidate, [is_unique for _, is_unique in written])
    )


def _copy_whole(task: _Task, mode: int) -> Outcome:
    """Load each object with one COPY, in the copy mode of this number."""

    def copy() -> FillResult:
        with task.connection.transaction():
            _create(task.connection, task.candidate)
            records = sum(_copy_object(task, opened, mode) for opened in task.objects)
            task.record_sum()
            proven = analyze_and_index(task.context, task.connection, task.candidate, task.watch)
        return task.result_of_copy(records, grain_is_proven=proven)

    return _attempt(copy)


def _copy_object(task: _Task, opened: OpenObject, mode: int) -> int:
    """Load one object with one COPY, and return the number of records."""
    before = task.bytes_before(opened)
    stream = opened.copy_modes[mode].stream(0, opened.size)

    def on_block() -> None:
        read = opened.manifest.size_bytes * stream.done / max(opened.size, 1)
        task.report("copying", (before + read) / task.size_bytes)

    with _naming(opened), candidates.origin(task.connection, task.candidate, opened.manifest.key):
        records = _copy(task.connection, task.candidate, stream, on_block)
    task.watch.lap("copy", read=stream.waited)
    task.record_content(opened, records)
    return records


def _create(session: Connection[Any], candidate: Candidate) -> None:
    candidates.create_empty(session, candidate)
    candidates.add_partition_check(session, candidate)


def _copy(session: Connection[Any], candidate: Candidate, stream: CopyStream, on_block: Callable[[], None]) -> int:
    """Copy a stream into the candidate, or into a slice of it, and return the number of records.

    Raises ModeMismatchError and UnprovenError if the stream does, psycopg.DataError if a value does not fit its column,
    psycopg.errors.CheckViolation if a key lies outside the slice, and StoppedEarlyError if COPY loaded fewer rows than
    records were counted.
    """
    loaded = candidates.copy_in(session, candidate, stream, stream.columns, stream.options, stream.settings, on_block)
    if loaded != stream.records:
        raise StoppedEarlyError
    return loaded


def _load_by_record(task: _Task) -> FillResult:
    """Read the objects record by record, load the readable records, and set aside the others."""
    context, connection, candidate = task.context, task.connection, task.candidate
    has_modes = any(each.copy_modes for each in task.objects)
    task.report("separating unreadable records" if has_modes else "reading record by record", 0)
    counts, decided = [0] * len(task.objects), DecidedRecords(task.decisions)

    def count_records() -> Iterator[Record]:
        for number, opened in enumerate(task.objects):
            with _naming(opened):
                for record in opened.records():
                    counts[number] += 1
                    placed = replace(
                        record,
                        line=_place(number, record.line),
                        position=counts[number],
                        object_key=opened.manifest.key,
                    )
                    yield placed
                    if decided.decisions and (other := decided.find(placed, record.line, opened.read_again)):
                        yield other
        yield from decided.find_elsewhere()

    with connection.transaction():
        _create(connection, candidate)
        result = load_readable(connection, candidate, count_records(), decided, task.erased)
        has_lost = len(task.objects) > 1 and result.loaded + result.bad + result.erased != sum(counts)
        lost = _lost_records(task, counts) if has_lost else ""
        task.watch.lap("quarantine")
        proven = analyze_and_index(context, connection, candidate, task.watch)
        for number, opened in enumerate(task.objects):
            task.record_content(opened, counts[number])
        task.record_sum()
    samples = [_in_its_object(task, bad) for bad in result.samples]
    read = Counts(sum(counts), result.loaded, result.bad, result.erased if task.erased else None)
    filled = FillResult(read, task.manifest.hash, samples, proven)
    filled = replace(filled, discarded=result.discarded, decided=result.decided)
    return replace(filled, lost=lost, field_counts=task.field_counts())


def _lost_records(task: _Task, counts: Sequence[int]) -> str:
    """Return which of several objects lost records on the way to the server; empty if that is not known."""
    loaded = count_loaded(task.connection, _LINES)
    keys = (opened.manifest.key for opened in task.objects)
    lost = [
        f"{key} has {count} records, and {loaded.get(number, 0)} arrived"
        for number, (key, count) in enumerate(zip(keys, counts, strict=True))
        if loaded.get(number, 0) != count
    ]
    return ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")


# The number of an object and the line of a record in one number, so that no two records of a load_date share it.
_LINES = 1 << 40


def _place(number: int, line: int) -> int:
    return number * _LINES + line


def _in_its_object(task: _Task, bad: BadRecord) -> BadRecord:
    """Return a bad record with the line in its own object, and the key of that object."""
    number, line = divmod(bad.line, _LINES)
    return replace(bad, line=line, object_key=task.objects[number].manifest.key)
