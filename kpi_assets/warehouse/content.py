"""Reads the stored rows of published load_dates: whether they exist, and their checksum.

Belongs here: reading the stored rows. Not here: the ledger's record of them (ledger/publishes.py), and the consequences
of a difference (plan/, materialize/recheck.py, doctor/).
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse.checksum import checksum_of
from kpi_assets.warehouse.ddl import identifier
from kpi_assets.warehouse.kinds import stored_strategy, strategy_of
from kpi_assets.warehouse.kinds.strategy import StorageStrategy


def find_lost(connection: Connection[Any], table: Table, load_dates: Collection[date]) -> set[date]:
    """Return those of the load_dates that have no stored rows; each was published with at least one row.

    A view stores no rows: it has lost all load_dates if the view itself is gone, and otherwise none. Of a table on the
    lake nothing is known here: whoever reads a snapshot notices that it is gone.
    """
    if table.storage.in_lake:
        return set()
    stored = stored_strategy(connection, table.relation, declared=table.storage.name)
    if stored is None:
        return set(load_dates)
    return stored.find_lost(connection, table.relation, load_dates) if load_dates else set()


def published_rows(
    connection: Connection[Any], table: Table, load_date: date, source: sql.Composable | None = None
) -> sql.Composable:
    """Return the stored rows of a load_date, as a subquery for FROM without an alias.

    They are read from where they are stored, even if the file now declares another storage; or from `source`, a
    subquery with the same columns.
    """
    stored = stored_strategy(connection, table.relation, declared=table.storage.name) or strategy_of(table)
    return stored.rows_of(source or identifier(table.relation), load_date)


def rows_and_checksum(
    connection: Connection[Any], table: Table, load_date: date, columns: Mapping[str, str]
) -> tuple[int, str]:
    """Return the number of stored rows of a load_date and their checksum over `columns`, those of the publish."""
    stored = stored_strategy(connection, table.relation, declared=table.storage.name) or strategy_of(table)
    return _count_and_sum(connection, stored, columns, stored.rows_of(identifier(table.relation), load_date))


def kept_rows_and_checksum(
    connection: Connection[Any], table: Table, kept: Relation, columns: Mapping[str, str]
) -> tuple[int, str]:
    """Return the number of rows that are kept aside in a table, and their checksum as that of published rows."""
    return _count_and_sum(connection, strategy_of(table), columns, identifier(kept))


def _count_and_sum(
    connection: Connection[Any], stored: StorageStrategy, columns: Mapping[str, str], rows: sql.Composable
) -> tuple[int, str]:
    checksum = checksum_of(columns, bitwise=stored.kind.keeps_versions)
    row = connection.execute(sql.SQL("select count(*), {} from {} as t").format(sql.SQL(checksum), rows)).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
