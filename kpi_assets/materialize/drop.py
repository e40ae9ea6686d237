"""Drops a table with all its load_dates, for example when its file was removed or declares another storage.

The ledger keeps its publishes and marks them as removed. If the table has a file, all its load_dates are due again.
Not here: dropping rows because of their age (retention.py).
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
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock, wait_for_snapshots
from kpi_assets.model.names import DECISIONS, Relation
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.ddl import owner_of

READER_TIMEOUT = 60.0  # seconds to wait for readers of the table


@dataclass(frozen=True)
class PublishedTable:
    """A published table, with the number, the first, the last and the rows of its load_dates in the ledger."""

    asset: str
    load_dates: int
    first: date
    last: date
    rows: int

    def __str__(self) -> str:
        days = f"{self.load_dates} load_dates from {self.first} to {self.last}"
        return f"{self.asset} ({days if self.load_dates > 1 else self.first}, {self.rows:,} rows)"


def published_tables(connection: Connection[Any]) -> list[PublishedTable]:
    """List every table that has a published load_date, ordered by name; decisions are no table."""
    with connection.cursor(row_factory=class_row(PublishedTable)) as cursor:
        return cursor.execute(
            "select asset, count(*) as load_dates, min(load_date) as first, max(load_date) as last, "
            "sum(rows)::bigint as rows from ops.published where split_part(asset, '.', 1) <> %s "
            "group by asset order by asset",
            [DECISIONS],
        ).fetchall()


def orphans(connection: Connection[Any], described: Collection[Relation]) -> list[PublishedTable]:
    """List the published tables that no file describes."""
    names = {str(relation) for relation in described}
    return [table for table in published_tables(connection) if table.asset not in names]


def drop_table(server: SecretStr, database: str, relation: Relation, on_progress: Progress) -> None:
    """Drop a table, its `_latest` view and its held candidates, and record that in the ledger.

    Raises DefinitionError if a user's view depends on the table, and WarehouseError if a reader holds the table for
    longer than READER_TIMEOUT.
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

        wait_for_snapshots(connection, "dropped", on_progress, READER_TIMEOUT)
        retry_on_lock(change, "dropped", on_progress, READER_TIMEOUT)
