"""Several writers at once, each with a session of its own; each slice of a candidate is filled in one transaction.

Not here: what a writer does with its slice (load.py).
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse import candidates, slices
from kpi_assets.warehouse.candidates import Candidate

T = TypeVar("T")
LOOK_EVERY = 1.0  # seconds between two looks at the progress
STOP_EVERY = 0.2  # seconds between two attempts to end those who write
# The slices are what runs at once: workers inside each would only take turns with them. Statistics are of a slice, not
# of all.
_SETTINGS = (
    "set max_parallel_workers_per_gather = 0; set max_parallel_maintenance_workers = 0; "
    "set default_statistics_target = 20"
)


class _Stopped(Exception):  # noqa: N818
    """Another writer failed; this one's slice is of no use."""


def write_slices(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    parts: Sequence[Slice],
    write: Callable[[Connection[Any], Candidate, Stopwatch], T],
    watch: Stopwatch,
) -> list[T]:
    """Have every slice written, `context.writers` at a time, and make the candidate of them; what `write` gave back.

    Where one writer fails the others are ended, no slice stays, and its error is raised.
    """
    crew = _Crew(context, write)
    try:
        results = crew.work(connection, candidate.cut(parts))
        watch.lap_of(crew.laps)
        slices.assemble(connection, candidate, parts)
    except BaseException:
        if not connection.closed:
            with suppress(psycopg.Error):
                for part in candidate.cut(parts):
                    candidates.drop(connection, part.relation)
        raise
    return results


def _failed(future: Future[Any]) -> bool:
    return future.done() and future.exception() is not None


class _Crew:
    def __init__(self, context: BuildContext, write: Callable[[Connection[Any], Candidate, Stopwatch], T]) -> None:
        self._context, self._write = context, write
        self.laps: list[Stopwatch] = []
        self._sessions: list[Connection[Any]] = []
        self._free: SimpleQueue[Connection[Any]] = SimpleQueue()
        self._turns = threading.Semaphore(context.writers)
        self._stopped = False

    def work(self, connection: Connection[Any], parts: Sequence[Candidate]) -> list[Any]:
        """What each slice's writing gave back; tells the progress meanwhile.

        There is a writer more than work at once: one waits for the disk while it commits, and takes no processor.
        """
        crew = min(self._context.writers + 1, len(parts))
        with ExitStack() as opened:
            for number in range(crew):
                self._join(opened, parts[0], number)
            with ThreadPoolExecutor(crew, thread_name_prefix="writer") as pool:
                futures = [pool.submit(self._one, part) for part in parts]
                try:
                    while wait(futures, LOOK_EVERY, FIRST_EXCEPTION).not_done and not any(map(_failed, futures)):
                        self._tell(connection, futures)
                finally:
                    self._stop(futures)  # who still writes: another failed, or somebody pressed Ctrl-C
        errors = [error for future in futures if (error := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, (_Stopped, psycopg.errors.QueryCanceled))):
            raise error
        return [future.result() for future in futures]

    def _join(self, opened: ExitStack, part: Candidate, number: int) -> None:
        """One more writer."""
        name = f"{self._context.run_id[:8]} {part.table.relation} {part.load_date} writer {number + 1}"
        session = opened.enter_context(self._context.session(part.table, name))
        session.execute(_SETTINGS)
        self._sessions.append(session)
        self._free.put(session)

    def _one(self, part: Candidate) -> Any:
        session = self._free.get()
        try:
            with session.transaction(), self._turns:
                if self._stopped:
                    raise _Stopped
                laps = Stopwatch()
                result = self._write(session, part, laps)
            self.laps.append(laps)
            return result
        finally:
            self._free.put(session)

    def _tell(self, connection: Connection[Any], futures: Sequence[Future[Any]]) -> None:
        """How far the indexes are that are being built; a copy tells of itself, and a SELECT only when it is done."""
        processes = [session.info.backend_pid for session in self._sessions]
        row = connection.execute(
            "select sum(tuples_done)::bigint, sum(tuples_total)::bigint from pg_stat_progress_create_index "
            "where pid = any(%s) and tuples_total > 0",
            [processes],
        ).fetchone()
        if row and row[1]:
            self._context.on_progress("indexing", *row)
        else:
            self._context.on_progress("writing slices", sum(future.done() for future in futures), len(futures))

    def _stop(self, futures: Sequence[Future[Any]]) -> None:
        """End every writer: again and again, for one may be between two statements, and begin another."""
        self._stopped = True
        while wait(futures, STOP_EVERY).not_done:
            for session in self._sessions:
                with suppress(psycopg.Error):
                    session.cancel_safe(timeout=5)
