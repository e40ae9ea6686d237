"""Several writers at once, each with a session of its own; each slice of a candidate is filled in one transaction.

`_Sessions` owns the writers' sessions, `_Writer` writes a slice in one of them, `_report_progress` says how far they
are, and `_stop` ends them all. `write_slices` puts the parts together.
Not here: what a writer does with its slice (load.py, transform.py).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.materialize.context import BuildContext, Progress, Stopwatch
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse import candidates, slices
from kpi_assets.warehouse.candidates import Candidate

T = TypeVar("T")
WriteSlice = Callable[[Connection[Any], Candidate, Stopwatch], T]
REPORT_EVERY = 1.0  # seconds between two progress reports
CANCEL_EVERY = 0.2  # seconds between two attempts to cancel the writers' statements
# The slices run in parallel, so parallel workers within a statement would only compete with them for the cores. The
# statistics of a slice cover a part of the rows, so a smaller sample is enough.
_SETTINGS = (
    "set max_parallel_workers_per_gather = 0; set max_parallel_maintenance_workers = 0; "
    "set default_statistics_target = 20"
)


class _Stopped(Exception):  # noqa: N818
    """Another writer failed before this slice was begun."""


def write_slices(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    parts: Sequence[Slice],
    write: WriteSlice[T],
    watch: Stopwatch,
) -> list[T]:
    """Write every slice, `context.writers` at a time, and make the candidate of them; returns what `write` returned.

    When one writer fails, the others are ended, all slices are dropped, and the error of the first is raised.
    """
    pieces = candidate.cut(parts)
    try:
        written = _results(_write_all(context, connection, pieces, write))
        watch.lap_in_parallel([laps for _, laps in written])
        slices.assemble(connection, candidate, parts)
    except BaseException:
        if not connection.closed:
            with suppress(psycopg.Error):
                for piece in pieces:
                    candidates.drop(connection, piece.relation)
        raise
    return [result for result, _ in written]


def _write_all(
    context: BuildContext, connection: Connection[Any], pieces: Sequence[Candidate], write: WriteSlice[T]
) -> "list[Future[tuple[T, Stopwatch]]]":
    """Have each slice written and report the progress meanwhile; when this returns or raises, no writer is left.

    There is one session more than writers work at once: a writer that commits waits for the disk and needs no core.
    """
    count = min(context.writers + 1, len(pieces))
    with _Sessions.open(context, pieces[0], count) as sessions:
        writer = _Writer(sessions, write, context.writers)
        with ThreadPoolExecutor(count, thread_name_prefix="writer") as pool:
            futures = [pool.submit(writer.write, piece) for piece in pieces]
            try:
                while wait(futures, REPORT_EVERY, FIRST_EXCEPTION).not_done and not any(map(_has_failed, futures)):
                    _report_progress(connection, sessions, futures, context.on_progress)
            finally:
                _stop(writer, sessions, futures)  # those still at work: another failed, or somebody pressed Ctrl-C
    return futures


def _results(futures: "Sequence[Future[T]]") -> list[T]:
    """The results, or the error that was first: the errors of writers that were stopped for it come after it."""
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, (_Stopped, psycopg.errors.QueryCanceled))):
        raise error
    return [future.result() for future in futures]


def _has_failed(future: Future[Any]) -> bool:
    return future.done() and future.exception() is not None


class _Sessions:
    """The writers' sessions: opened together, lent to one writer at a time, closed together."""

    def __init__(self, sessions: Sequence[Connection[Any]]) -> None:
        self._all = sessions
        self._free: SimpleQueue[Connection[Any]] = SimpleQueue()
        for session in sessions:
            self._free.put(session)

    @classmethod
    @contextmanager
    def open(cls, context: BuildContext, candidate: Candidate, count: int) -> Iterator["_Sessions"]:
        """So many sessions, as the role of the table's layer."""
        name = f"{context.run_id[:8]} {candidate.table.relation} {candidate.load_date} writer"
        with ExitStack() as opened:
            sessions = [
                opened.enter_context(context.session(candidate.table, f"{name} {number}"))
                for number in range(1, count + 1)
            ]
            for session in sessions:
                session.execute(_SETTINGS)
            yield cls(sessions)

    @contextmanager
    def lend(self) -> Iterator[Connection[Any]]:
        """A session that nobody else has, as soon as there is one."""
        session = self._free.get()
        try:
            yield session
        finally:
            self._free.put(session)

    @property
    def pids(self) -> list[int]:
        """Their server processes."""
        return [session.info.backend_pid for session in self._all]

    def cancel(self) -> None:
        """Cancel the statement that each of them executes, if any."""
        for session in self._all:
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=5)


class _Writer(Generic[T]):
    """Writes slices, each in one transaction of a session that is free; so many `at_once`, the others wait."""

    def __init__(self, sessions: _Sessions, write: WriteSlice[T], at_once: int) -> None:
        self._sessions, self._write = sessions, write
        self._at_work = threading.Semaphore(at_once)
        self.stopped = threading.Event()

    def write(self, piece: Candidate) -> tuple[T, Stopwatch]:
        """Write one slice. Raises _Stopped if the writers were stopped before it was begun."""
        with self._sessions.lend() as session:
            with session.transaction(), self._at_work:
                if self.stopped.is_set():
                    raise _Stopped
                laps = Stopwatch()
                result = self._write(session, piece, laps)
            return result, laps


def _report_progress(
    connection: Connection[Any], sessions: _Sessions, futures: Sequence[Future[Any]], on_progress: Progress
) -> None:
    """Report how far the index builds are, or how many slices are written; a COPY reports its bytes itself."""
    row = connection.execute(
        "select sum(tuples_done)::bigint, sum(tuples_total)::bigint from pg_stat_progress_create_index "
        "where pid = any(%s) and tuples_total > 0",
        [sessions.pids],
    ).fetchone()
    if row and row[1]:
        on_progress("indexing", *row)
    else:
        on_progress("writing slices", sum(future.done() for future in futures), len(futures))


def _stop(writer: _Writer[Any], sessions: _Sessions, futures: Sequence[Future[Any]]) -> None:
    """End all writing: cancel again and again, because a writer between two statements goes on with the next one."""
    writer.stopped.set()
    while wait(futures, CANCEL_EVERY).not_done:
        sessions.cancel()
