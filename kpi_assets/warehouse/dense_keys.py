"""Keys of whole numbers that leave out no number between their ends: a value between the ends is there, and no other.

Not here: which keys are asked for (materialize/check_facts.py), and what a check makes of them (model/checks/keys.py).
"""

from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE


def dense_key_range(
    connection: Connection[Any], relation: sql.Composable, column: str, load_date: date, rows: int
) -> tuple[int, int] | None:
    """The lowest and highest value of a key of whole numbers that is unique in `rows` rows, if it has all between."""
    row = connection.execute(
        sql.SQL("select min({column}), max({column}) from {} where {} = {}").format(
            relation, sql.Identifier(LOAD_DATE), sql.Literal(load_date), column=sql.Identifier(column)
        )
    ).fetchone()
    return row if row and row[0] is not None and row[1] - row[0] + 1 == rows else None
