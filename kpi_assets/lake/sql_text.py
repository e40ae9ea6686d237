"""Spark SQL as text: names in backticks, and values as constants.

Parameters of Spark Connect fail within `not exists`, so values are written into the text. Each kind of value has its
form here, and no other kind is let through.
Not here: translating a SELECT (model/portable/), and what is made of these texts (statements.py, tables.py).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from sqlglot import TokenType, tokenize

from kpi_assets.model.portable.types import declared

_ESCAPED = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"})


def quoted(*names: str) -> str:
    """Return names as SQL.

    >>> quoted("kpi", "shop_stg", "a`b")
    '`kpi`.`shop_stg`.`a``b`'
    """
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def name_of(type_: str) -> str:
    """Return what Spark calls a portable type of Postgres' catalog.

    >>> name_of("numeric(10,2)"), name_of("timestamp without time zone"), name_of("smallint")
    ('decimal(10,2)', 'timestamp_ntz', 'smallint')
    """
    found = declared(type_)
    if found is None:
        raise ValueError(f"{type_} is not portable")
    return found.on("spark").sql("spark").lower().replace(" ", "")


def constant(value: Any) -> str:
    """Return a value as SQL.

    >>> constant("it's"), constant(3), constant([date(2025, 1, 31)])
    ("'it\\\\'s'", '3', "array(date '2025-01-31')")
    """
    if value is None:
        return "null"
    for kinds, written in _FORMS:
        if isinstance(value, kinds):
            return written(value)
    raise TypeError(f"no constant is made of a {type(value).__name__}")


def _array(values: Sequence[Any]) -> str:
    return f"array({', '.join(map(constant, values))})" if values else "array(cast(null as date))"


# A kind of values and its form; the first that fits counts, as a bool is an int, and a datetime a date.
_FORMS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (bool, lambda value: str(value).lower()),
    ((int, Decimal), str),
    (datetime, lambda value: f"timestamp_ntz '{value.isoformat(sep=' ')}'"),
    (date, lambda value: f"date '{value.isoformat()}'"),
    (str, lambda value: f"'{value.translate(_ESCAPED)}'"),
    ((list, tuple), _array),
)


def with_values(statement: str, values: Mapping[str, Any]) -> str:
    """Return a statement with the values of its parameters, `:name`, in their places.

    >>> with_values("select ':day', a from t where d = :day", {"day": date(2025, 1, 31)})
    "select ':day', a from t where d = date '2025-01-31'"
    """
    found = tokenize(statement, read="spark")
    made, end = [], 0
    for colon, name in pairwise(found):
        if colon.token_type == TokenType.COLON and name.start == colon.end + 1 and name.text in values:
            made += [statement[end : colon.start], constant(values[name.text])]
            end = name.end + 1
    return "".join([*made, statement[end:]])
