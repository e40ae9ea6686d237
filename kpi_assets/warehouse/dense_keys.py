"""Dense keys: integer keys without gaps, for which a foreign key check is a comparison with the lowest and the highest.

Not here: which keys are looked up (materialize/check_facts.py), and their use in a check (model/checks/keys.py).
"""

from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE


def dense_key_range(
    connection: Connection[Any], relation: sql.Composable, column: str, load_date: date, rows: int
) -> tuple[int, int] | None:
    """Return the lowest and highest value of an integer key if it has no gaps; else None.

    The key is unique in the `rows` rows of the load_date, so it has no gaps if the range has as many values.
    """
    row = connection.execute(
        sql.SQL("select min({column}), max({column}) from {} where {} = {}").format(
            relation, sql.Identifier(LOAD_DATE), sql.Literal(load_date), column=sql.Identifier(column)
        )
    ).fetchone()
    return row if row and row[0] is not None and row[1] - row[0] + 1 == rows else None
