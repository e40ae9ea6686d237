"""The time limit of a build: filling, indexing and auditing a candidate together may take so long.

No setting of Postgres bounds that: a build has several statements and sessions, and between them it reads an object. So
a thread cancels the statement of the build's session when the time is up, and each report of progress ends the work
between two statements, also that of the writers of slices, whose statements are cancelled then (parallel.py).

Not here: waiting for locks and readers, which is not limited (retry.py).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.materialize.context import BuildContext
from kpi_assets.model.table import Table

CANCEL_EVERY = 0.2  # seconds between two attempts to cancel: the first may come between two statements


class TimeLimitError(UserError):
    """A build took longer than its table allows.

    It is not transient: the next attempt has the same work before it, and would only take the server's time again.
    """


class _TimeIsUpError(Exception):
    """The time is up, and no statement was in progress that could be cancelled."""


@contextmanager
def limited(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[BuildContext]:
    """Yield the context of the work that is limited by the word `time_limit` of a table, if it has the word.

    Raises TimeLimitError when the time is up. Nothing is cancelled any more after the block. `interrupt` ends what is
    executed elsewhere than in the session.
    """
    limit = table.header.time_limit
    if limit is None:
        yield context
        return
    alarm = _Alarm(connection, limit.minutes * 60, interrupt)

    def on_progress(phase: str, done: int, total: int) -> None:
        if alarm.has_rung:
            raise _TimeIsUpError
        context.on_progress(phase, done, total)

    try:
        with alarm.set():
            yield replace(context, on_progress=on_progress)
        if alarm.has_rung:  # an audit goes on after a check whose statement was cancelled
            raise _TimeIsUpError
    except (psycopg.errors.QueryCanceled, _TimeIsUpError, UserError) as error:
        if not alarm.has_rung:
            raise
        minutes = f"{limit.minutes:g} minute{'' if limit.minutes == 1 else 's'}"
        raise TimeLimitError(
            f"{table.path}: {table.relation} of {load_date} was not published, since its build took longer than "
            f"{minutes}: make its SELECT or its checks faster, or raise time_limit in its header."
        ) from error


class _Alarm:
    """Cancels the statements of a session from some moment on."""

    def __init__(self, connection: Connection[Any], seconds: float, interrupt: Callable[[], None]) -> None:
        self._connection, self._seconds, self._interrupt = connection, seconds, interrupt
        self._ended = threading.Event()
        self.has_rung = False

    @contextmanager
    def set(self) -> Iterator[None]:
        """Let the time run until the end of the block."""
        thread = threading.Thread(target=self._wait, name="time limit", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _wait(self) -> None:
        if self._ended.wait(self._seconds):
            return
        self.has_rung = True
        while not self._ended.is_set():
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=5)
            self._interrupt()
            self._ended.wait(CANCEL_EVERY)
