"""Files of tables written anew after an erasure, once no transaction sees the rows any more that are gone.

As long as one sees them, `vacuum full` copies them to the new file.
Belongs here: the waits, for rows and for locks. Not here: the statements (warehouse/files_anew.py), and which tables
(materialize/erase.py, instance/dagster_tables.py).
"""

from collections.abc import Collection
from functools import partial
from typing import Any

from psycopg import Connection

from kpi_assets.materialize.context import Progress
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock, wait_for_snapshots
from kpi_assets.model.names import Relation
from kpi_assets.warehouse import files_anew

DONE = "written anew"
STATISTICS = "pg_catalog.pg_statistic"


def wait_for_rows(connection: Connection[Any], on_progress: Progress, timeout: float) -> None:
    """Wait until no transaction sees rows that are gone now. Raises WarehouseError after `timeout` seconds."""
    wait_for_snapshots(connection, DONE, on_progress, timeout, ours=True)


def write_anew(
    connection: Connection[Any],
    relations: Collection[Relation],
    on_progress: Progress,
    timeout: float,
    *,
    full: bool = True,
) -> list[str]:
    """Write the files of tables anew; return those that this user may not.

    Without `full`, only the statistics of their rows are. Raises WarehouseError if readers hold a table for longer than
    `timeout` seconds.
    """
    connection.execute("select set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    return [
        str(each)
        for each in relations
        if not retry_on_lock(partial(files_anew.write_anew, connection, each, full=full), DONE, on_progress, timeout)
    ]


def write_statistics_anew(connection: Connection[Any], on_progress: Progress, timeout: float) -> list[str]:
    """Write the statistics of the planner anew, as `write_anew` does tables: they hold values of rows."""
    connection.execute("select set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    done = retry_on_lock(partial(files_anew.statistics_anew, connection), DONE, on_progress, timeout)
    return [] if done else [STATISTICS]
