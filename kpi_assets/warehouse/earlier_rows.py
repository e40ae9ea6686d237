"""The rows of an earlier load_date, for a check that compares the build with them.

Belongs here: the subquery that reads them, and the types in which both can be compared. Not here: the comparison
(model/checks/).
"""

from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.checks.base import Earlier
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.shape import common_type
from kpi_assets.warehouse.versions import current_rows, rows_on


def rows_before(connection: Connection[Any], table: Table, load_date: date, *, is_latest: bool) -> Earlier | None:
    """Return the rows of a published load_date; None if the table is gone.

    Of a history, those of the latest load_date are the versions that have not ended, which an index finds however long
    the history is. A value of the build and one of the versions are compared in a type that holds both, or as texts.
    """
    stored = types_of(connection, table.relation)
    if not stored:
        return None
    day = sql.SQL("{}::date").format(sql.Literal(load_date))
    rows: sql.Composable
    if not table.header.history:
        rows = sql.SQL("(select * from {} where load_date = {})").format(identifier(table.relation), day)
    elif is_latest:
        rows = current_rows(table.relation, day)
    else:
        rows = rows_on(identifier(table.relation), day)
    types = {name: common_type(type_, stored[name]) or "text" for name, type_ in table.types.items() if name in stored}
    return Earlier(load_date, rows.as_string(connection), types)
