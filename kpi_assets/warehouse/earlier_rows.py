"""The rows of an earlier load_date of a history, for a check that compares the build with them.

Belongs here: the subquery that reads them, and the types in which both can be compared. Not here: the comparison
(model/checks/changed_keys.py).
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
    """Return the rows of a published load_date of a history; None if its table is gone.

    Those of the latest load_date are the versions that have not ended, which an index finds however long the history
    is. A value of the build and one of the versions are compared in a type that holds both, or as texts.
    """
    stored = types_of(connection, table.relation)
    if not stored:
        return None
    day = sql.SQL("{}::date").format(sql.Literal(load_date))
    rows = current_rows(table.relation, day) if is_latest else rows_on(identifier(table.relation), day)
    types = {name: common_type(type_, stored[name]) or "text" for name, type_ in table.types.items() if name in stored}
    return Earlier(load_date, rows.as_string(connection), types)
