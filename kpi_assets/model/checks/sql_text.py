"""Parts of the SQL of checks: constants and conditions as text.

Not here: the queries that are put together from them (the families of checks).
"""

import math
from collections.abc import Iterable, Sequence

from psycopg import sql

from kpi_assets.model.field_types import Value
from kpi_assets.model.names import quoted


def literal(value: Value) -> str:
    """A constant of a header as SQL; percent signs doubled, since queries are executed with parameters."""
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)  # without a type of its own: that of what it is compared with
    return sql.Literal(value).as_string(None).strip().replace("%", "%%")


def all_known(columns: Iterable[str]) -> str:
    """That none of the columns is null, as SQL."""
    return " and ".join(f"{quoted(column)} is not null" for column in columns)


def any_null(columns: Iterable[str]) -> str:
    """That one of the columns is null, as SQL."""
    return " or ".join(f"{quoted(column)} is null" for column in columns)


def counted(key: Sequence[str]) -> str:
    """How many rows share a key, under a name that is none of its columns'."""
    return "count(*) as rows" if "rows" not in key else 'count(*) as "number of rows"'
