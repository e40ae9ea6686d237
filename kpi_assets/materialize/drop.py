"""Dropping a table with all its load_dates: one that no file describes any more, or whose file says another storage.

The ledger keeps what was published, marked as removed: where there is a file, everything of it is to be built again.
Not here: rows that are dropped for their age (retention.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import SecretStr

from kpi_assets.ledger import incidents, publishes
from kpi_assets.ledger.locks import lock_publish
from kpi_assets.materialize.context import Progress
from kpi_assets.materialize.retry import LOCK_TIMEOUT, outlast_snapshots, retry_on_lock
from kpi_assets.model.names import Relation
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.ddl import owner_of

PATIENCE = 60.0  # seconds for readers of the table


@dataclass(frozen=True)
class PublishedTable:
    """A table as the ledger has it: how many load_dates are published, from which to which, and their rows."""

    asset: str
    load_dates: int
    first: date
    last: date
    rows: int

    def __str__(self) -> str:
        days = f"{self.load_dates} load_dates from {self.first} to {self.last}"
        return f"{self.asset} ({days if self.load_dates > 1 else self.first}, {self.rows:,} rows)"


def published_tables(connection: Connection[Any]) -> list[PublishedTable]:
    """Every table of which something is published, by its name."""
    with connection.cursor(row_factory=class_row(PublishedTable)) as cursor:
        return cursor.execute(
            "select asset, count(*) as load_dates, min(load_date) as first, max(load_date) as last, "
            "sum(rows)::bigint as rows from ops.published group by asset order by asset"
        ).fetchall()


def orphans(connection: Connection[Any], described: Collection[Relation]) -> list[PublishedTable]:
    """The published tables that no file describes."""
    names = {str(relation) for relation in described}
    return [table for table in published_tables(connection) if table.asset not in names]


def drop_table(server: SecretStr, database: str, relation: Relation, on_progress: Progress) -> None:
    """Drop a table, its `_latest` view and its held builds, and write in the ledger that it is gone.

    Raises DefinitionError where somebody's view stands on it, and WarehouseError where a reader keeps it.
    """
    with connect(server, database, "drop") as connection:
        role = owner_of(connection, relation)
    with connect(server, database, f"drop {relation}", role=role) as connection:

        def change() -> None:
            with connection.transaction():
                incidents.await_turn(connection)
                connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                lock_publish(connection, relation)
                tables.drop(connection, relation)
                publishes.record_removal(connection, relation)
                incidents.close_of_table(connection, relation)

        outlast_snapshots(connection, "dropped", on_progress, PATIENCE)
        retry_on_lock(change, "dropped", on_progress, PATIENCE)
