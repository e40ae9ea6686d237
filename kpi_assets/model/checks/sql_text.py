"""Parts of the SQL of checks: constants and conditions as text.

Not here: the queries that are built from them (the families of checks).
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from kpi_assets.model.field_types import Value
from kpi_assets.model.names import quoted


def literal(value: Value) -> str:
    """Return a constant of a header as SQL, with percent signs doubled, since queries are executed with parameters."""
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)  # as text, which takes the type of the column that it is compared with
    return sql.Literal(value).as_string(None).strip().replace("%", "%%")


def all_known(columns: Iterable[str]) -> str:
    """Return the SQL condition that none of the columns is null."""
    return " and ".join(f"{quoted(column)} is not null" for column in columns)


def any_null(columns: Iterable[str]) -> str:
    """Return the SQL condition that at least one of the columns is null."""
    return " or ".join(f"{quoted(column)} is null" for column in columns)


def count_name(key: Sequence[str]) -> str:
    """Return the name of the number of rows that share a key: one that no column of the key has."""
    return "rows" if "rows" not in key else "number of rows"


def counted(key: Sequence[str]) -> str:
    """Return the SQL for the number of rows that share a key."""
    return f"count(*) as {quoted(count_name(key))}"


def unlike_values(columns: Mapping[str, tuple[str, str, str]], there: str) -> str:
    """Return the SQL for a JSON object of the columns that differ: name -> its values, under `there` and `here`.

    Each column has the condition that it differs, its value there and its value here, as SQL.
    """
    values = ", ".join(
        f"('{name}', {differs}, to_jsonb({one}), to_jsonb({other}))" for name, (differs, one, other) in columns.items()
    )
    return (
        f"(select jsonb_object_agg(name, jsonb_build_object('{there}', there, 'here', here)) "
        f"from (values {values}) as each_column (name, differs, there, here) where differs)"
    )
