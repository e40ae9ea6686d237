"""Patience: waiting for one's turn under a lock, and giving way to readers of a table that must change under them.

Not here: the locks themselves (ledger/locks.py).
"""

import math
import time
from collections.abc import Callable
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
NAMED = 3  # transactions that one sentence names
LOCK_TIMEOUT = "2s"  # readers queue behind who waits for their table, so it gives way after that and comes again
_GIVE_WAY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


def acquire_with_retry(
    take: Callable[[], bool],
    phase: str,
    on_progress: Progress,
    patience: float = math.inf,
    whom: Callable[[], object] = lambda: "",
) -> bool:
    """Take a lock as soon as nobody has it; False where patience (seconds) ends before.

    Who waits long is told for `whom`.
    """
    deadline, waited, waits = time.monotonic() + patience, 0, Waits(phase)
    while not take():
        if time.monotonic() >= deadline:
            return False
        waits(whom)
        on_progress(f"{phase}: {waits.whom}" if waits.whom else phase, waited, 0)
        time.sleep(0.5)
        waited += 1
    return True


def wait_for_lock(
    connection: Connection[Any], name: str, phase: str, on_progress: Progress, patience: float = math.inf
) -> bool:
    """Take a lock of ops for this session; False where patience (seconds) ends before."""
    return acquire_with_retry(
        partial(locks.try_lock, connection, name), phase, on_progress, patience, partial(locks.holder, connection, name)
    )


def wait_for_publishes(connection: Connection[Any], relation: Relation, on_progress: Progress) -> None:
    """Keep everybody from publishing into a table for the rest of this session, after who does so just now."""

    def take() -> bool:
        try:
            locks.lock_against_publishes(connection, relation)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    acquire_with_retry(take, f"waiting for a publish into {relation}", on_progress)


def outlast_snapshots(connection: Connection[Any], done: str, on_progress: Progress, patience: float) -> None:
    """Wait for the transactions that began before now: they would find the table empty that is swapped under them.

    Raises WarehouseError where patience (seconds) ends; `done` is what then was not done to the table.
    """
    then = snapshots.open_snapshots(connection)
    phase = "waiting for transactions with older snapshots"

    def holders() -> str:
        return "; ".join(map(str, snapshots.still_open(connection, then)[:NAMED]))

    if not acquire_with_retry(
        lambda: not snapshots.still_open(connection, then), phase, on_progress, patience, holders
    ):
        raise WarehouseError(
            f"A transaction has held a snapshot for {patience:.0f} seconds that is older than the build ({holders()}), "
            f"so it was not {done}: end that transaction (see pg_stat_activity), and run again."
        )


def retry_on_lock(change: Callable[[], T], done: str, on_progress: Progress, patience: float) -> T:
    """Change a table in a transaction with LOCK_TIMEOUT, and come again while readers hold it.

    Raises WarehouseError where patience (seconds) ends; `done` is what then was not done to the table.
    """
    deadline, attempt, waits = time.monotonic() + patience, 0, Waits("waiting for a reader to finish")
    while True:
        try:
            return change()
        except _GIVE_WAY as error:
            waits(partial(_first_line, error))
            attempt += 1
            pause = min(0.2 * 2**attempt, 5.0)
            if time.monotonic() + pause > deadline:
                raise WarehouseError(
                    f"A reader has held the table for {patience:.0f} seconds, so it was not {done} "
                    f"({_first_line(error)}): end that query (see pg_stat_activity), and run again."
                ) from None
            on_progress("waiting for a reader to finish", attempt, 0)
            time.sleep(pause)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
