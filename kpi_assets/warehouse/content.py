"""What is stored of the load_dates that the ledger calls published: whether it is there, and its checksum.

Belongs here: reading the stored rows. Not here: what the ledger says about them (ledger/publishes.py), and what follows
where the two differ (plan/, materialize/recheck.py, doctor/).
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse.checksum import checksum_of
from kpi_assets.warehouse.kinds import stored_strategy, strategy_of


def lost(connection: Connection[Any], table: Table, load_dates: Collection[date]) -> set[date]:
    """Those of the load_dates, published with at least one row, of which nothing is stored any more.

    The rows of a view lie in its origin, so a view has lost all load_dates or none. Rows are found by an index.
    """
    stored = stored_strategy(connection, table.relation, declared=table.storage.name)
    if stored is None:
        return set(load_dates)
    return stored.find_lost(connection, table.relation, load_dates) if load_dates else set()


def published_rows(connection: Connection[Any], table: Table, load_date: date) -> sql.Composable:
    """The rows that are stored of a load_date, as a subquery for FROM without an alias.

    They are read as they are stored, also where the file now declares another storage.
    """
    stored = stored_strategy(connection, table.relation, declared=table.storage.name) or strategy_of(table)
    return stored.rows_of(table.relation, load_date)


def rows_and_checksum(
    connection: Connection[Any], table: Table, load_date: date, columns: Mapping[str, str]
) -> tuple[int, str]:
    """The rows that are stored of a load_date, and their checksum over the columns with which they were published."""
    row = connection.execute(
        sql.SQL("select count(*), {} from {} as t").format(
            sql.SQL(checksum_of(columns)), published_rows(connection, table, load_date)
        )
    ).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
