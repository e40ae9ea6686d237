"""Numbers: which marks group digits and stand before decimals, and the smallest safe type.

Belongs here: the marks that explain all values of a column. Not here: other types (values.py).
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

MARKS = {"point": ".", "comma": ",", "space": " \u00a0\u202f", "apostrophe": "'\u2019"}
_PAIRS = (
    *(("point", ""), ("comma", ""), ("point", "comma"), ("comma", "point")),
    *(("point", "space"), ("comma", "space"), ("point", "apostrophe"), ("comma", "apostrophe")),
)
FLOATING = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
INTEGER, BIGINT = 200_000_000, 10**18  # a tenth of what the types hold: the values may grow
_DECIMALS = 4  # with more, the number of decimals differs from value to value


class Notation(NamedTuple):
    """How numbers are written: words of a source."""

    decimal: str = "point"
    thousands: str = ""

    def matches(self, value: str) -> bool:
        """Return whether a value is a number so written."""
        return bool(_PATTERNS[self].fullmatch(value))

    def plain(self, value: str) -> str:
        """Return a value with a point and without groups."""
        for mark in MARKS.get(self.thousands, ""):
            value = value.replace(mark, "")
        return value.replace(MARKS[self.decimal], ".")


def _pattern(notation: Notation) -> re.Pattern[str]:
    point, group = re.escape(MARKS[notation.decimal]), MARKS.get(notation.thousands)
    whole = rf"(?:[0-9]{{1,3}}(?:[{re.escape(group)}][0-9]{{3}})+|[0-9]+)" if group else "[0-9]+"
    return re.compile(rf"-?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)")


NOTATIONS = tuple(Notation(*pair) for pair in _PAIRS)
_PATTERNS = {notation: _pattern(notation) for notation in NOTATIONS}


def notations_of(values: Collection[str]) -> list[Notation]:
    """Return the notations that explain all values; a mark that no value has is in none of them.

    >>> notations_of(["1,50"]), notations_of(["1.234"])
    ([Notation(decimal='comma', thousands='')], [Notation(decimal='point', thousands=''), \
Notation(decimal='comma', thousands='point')])
    """
    return list(_needed(each for each in NOTATIONS if values and all(map(each.matches, values))))


def _needed(found: Iterable[Notation]) -> Iterator[Notation]:
    """Leave out a notation with groups if the same one without them explains the values too."""
    all_found = list(found)
    for each in all_found:
        if not each.thousands or Notation(each.decimal) not in all_found:
            yield each


def uses(notation: Notation, values: Iterable[str]) -> bool:
    """Return whether a value has one of the marks of a notation, by which it differs from a plain number."""
    marks = MARKS.get(notation.thousands, "") + MARKS[notation.decimal]
    return any(mark in value for value in values for mark in marks)


def type_of(values: Iterable[str]) -> str:
    """Return the smallest safe type of plain numbers."""
    whole, decimals, most = 0, 0, 0
    has_point = False
    for value in values:
        before, point, after = value.lstrip("-").partition(".")
        has_point = has_point or bool(point)
        whole, decimals = max(whole, len(before)), max(decimals, len(after))
        most = max(most, int(before or 0)) if len(before) < 40 else 10**40
    if not has_point:
        return "integer" if most < INTEGER else "bigint" if most < BIGINT else "numeric"
    if decimals > _DECIMALS or whole > 20:
        return "numeric"
    scale = max(decimals, 2)
    return f"numeric({max(whole + 4, 10) + scale},{scale})"
