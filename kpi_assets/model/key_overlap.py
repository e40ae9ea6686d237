"""Whether two sources can have the same object, and an example of it.

The keys of a source are a language of texts: that two of them share none is proven for all load_dates at once, with
each part of a date taken as any text of its kind. Where that proves nothing, load_dates are tried one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from kpi_assets.model.key_date import MONTHS
from kpi_assets.model.object_key import ObjectKey, Token

TRIED = 1500  # load_dates
_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("".join(MONTHS))
_WIDTHS = {"Y": 4, "G": 4, "y": 2, "m": 2, "d": 2, "V": 2, "j": 3, "u": 1}


class Shared(NamedTuple):
    """An object that two sources can have: its key, and its load_date in each of them (None: a reference object)."""

    key: str
    one: date | None
    other: date | None


@dataclass(frozen=True)
class _Cell:
    """A place of a key: which letters can stand there (None: all but the slash), and whether any number of them can."""

    letters: frozenset[str] | None
    repeats: bool = False


def shared_object(one: ObjectKey, other: ObjectKey, since: date) -> Shared | None:
    """Return an object that both have, of load_dates from `since` on; None if there is none, or none can be found."""
    if _common(_cells(one.tokens), _cells(other.tokens)) is None:
        return None
    if one.is_reference:
        days = [None] if other.is_reference else [day for day in other.load_dates(one.text) if day >= since]
        return Shared(one.text, None, days[0]) if days else None
    if other.is_reference:
        return _swapped(shared_object(other, one, since))
    for day in (since + timedelta(days=n) for n in range(TRIED)):
        if found := _shared_on(day, one, other, since) or _swapped(_shared_on(day, other, one, since)):
            return found
    return None


def _swapped(found: Shared | None) -> Shared | None:
    return found and Shared(found.key, found.other, found.one)


def _shared_on(day: date, one: ObjectKey, other: ObjectKey, since: date) -> Shared | None:
    """Return an object that `one` has of a load_date, and `other` of the same or any other."""
    if not one.has(day):
        return None
    own = _cells(one.filled(day))
    if other.has(day) and (key := _common(own, _cells(other.filled(day)))):
        return Shared(key, day, day)
    key = _common(own, _cells(other.tokens))
    return next((Shared(key, day, each) for each in other.load_dates(key) if each >= since), None) if key else None


def _cells(tokens: Sequence[Token]) -> list[_Cell]:
    """Return the places of the keys; a part of a date is any number of its letters where its width is not fixed."""
    cells: list[_Cell] = []
    for kind, text in tokens:
        if kind == "text":
            cells += [_Cell(frozenset(letter)) for letter in text]
        elif kind == "wildcard":
            cells.append(_Cell(None, repeats=text == "*"))
        elif text in _WIDTHS:
            cells += [_Cell(_DIGITS)] * _WIDTHS[text]
        else:
            cells.append(_Cell(_LETTERS if text in {"b", "B"} else _DIGITS, repeats=True))
    return cells


def _common(one: Sequence[_Cell], other: Sequence[_Cell]) -> str | None:
    """Return a text that fits both, as short as possible; None if there is none."""
    reached = {(0, 0): ""}
    waiting = [(0, 0)]
    while waiting:
        place = first, second = waiting.pop(0)
        if place == (len(one), len(other)):
            return reached[place]
        here = one[first] if first < len(one) else None
        there = other[second] if second < len(other) else None
        steps: list[tuple[tuple[int, int], str]] = []
        if here and here.repeats:
            steps.append(((first + 1, second), ""))
        if there and there.repeats:
            steps.append(((first, second + 1), ""))
        if here and there and (letter := _letter(here.letters, there.letters)):
            steps.append(((first + (not here.repeats), second + (not there.repeats)), letter))
        for step, letter in steps:
            if step not in reached:
                reached[step] = reached[place] + letter
                waiting.append(step)
    return None


def _letter(one: frozenset[str] | None, other: frozenset[str] | None) -> str:
    """Return a letter of both; empty if there is none."""
    letters = (one or other or {"x"}) - {"/"} if one is None or other is None else one & other
    return min(letters, default="")
