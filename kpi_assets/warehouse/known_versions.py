"""Reads the versions of a history as they were known on a day, with the columns that the history adds.

Belongs here: what readers of one table see of its versions. Not here: the subquery of what is known, which SELECTs read
too (model/history.py), the rows of a load_date without the columns of versions (content.py), and folds (versions.py).
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.column import Column
from kpi_assets.model.history import HistoryRead, version_columns
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.table import Table
from kpi_assets.warehouse.kinds import stored_strategy


def is_history(connection: Connection[Any], table: Table) -> bool:
    """Return whether a table is stored as a history and its file still says so."""
    stored = stored_strategy(connection, table.relation, declared=table.storage.name)
    return table.header.history is not None and stored is not None and stored.kind.keeps_versions


def version_types(table: Table, types: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of the versions whose rows have these columns: name -> type, in the order of the table."""
    assert table.header.history is not None
    key, *others = version_columns(table.header.history, table.header.grain).items()
    added = {name: column.type for name, column in others}
    return {key[0]: key[1].type, **types, **added}


def known_versions(
    table: Table,
    types: Mapping[str, str],
    load_date: date,
    source: sql.Composable | None = None,
    *,
    ended: bool = False,
) -> sql.Composable:
    """Return the versions that held on a day as they were known then, as a subquery for FROM without an alias.

    `types` are the columns of the rows, and `source` is a subquery that is read in the place of the table. With
    `ended`, also those that had ended.
    """
    assert table.header.history is not None
    columns = {name: Column(type=type_, description="A column.") for name, type_ in types.items()}
    stored = source.as_string() if source else None
    read = HistoryRead.of(table.relation, table.header.history, table.header.grain, columns, stored)
    day = sql.Literal(load_date).as_string()
    return sql.SQL((read.versions if ended else read.rows).replace(f"%({LOAD_DATE})s", day))
