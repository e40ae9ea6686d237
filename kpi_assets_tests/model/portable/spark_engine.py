"""Spark SQL text for tables of Postgres' types: literals and views. Not here: starting Spark, and the tests."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kpi_assets.model.portable.types import declared


def name_of(type_: str) -> str:
    """Return what Spark calls a type of Postgres' catalog; a type that is not portable is a string."""
    found = declared(type_)
    return found.on("spark").sql("spark").lower() if found else "string"


def literal(value: Any, type_: str) -> str:
    """Return a value as SQL."""
    to = name_of(type_)
    if value is None:
        return f"cast(null as {to})"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, Decimal)):
        return f"cast('{value}' as {to})"
    if isinstance(value, datetime):
        return f"timestamp_ntz '{value}'"
    if isinstance(value, date):
        return f"date '{value}'"
    text = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{text}'"


def view(name: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the statement that makes a view of these rows, which ends with the session."""
    names = ", ".join(f"`{column}`" for column in types)
    if not rows:
        nothing = ", ".join(f"cast(null as {name_of(type_)}) as `{column}`" for column, type_ in types.items())
        return f"create or replace temporary view {name} as select {nothing} where false"
    values = ", ".join(f"({', '.join(map(literal, row, types.values()))})" for row in rows)
    return f"create or replace temporary view {name} as select * from values {values} as v({names})"
