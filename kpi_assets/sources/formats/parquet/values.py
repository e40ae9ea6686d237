"""The types of Parquet and of Postgres: which fit each other, and how values get from one to the other.

A value reaches Postgres as it is in the object, or its record is set aside: nothing is rounded, cut or guessed.
Belongs here: the values of one column. Not here: the object and its rows (__init__.py), and the reasons for which a
value is refused (model/written.py).
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from kpi_assets.sources.formats.base import UnprovenError

_EPOCH = date(1970, 1, 1).toordinal()
_DAYS = (date.min.toordinal() - _EPOCH, date.max.toordinal() - _EPOCH)
_SCALED = re.compile(r"numeric\(\d+,(\d+)\)")
_MICROSECONDS = 86_400_000_000  # of a day


class Target(NamedTuple):
    """A column of Postgres that values are read for."""

    type: str
    allow: tuple[str, ...] = ()  # the words of `allow`
    is_rounded: bool = False  # by the word `round`


class Reading(NamedTuple):
    """How the values of an Arrow type are read."""

    accepted: tuple[str, ...]  # the types of Postgres that they fit, without length and scale
    prepare: Callable[[pa.Array, Target], pa.Array]  # makes values for the writers of rows


def _as_is(values: pa.Array, _target: Target) -> pa.Array:
    return values


def _texts(values: pa.Array, target: Target) -> pa.Array:
    """Refuse what the written form of a text with a length refuses; Postgres would cut blanks from its end."""
    values = values.cast(pa.large_string())
    if target.type.startswith("character"):
        _refuse(pc.or_(pc.starts_with(values, " "), pc.ends_with(values, " ")))
    return values


def _decimals(values: pa.Array, target: Target) -> pa.Array:
    scale = _SCALED.fullmatch(target.type)
    if not scale or values.type.scale <= int(scale[1]):
        return values
    return pc.round(values, int(scale[1]), "half_to_even")


def _floats(values: pa.Array, target: Target) -> pa.Array:
    if "nan" not in target.allow:
        _refuse(pc.is_nan(values))
    if "infinity" not in target.allow:
        _refuse(pc.is_inf(values))
    return _widened(values, target.type)


def _widened(values: pa.Array, type_: str) -> pa.Array:
    """A float of 32 bits has the same value in 64 bits, but not the same digits."""
    return values.cast(pa.float32() if type_ == "real" else pa.float64())


def _dates(values: pa.Array, _target: Target) -> pa.Array:
    return _within(values.cast(pa.date32()), pa.int32(), *_DAYS)


def _timestamps(values: pa.Array, _target: Target) -> pa.Array:
    values = values.cast(pa.timestamp("us", "UTC" if values.type.tz else None))
    return _within(values, pa.int64(), _DAYS[0] * _MICROSECONDS, (_DAYS[1] + 1) * _MICROSECONDS - 1)


def _times(values: pa.Array, _target: Target) -> pa.Array:
    return values.cast(pa.time64("us"))


def _within(values: pa.Array, number: pa.DataType, lowest: int, highest: int) -> pa.Array:
    """Readers of a database cannot show dates outside the years 1 to 9999."""
    numbers = values.cast(number)
    _refuse(pc.or_(pc.less(numbers, lowest), pc.greater(numbers, highest)))
    return values


def _refuse(bad: pa.Array) -> None:
    if pc.any(bad, min_count=0).as_py():
        raise UnprovenError


def _decoded(values: pa.Array, target: Target) -> pa.Array:
    values = values.dictionary_decode()
    return known(values.type).prepare(values, target)


def _lists(values: pa.Array, target: Target) -> pa.Array:
    known(values.type.value_type).prepare(values.flatten(), Target(target.type.removesuffix("[]")))
    return _arrays(values, target.type)


_TEXTS = Reading(("text", "character varying", "character", "uuid", "jsonb"), _texts)
_READINGS: tuple[tuple[Callable[[pa.DataType], bool], Reading], ...] = (
    (types.is_boolean, Reading(("boolean",), _as_is)),
    (types.is_integer, Reading(("bigint", "integer", "smallint", "numeric"), _as_is)),
    (types.is_float64, Reading(("double precision",), _floats)),
    (types.is_floating, Reading(("real", "double precision"), _floats)),
    (types.is_decimal, Reading(("numeric",), _decimals)),
    (types.is_date, Reading(("date",), _dates)),
    (types.is_time, Reading(("time without time zone",), _times)),
    (types.is_null, Reading((), _as_is)),
    *((each, _TEXTS) for each in (types.is_string, types.is_large_string, types.is_string_view)),
    *((each, _TEXTS) for each in (types.is_binary, types.is_large_binary, types.is_binary_view)),
)


def reading_of(type_: pa.DataType) -> Reading | None:
    """Return how values of an Arrow type are read; None if they cannot be."""
    if types.is_timestamp(type_):
        zone = "with" if type_.tz else "without"
        return Reading((f"timestamp {zone} time zone",), _timestamps)
    if types.is_dictionary(type_):
        inner = reading_of(type_.value_type)
        return inner and inner._replace(prepare=_decoded)
    if types.is_list(type_) or types.is_large_list(type_):
        inner = reading_of(type_.value_type)
        return inner and Reading(tuple(f"{each}[]" for each in inner.accepted), _lists)
    return next((reading for is_type, reading in _READINGS if is_type(type_)), None)


def known(type_: pa.DataType) -> Reading:
    """Return how values of an Arrow type are read that was compared with its column."""
    reading = reading_of(type_)
    assert reading is not None, "misfit() refused it"
    return reading


def misfit(found: pa.DataType, target: Target) -> str:
    """Return why a column of Parquet does not fit its column in Postgres, and what to do; empty if it does."""
    reading, declared = reading_of(found), target.type
    if reading is None:
        return f"is {found}, which no column can hold: write its parts as columns of their own, or as a text of JSON"
    if not types.is_null(found) and re.sub(r"\(.*?\)", "", declared) not in reading.accepted:
        return f"is {found}, not {declared}: declare it as {reading.accepted[0]}, and cast it in staging"
    item, scale = _item_type(found), _SCALED.fullmatch(declared.removesuffix("[]"))
    if scale and types.is_decimal(item) and item.scale > int(scale[1]) and not target.is_rounded:
        if declared.endswith("[]"):
            return f"is {found}, whose decimals {declared} would round: declare numeric[], and round it in staging"
        return (
            f"is {found}, whose decimals {declared} would round: declare numeric with {item.scale} decimals, or round"
        )
    return ""


def _item_type(found: pa.DataType) -> pa.DataType:
    """Return the type of single values: that of the elements of a list, or of what a dictionary holds."""
    while types.is_dictionary(found) or types.is_list(found) or types.is_large_list(found):
        found = found.value_type
    return found


def texts(values: pa.Array, type_: str) -> Iterator[str | None]:
    """Yield the values of one column of a type of Postgres as texts. Raises pa.ArrowInvalid if one is no text."""
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_list(values.type) or types.is_large_list(values.type):
        values = _arrays(values, type_)
    if types.is_floating(values.type):
        values = _widened(values, type_)
    if types.is_timestamp(values.type) and values.type.tz:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    yield from values.cast(pa.large_string()).to_pylist()


def _arrays(values: pa.Array, type_: str) -> pa.Array:
    """Write lists as arrays of Postgres. Each item is in quotes, so that no text is read as NULL."""
    items = texts(values.flatten(), type_.removesuffix("[]"))
    lengths = pc.list_value_length(values).to_pylist()
    found = [None if length is None else ",".join(map(_item, islice(items, length))) for length in lengths]
    return pa.array([None if each is None else f"{{{each}}}" for each in found], pa.large_string())


def _item(text: str | None) -> str:
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
