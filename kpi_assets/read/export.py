"""Rows for other programs: CSV and JSON with exactly the stored values, made from the texts that PostgreSQL returns.

The command, the API and questions write rows with it. Belongs here: how values are written. Not here: which rows
(rows.py, breakdown.py), tables for people (cli/terminal.py), and JSON with exact numbers (surface/api/exact.py).
"""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal

from kpi_assets.model.column_types import FLOATS, TEXTS, base_of
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.printable import strict_json

Row = Sequence[str | None]
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are full-width forms
CONTROLS = ("\t", "\r", "\n")  # a spreadsheet may begin a new cell after them
WITH_TEXT = (*TEXTS, "json", "jsonb")
DIGITS = 4000  # an integer with fewer digits is below the limit of Python's int()


def as_csv(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return the rows as CSV by RFC 4180, in UTF-8. NULL is an empty field, and an empty text is two quotes."""
    return csv_lines([columns]) + csv_lines(rows)


def csv_lines(rows: Iterable[Row]) -> bytes:
    """Return rows as lines of such a file, without the names of the columns."""
    return "".join(",".join(map(_field, row)) + "\r\n" for row in rows).encode()


def _field(value: str | None) -> str:
    if value is None:
        return ""
    # A field \. alone on a line would end the file for some readers.
    if value in {"", "\\."} or any(letter in value for letter in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def as_json(columns: Sequence[str], types: Sequence[str], rows: Iterable[Row]) -> str:
    """Return the rows as a list of objects, in strict JSON.

    Integers, floats, booleans, json, jsonb and NULL have their JSON types. A value that a reader might round, or for
    which JSON has no type, such as a numeric, a date or NaN, is the text that PostgreSQL prints.
    """
    objects = [
        {name: json_value(type_, text) for name, type_, text in zip(columns, types, row, strict=True)} for row in rows
    ]
    return strict_json(objects, indent=2)


def json_value(type_: str, text: str | None) -> object:
    """Return a value as `as_json` writes it."""
    if text is None:
        return None
    if type_ in KEY_TYPES:
        return int(text)
    if type_ == "boolean":
        return text == "true"
    if type_ in ("json", "jsonb"):
        return json.loads(text, parse_float=_exact, parse_int=_exact_int)
    return float(text) if type_ in FLOATS else text


def _exact_int(text: str) -> int | str:
    return int(text) if len(text) < DIGITS else text


def _exact(text: str) -> float | str:
    """Return a number of a json or jsonb value, as text if a float would round it."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else text


def without_formulas(types: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    """Return the rows with a ' before each text that a spreadsheet would execute."""
    return [
        [
            _harmless(text) if text and base_of(type_) in WITH_TEXT else text
            for type_, text in zip(types, row, strict=True)
        ]
        for row in rows
    ]


def _harmless(text: str) -> str:
    executes = text.startswith(CONTROLS) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if executes else text
