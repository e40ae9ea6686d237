"""Values that a person wrote, as SQL of the type of their column.

Not here: the values of a header (model/checks/sql_text.py).
"""

from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.errors import UsageError
from kpi_assets.model.excerpt import cut
from kpi_assets.model.table import Table


def typed(connection: Connection[Any], table: Table, column: str, value: str, type_: str) -> sql.Composable:
    """Return a value as SQL of its column's type. Raises UsageError if it is none."""
    try:
        made = sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(type_))
        with connection.transaction():
            connection.execute(sql.SQL("select {}").format(made))
    except (psycopg.DataError, UnicodeEncodeError):
        raise UsageError(
            f"{cut(value)!r} is not a value of {column!r} of {table.relation}, which is {type_}: correct it."
        ) from None
    return made
