"""Types of portable values: what Postgres calls them, what an engine calls them, and which two have a common type.

A `numeric` always has its digits: an engine has no number of any length. A `quotient` is the result of a division,
whose digits after the point are chosen by Postgres for each value: it is portable only until it is rounded. Engines
hold it with 16 of them, or with 20 where the number that is divided leaves room for a `FINE` one. An
`unknown` is a constant in quotes, and `null` is NULL, which take the type of what they meet.
Not here: the types that a header may name (model/column_types.py).
"""

import re
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

Engine = Literal["spark", "duckdb"]
ENGINES: tuple[Engine, ...] = ("spark", "duckdb")
DIGITS = 38  # the most that an engine keeps
_INTEGERS = {"smallint": 5, "integer": 10, "bigint": 19}  # the digits of each
_SPARK = {"text": "string", "integer": "int", "timestamp without time zone": "timestamp_ntz"}
_DUCKDB = {"text": "varchar", "timestamp without time zone": "timestamp"}
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")


@dataclass(frozen=True)
class Type:
    """The type of a value. Numbers have `digits`, and numbers other than integers may have a `scale`."""

    base: str
    digits: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """The name of the type in Postgres' catalog."""
        return f"numeric({self.digits},{self.scale})" if self.base == "numeric" else self.base

    @property
    def is_integer(self) -> bool:
        """Whether it is smallint, integer or bigint."""
        return self.base in _INTEGERS

    @property
    def is_exact(self) -> bool:
        """Whether it is an integer or a numeric."""
        return self.is_integer or self.base == "numeric"

    @property
    def is_number(self) -> bool:
        """Whether it is a number, a quotient included."""
        return self.is_exact or self.is_quotient

    @property
    def is_quotient(self) -> bool:
        """Whether it is the result of a division that is not rounded."""
        return self.base == "quotient"

    @property
    def places(self) -> int:
        """The most places to which a quotient may be rounded."""
        return 12 if self == FINE else 6

    @property
    def whole(self) -> int:
        """The digits before the point."""
        return self.digits - self.scale

    def on(self, engine: Engine) -> exp.DataType:
        """Return the type of an engine that holds the same values."""
        if self.base in ("numeric", "quotient"):
            return exp.DataType.build(f"decimal({self.digits},{self.scale})", dialect=engine)
        names = _SPARK if engine == "spark" else _DUCKDB
        return exp.DataType.build(names.get(self.base, self.base), dialect=engine)


SMALLINT, INTEGER, BIGINT = (Type(name, digits) for name, digits in _INTEGERS.items())
BOOLEAN, TEXT, DATE, TIMESTAMP = map(Type, ("boolean", "text", "date", "timestamp without time zone"))
QUOTIENT, FINE = (Type("quotient", 36, scale) for scale in (16, 20))
UNKNOWN, NULL = map(Type, ("unknown", "null"))
_PLAIN = {str(each): each for each in (SMALLINT, INTEGER, BIGINT, BOOLEAN, TEXT, DATE, TIMESTAMP)}
PORTABLE = (*_PLAIN, "numeric(p,s) with p up to 38")  # for people


def numeric(digits: int, scale: int) -> Type:
    """Return a numeric of so many digits, of which `scale` are after the point; an engine has no more than 38.

    >>> str(numeric(45, 2))
    'numeric(38,2)'
    """
    return Type("numeric", min(DIGITS, digits), scale)


def declared(name: str) -> Type | None:
    """Return the type with a name of Postgres' catalog; None if it is not portable.

    >>> declared("numeric(10,2)"), declared("numeric"), declared("character varying(3)")
    (Type(base='numeric', digits=10, scale=2), None, None)
    """
    if found := _NUMERIC.fullmatch(name):
        digits, scale = map(int, found.groups())
        return Type("numeric", digits, scale) if digits <= DIGITS and scale <= digits else None
    return _PLAIN.get(name)


def as_numeric(type_: Type) -> Type:
    """Return the numeric that holds every value of an integer, or the numeric itself."""
    return Type("numeric", type_.digits, type_.scale)


def common(one: Type, other: Type) -> Type | None:
    """Return the type in which values of two types are compared, or in which one of the two is returned; None if none.

    >>> str(common(BIGINT, numeric(10, 2)))
    'numeric(21,2)'
    """
    for first, second in ((one, other), (other, one)):
        if (found := _taken(first, second)) is not None:
            return found
    if not (one.is_exact and other.is_exact):
        return None
    if one.is_integer and other.is_integer:
        return one if one.digits > other.digits else other
    scale, whole = max(one.scale, other.scale), max(one.whole, other.whole)
    return numeric(whole + scale, scale) if whole + scale <= DIGITS else None


def _taken(first: Type, second: Type) -> Type | None:
    """Return the second type if a value of the first is one of it too, without a change of digits."""
    same = first in (NULL, second)
    constant = first == UNKNOWN and not second.is_number
    wider = (first, second) in ((DATE, TIMESTAMP), (FINE, QUOTIENT)) or (first.is_exact and second.is_quotient)
    return second if same or constant or wider else None
