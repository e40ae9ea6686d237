"""Retry loops: wait for a lock that another session holds, or for a table that readers use.

Each loop reports its progress, logs from time to time which session it waits for (waiting.py), and ends after a
timeout. The loops are written by hand: a retry library needs more lines, and stops one attempt too early when a pause
ends exactly at the timeout.
Not here: the locks themselves (ledger/locks.py).
"""

import math
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.ledger import locks
from kpi_assets.materialize.context import Progress
from kpi_assets.model.names import Relation
from kpi_assets.waiting import Waits
from kpi_assets.warehouse import snapshots
from kpi_assets.warehouse.connection import WarehouseError

T = TypeVar("T")
MAX_NAMED = 3  # transactions that one error message names
LOCK_TIMEOUT = "2s"  # new readers queue behind a statement that waits for a table lock, so keep its wait short
_LOCK_ERRORS = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


def acquire_with_retry(
    acquire: Callable[[], bool],
    phase: str,
    on_progress: Progress,
    timeout: float = math.inf,
    holder: Callable[[], object] = lambda: "",
) -> bool:
    """Call `acquire` until it returns True; return False if it does not within `timeout` seconds.

    A long wait is logged and reported with what `holder` returns.
    """
    deadline, attempts, waits = time.monotonic() + timeout, 0, Waits(phase)
    while not acquire():
        if time.monotonic() >= deadline:
            return False
        waits(holder)
        on_progress(f"{phase}: {waits.whom}" if waits.whom else phase, attempts, 0)
        time.sleep(0.5)
        attempts += 1
    return True


def wait_for_lock(
    connection: Connection[Any], name: str, phase: str, on_progress: Progress, timeout: float = math.inf
) -> bool:
    """Take a session lock of ops; return False if another session still has it after `timeout` seconds."""
    return acquire_with_retry(
        partial(locks.try_lock, connection, name), phase, on_progress, timeout, partial(locks.holder, connection, name)
    )


def block_publishes(
    connection: Connection[Any], relation: Relation, on_progress: Progress, up_to: date | None = None
) -> None:
    """Block publishes into a table until this session ends; first wait for a publish that is in progress.

    With `up_to`, only those of load_dates up to that one.
    """

    def acquire() -> bool:
        try:
            locks.lock_against_publishes(connection, relation, up_to)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    acquire_with_retry(acquire, f"waiting for a publish into {relation}", on_progress)


def wait_for_snapshots(
    connection: Connection[Any], done: str, on_progress: Progress, timeout: float, *, ours: bool = False
) -> None:
    """Wait for transactions with an older snapshot, to which a swapped partition would look empty.

    Those of `ours` take a new snapshot for each statement, and are waited for only if asked. Raises WarehouseError if
    one is still open after `timeout` seconds; `done` is the participle of its message, such as "published".
    """
    then = snapshots.open_snapshots(connection, ours=ours)
    phase = "waiting for transactions with older snapshots"

    def holders() -> str:
        return "; ".join(map(str, snapshots.still_open(connection, then)[:MAX_NAMED]))

    if not acquire_with_retry(lambda: not snapshots.still_open(connection, then), phase, on_progress, timeout, holders):
        raise WarehouseError(
            f"A transaction whose snapshot is older than the build has been open for {timeout:.0f} seconds "
            f"({holders()}), so the table was not {done}: end that transaction (see pg_stat_activity), and run again."
        )


def retry_on_lock(change: Callable[[], T], done: str, on_progress: Progress, timeout: float) -> T:
    """Call `change`, a transaction with LOCK_TIMEOUT, until it gets its table locks, and return its result.

    The pauses between the calls get longer. Raises WarehouseError if the next pause would exceed `timeout` seconds;
    `done` is the participle of its message, such as "published".
    """
    deadline, attempt, waits = time.monotonic() + timeout, 0, Waits("waiting for a reader to finish")
    while True:
        try:
            return change()
        except _LOCK_ERRORS as error:
            waits(partial(_first_line, error))
            attempt += 1
            pause = min(0.2 * 2**attempt, 5.0)
            if time.monotonic() + pause > deadline:
                raise WarehouseError(
                    f"A reader has held the table for {timeout:.0f} seconds, so it was not {done} "
                    f"({_first_line(error)}): end that query (see pg_stat_activity), and run again."
                ) from None
            on_progress("waiting for a reader to finish", attempt, 0)
            time.sleep(pause)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
