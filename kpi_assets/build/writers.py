"""Several writers at once: each slice of a candidate is filled in a session and a transaction of its own.

Not here: what a writer does with its slice (fill.py).
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.build.context import BuildContext
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse import candidates, slices
from kpi_assets.warehouse.candidates import Candidate

T = TypeVar("T")
# The slices are what runs at once: workers inside each would only take turns with them. A slice's tables are small
# enough to be hashed, and need not be read in an index' order to be merged. Statistics are of a slice, not of all.
_SETTINGS = (
    "set max_parallel_workers_per_gather = 0; set max_parallel_maintenance_workers = 0; "
    "set enable_mergejoin = off; set default_statistics_target = 20"
)


class _Stopped(Exception):  # noqa: N818
    """Another writer failed; this one's slice is of no use."""


def write_slices(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    parts: Sequence[Slice],
    write: Callable[[Connection[Any], Candidate], T],
) -> list[T]:
    """Have every slice written, `context.writers` at a time, and make the candidate of them; what `write` gave back.

    Where one writer fails the others are ended, no slice stays, and its error is raised.
    """
    crew = _Crew(context, write)
    try:
        results = crew.work(candidate.cut(parts))
        slices.assemble(connection, candidate, parts)
    except BaseException:
        if not connection.closed:
            with suppress(psycopg.Error):
                for part in candidate.cut(parts):
                    candidates.drop(connection, part.relation)
        raise
    return results


class _Crew:
    def __init__(self, context: BuildContext, write: Callable[[Connection[Any], Candidate], T]) -> None:
        self._context, self._write = context, write
        self._sessions: set[Connection[Any]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def work(self, parts: Sequence[Candidate]) -> list[Any]:
        with ThreadPoolExecutor(self._context.writers, thread_name_prefix="writer") as pool:
            futures = [pool.submit(self._one, part) for part in parts]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # also when somebody presses Ctrl-C
                if not all(future.done() and not future.exception() for future in futures):
                    self._stop()
        errors = [error for future in futures if (error := future.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, (_Stopped, psycopg.errors.QueryCanceled))):
            raise error
        return [future.result() for future in futures]

    def _one(self, part: Candidate) -> Any:
        context = self._context
        name = f"{context.run_id[:8]} {part.table.relation} {part.load_date} {part.slice and part.slice.number}"
        if self._stopped:
            raise _Stopped
        with context.session(part.table, name) as session:
            with self._lock:
                self._sessions.add(session)
            try:
                if self._stopped:
                    raise _Stopped
                session.execute(_SETTINGS)
                with session.transaction():
                    return self._write(session, part)
            finally:
                with self._lock:
                    self._sessions.discard(session)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for session in self._sessions:
                with suppress(psycopg.Error):
                    session.cancel_safe(timeout=5)
