"""The shape of a published table: the columns that its file declares, and those of load_dates published earlier.

A publish of one load_date must not change the rows of another. So a column that the file no longer declares stays until
no published load_date has it, and the type of a column holds the values of all load_dates.
Belongs here: planning the changes under this rule. Not here: executing them (alter.py).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from kpi_assets.model.column_types import ARRAY, TEXTS, base_of, element_of, length_of

# The most digits of an integer type, from the narrowest type to the widest.
_WHOLE = {"smallint": 5, "integer": 10, "bigint": 19}
_NUMERIC = re.compile(r"numeric(?:\((\d+),(\d+)\))?")
# (old, new): pairs of types of which the new one holds every value of the old one, and a cast gives it back.
_WIDER = {("real", "double precision"), ("date", "timestamp without time zone")}


@dataclass(frozen=True)
class Published:
    """Load_dates that were published with the same columns (name -> type)."""

    columns: Mapping[str, str]
    first: date
    last: date
    count: int

    @property
    def load_dates(self) -> str:
        """The load_dates in words: `2025-03-01`, or `3 load_dates from 2025-03-01 to 2025-03-09`."""
        return str(self.first) if self.count == 1 else f"{self.count} load_dates from {self.first} to {self.last}"


@dataclass(frozen=True)
class Changes:
    """The changes that a stored table needs before a build; `drop` lists columns that no load_date needs."""

    add: Mapping[str, str] = field(default_factory=dict)
    retype: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.retype or self.drop)


class UnlikeTypesError(Exception):
    """No type holds the values of both the declared and a published type; the message is a clause, not a sentence."""


def plan_changes(stored: Mapping[str, str], declared: Mapping[str, str], others: Iterable[Published]) -> Changes:
    """Plan the changes that let a table with the `stored` columns take a build with the `declared` columns.

    `others` are the load_dates whose rows stay. While one of them has a wider type than the file declares, the table
    keeps that type. Raises UnlikeTypesError.
    """
    wanted, needed = dict(declared), set[str]()
    for published in others:
        needed.update(published.columns)
        for name in published.columns.keys() & declared.keys():
            wider = common_type(wanted[name], published.columns[name])
            if wider is None:
                raise UnlikeTypesError(
                    f"the column {name!r} cannot become {declared[name]}: it is {published.columns[name]} in "
                    f"{published.load_dates}, published before, which would lose by that"
                )
            wanted[name] = wider
    return Changes(
        add={name: type_ for name, type_ in wanted.items() if name not in stored},
        retype={name: type_ for name, type_ in wanted.items() if stored.get(name, type_) != type_},
        drop=[name for name in stored if name not in declared and name not in needed],
    )


def common_type(one: str, other: str) -> str | None:
    """Return a type that holds every value of both types: one of them, or `numeric` for exact numbers; else None."""
    if can_hold(one, other):
        return one
    if can_hold(other, one):
        return other
    if (element := element_of(one)) and (other_element := element_of(other)):
        wider = common_type(element, other_element)
        return f"{wider}{ARRAY}" if wider else None
    return "numeric" if _digits(one) and _digits(other) else None


def can_hold(new: str, old: str) -> bool:
    """Return whether the type `new` holds every value of the type `old`, and a cast gives it back."""
    if new in {old, "text"} or (old, new) in _WIDER:
        return True
    if (element := element_of(new)) and (old_element := element_of(old)):
        return can_hold(element, old_element)
    if base_of(new) in TEXTS:
        return _letters(old) <= _letters(new) and base_of(new) in {"character varying", base_of(old)}
    if new in _WHOLE:
        return _WHOLE.get(old, 99) <= _WHOLE[new]
    there, here = _digits(old), _digits(new)
    if there is None or here is None:
        return False
    return there[0] <= here[0] and there[1] <= here[1]


def _letters(type_: str) -> float:
    """Return the most characters of a value; infinity for a type without a length."""
    return length_of(type_) or math.inf


def _digits(type_: str) -> tuple[float, float] | None:
    """Return the most digits before and after the decimal point of an exact number type; None for another type."""
    if type_ in _WHOLE:
        return _WHOLE[type_], 0
    found = _NUMERIC.fullmatch(type_)
    if found is None:
        return None
    if found[1] is None:
        return float("inf"), float("inf")
    precision, scale = int(found[1]), int(found[2])
    return precision - scale, scale
