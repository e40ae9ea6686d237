"""Fills the slices of a candidate in parallel: each writer has its own session and fills a slice in one transaction.

`_Sessions` owns the writers' sessions, `_Writer` writes one slice in one session, `_report_progress` reports how many
slices are written, and `_stop` ends all writers. `write_slices` combines them.
Not here: filling one slice (load.py, transform.py).
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
# statistics of a slice cover only some of the rows, so a smaller sample is enough.
_SETTINGS = (
    "set max_parallel_workers_per_gather = 0; set max_parallel_maintenance_workers = 0; "
    "set default_statistics_target = 20"
)


class _Stopped(Exception):  # noqa: N818
    """The writers were stopped before this slice was begun."""


def write_slices(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    parts: Sequence[Slice],
    write: WriteSlice[T],
    watch: Stopwatch,
) -> list[T]:
    """Write every slice, `context.writers` at a time, assemble the candidate, and return what `write` returned.

    If a writer fails, the others are stopped, all slices are dropped, and the first error is raised.
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
    """Write all slices and report the progress; no writer is left when this returns or raises.

    There is one more session than writers that work at once, because a writer that commits waits for the disk and
    needs no core.
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
                _stop(writer, sessions, futures)  # some still work if another one failed, or on Ctrl-C
    return futures


def _results(futures: "Sequence[Future[T]]") -> list[T]:
    """Return the results, or raise the original error rather than that of a writer that was stopped because of it."""
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, (_Stopped, psycopg.errors.QueryCanceled))):
        raise error
    return [future.result() for future in futures]


def _has_failed(future: Future[Any]) -> bool:
    return future.done() and future.exception() is not None


class _Sessions:
    """The writers' sessions: opened together, each lent to one writer at a time, closed together."""

    def __init__(self, sessions: Sequence[Connection[Any]]) -> None:
        self._all = sessions
        self._free: SimpleQueue[Connection[Any]] = SimpleQueue()
        for session in sessions:
            self._free.put(session)

    @classmethod
    @contextmanager
    def open(cls, context: BuildContext, candidate: Candidate, count: int) -> Iterator["_Sessions"]:
        """Open `count` sessions, as the role of the table's layer."""
        name = f"{context.run_id[:8]} {candidate.table.relation} {candidate.load_date} writer"
        with ExitStack() as opened:
            sessions = [
                opened.enter_context(context.own_session(candidate.table, f"{name} {number}"))
                for number in range(1, count + 1)
            ]
            for session in sessions:
                session.execute(_SETTINGS)
            yield cls(sessions)

    @contextmanager
    def lend(self) -> Iterator[Connection[Any]]:
        """Lend a session to the caller alone; wait until one is free."""
        session = self._free.get()
        try:
            yield session
        finally:
            self._free.put(session)

    @property
    def pids(self) -> list[int]:
        """The ids of the sessions' server processes."""
        return [session.info.backend_pid for session in self._all]

    def cancel(self) -> None:
        """Cancel the statement that each session executes, if any."""
        for session in self._all:
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=5)


class _Writer(Generic[T]):
    """Writes slices, each in one transaction of a free session; at most `at_once` writers work at the same time."""

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
    """Report the progress of the index builds, or else how many slices are written. A COPY reports its bytes itself."""
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
    """Stop all writers. Cancel repeatedly, because a writer between two statements goes on with the next one."""
    writer.stopped.set()
    while wait(futures, CANCEL_EVERY).not_done:
        sessions.cancel()
