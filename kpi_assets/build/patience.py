"""Patience: waiting for one's turn under a lock, and giving way to readers of a table that must change under them.

Not here: the locks themselves (warehouse/locks.py).
"""

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.build.context import Progress
from kpi_assets.warehouse import snapshots
from kpi_assets.warehouse.connection import WarehouseError

T = TypeVar("T")
NAMED = 3  # transactions that one sentence names
LOCK_TIMEOUT = "2s"  # readers queue behind who waits for their table, so it gives way after that and comes again
_GIVE_WAY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


def wait_for_turn(take: Callable[[], bool], phase: str, on_progress: Progress, patience: float = math.inf) -> bool:
    """Take a lock as soon as nobody has it; False where patience (seconds) ends before."""
    deadline, waited = time.monotonic() + patience, 0
    while not take():
        if time.monotonic() >= deadline:
            return False
        on_progress(phase, waited, 0)
        time.sleep(0.5)
        waited += 1
    return True


def outlast_snapshots(connection: Connection[Any], done: str, on_progress: Progress, patience: float) -> None:
    """Wait for the transactions that began before now: they would find the table empty that is swapped under them.

    Raises WarehouseError where patience (seconds) ends; `done` is what then was not done to the table.
    """
    then = snapshots.held(connection)
    phase = "waiting for transactions with older snapshots"
    if not wait_for_turn(lambda: not snapshots.still_held(connection, then), phase, on_progress, patience):
        holders = "; ".join(map(str, snapshots.still_held(connection, then)[:NAMED]))
        raise WarehouseError(
            f"A transaction has held a snapshot for {patience:.0f} seconds that is older than the build ({holders}), "
            f"so it was not {done}: end that transaction (see pg_stat_activity), and run again."
        )


def give_way(change: Callable[[], T], done: str, on_progress: Progress, patience: float) -> T:
    """Change a table in a transaction with LOCK_TIMEOUT, and come again while readers hold it.

    Raises WarehouseError where patience (seconds) ends; `done` is what then was not done to the table.
    """
    deadline, attempt = time.monotonic() + patience, 0
    while True:
        try:
            return change()
        except _GIVE_WAY as error:
            attempt += 1
            pause = min(0.2 * 2**attempt, 5.0)
            if time.monotonic() + pause > deadline:
                raise WarehouseError(
                    f"A reader has held the table for {patience:.0f} seconds, so it was not {done} "
                    f"({str(error).splitlines()[0]}): end that query (see pg_stat_activity), and run again."
                ) from None
            on_progress("waiting for a reader to finish", attempt, 0)
            time.sleep(pause)
