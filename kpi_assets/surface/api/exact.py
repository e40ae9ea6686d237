"""Writes answers as JSON whose numbers are exact: no value passes through a float.

A numeric is the JSON number that PostgreSQL prints, with all its digits; a reader who parses it as a decimal gets the
stored value. JSON has no NaN and no infinity: they are the texts `NaN`, `Infinity` and `-Infinity`, which PostgreSQL
prints too.

Belongs here: writing JSON. Not here: what is in an answer (answers.py), and JSON for the command (read/export.py), in
which a numeric is a text.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import singledispatch
from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema

from kpi_assets.model.column_types import NUMBERS, base_of

NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_SCHEMA = {
    "anyOf": [
        {"type": "number", "description": "All its digits: parse it as a decimal, not as a float."},
        {"type": "string", "enum": [*NOT_FINITE], "description": "Numbers that JSON cannot write."},
    ]
}
Exact = Annotated[Decimal, Field(allow_inf_nan=True), WithJsonSchema(_SCHEMA)]


def dumps(value: object) -> bytes:
    """Return an answer, or a part of one, as JSON in UTF-8."""
    return write(value).encode()


@singledispatch
def write(value: object) -> str:
    """Return a value as JSON text. Raises TypeError for a float and for any type that an answer has not."""
    if value is None:
        return "null"
    raise TypeError(f"An answer cannot have a {type(value).__name__}.")


@write.register
def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@write.register
def _integer(value: int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@write.register
def _day(value: date) -> str:
    return f'"{value.isoformat()}"'


@write.register
def _object(value: Mapping) -> str:  # type: ignore[type-arg]  # singledispatch knows no parameters
    return "{" + ",".join(f"{_text(str(name))}:{write(each)}" for name, each in value.items()) + "}"


@write.register(list)
@write.register(tuple)
def _list(value: Sequence[object]) -> str:
    return "[" + ",".join(map(write, value)) + "]"


@write.register
def _model(value: BaseModel) -> str:
    return _object({name: getattr(value, name) for name in type(value).model_fields})


@write.register
def number(value: Decimal) -> str:
    """Return a decimal as JSON.

    >>> number(Decimal("9.950000")), number(Decimal("1E+3")), number(Decimal("NaN"))
    ('9.950000', '1000', '"NaN"')
    """
    if value.is_finite():
        return f"{value:f}"
    return '"NaN"' if value.is_nan() else '"Infinity"' if value > 0 else '"-Infinity"'


def writer_of(type_: str) -> Callable[[str], str]:
    """Return what writes the text that PostgreSQL prints for a value of a type as JSON.

    Numbers, booleans, json and jsonb have their JSON types; everything else, such as a date, is a text.

    >>> writer_of("numeric(12,6)")("9.950000"), writer_of("boolean")("true"), writer_of("date")("infinity")
    ('9.950000', 'true', '"infinity"')
    """
    if base_of(type_) in NUMBERS:
        return _number_text
    if type_ in ("boolean", "json", "jsonb"):
        return str  # PostgreSQL prints JSON
    return _text


def _number_text(text: str) -> str:
    return f'"{text}"' if text in NOT_FINITE else text


def objects(columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[str | None]]) -> Iterator[str]:
    """Yield each row as a JSON object: column -> value."""
    names = [f"{_text(column)}:" for column in columns]
    writers = [writer_of(type_) for type_ in types]
    for row in rows:
        cells = zip(names, writers, row, strict=True)
        yield "{" + ",".join(f"{name}null" if text is None else name + put(text) for name, put, text in cells) + "}"
