"""Calendars: on which days a pipeline, a source or a table is due.

A calendar is a set of days: those that `every` names, without those of `except`, from `since` on. Two calendars have a
common one, the days of both. What is not due on a day is neither missing nor late then.

Belongs here: the words `every` and `except`, and which days they mean. Not here: reading a file of dates (folder.py),
and which tables are due (pipeline.py).
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from kpi_assets.model.sentences import nearest, refuse, shown
from kpi_assets.model.strict_yaml import Strict

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EveryWord = Literal[
    "day",
    "weekday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "month-start",
    "month-end",
    "quarter-start",
    "quarter-end",
    "year-start",
    "year-end",
]
EVERY_WORDS: tuple[EveryWord, ...] = get_args(EveryWord)
_DAY, _FAR = timedelta(days=1), timedelta(days=40 * 366)

# The kind of a day is its weekday and its place in the month, quarter and year. Each kind comes again and again, so two
# sets of kinds have a day in common if they have a kind in common.
_PLACES = ("within", "month-start", "month-end", "quarter-start", "quarter-end", "year-start", "year-end")
# The first and the last day of a year are those of a quarter too, and these are those of a month.
_INCLUDED = {
    **{place: (place,) for place in _PLACES},
    "month-start": ("month-start", "quarter-start", "year-start"),
    "month-end": ("month-end", "quarter-end", "year-end"),
    "quarter-start": ("quarter-start", "year-start"),
    "quarter-end": ("quarter-end", "year-end"),
}


def parse_date(text: str) -> date:
    """Read YYYY-MM-DD. Raises ValueError with a sentence for the user."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a date: write it as YYYY-MM-DD")


def named(day: date) -> str:
    """Return a date with its weekday: `2025-01-04, a Saturday`."""
    return f"{day}, a {WEEKDAYS[day.weekday()]}"


def _bit(weekday: int, place: str) -> int:
    return 1 << (weekday * len(_PLACES) + _PLACES.index(place))


def _bits(word: str) -> int:
    """Return the kinds of days that a word means, as bits."""
    weekdays: Iterable[int] = range(7)
    places: Sequence[str] = _PLACES
    if word == "weekday":
        weekdays = range(5)
    elif word.capitalize() in WEEKDAYS:
        weekdays = [WEEKDAYS.index(word.capitalize())]
    elif word != "day":
        places = _INCLUDED[word]
    return sum(_bit(weekday, place) for weekday in weekdays for place in places)


_BITS = {word: _bits(word) for word in EVERY_WORDS}
ALL = _BITS["day"]


def _place(day: date) -> str:
    if day.day == 1:
        return "year-start" if day.month == 1 else "quarter-start" if day.month % 3 == 1 else "month-start"
    if day.day >= 28 and day.day == monthrange(day.year, day.month)[1]:
        return "year-end" if day.month == 12 else "quarter-end" if day.month % 3 == 0 else "month-end"
    return "within"


_KIND = {(weekday, place): _bit(weekday, place) for weekday in range(7) for place in _PLACES}


@dataclass(frozen=True)
class Calendar:
    """A set of days. `kinds` are kinds of days as bits; `excepted` days are not in it whatever their kind."""

    kinds: int = ALL
    excepted: frozenset[date] = frozenset()
    since: date = date.min

    @classmethod
    def of(cls, every: Sequence[EveryWord], excepted: Iterable[date] = (), since: date | None = None) -> "Calendar":
        """Return the calendar of these words of `every`."""
        kinds = 0
        for word in every:
            kinds |= _BITS[word]
        return cls(kinds, frozenset(excepted), since or date.min)

    def is_due(self, day: date) -> bool:
        """Whether a day is in the calendar."""
        if self.kinds != ALL and not self.kinds & _KIND[day.weekday(), _place(day)]:
            return False
        return day >= self.since and day not in self.excepted

    def __and__(self, other: "Calendar") -> "Calendar":
        """Return the days that both calendars have."""
        return Calendar(self.kinds & other.kinds, self.excepted | other.excepted, max(self.since, other.since))

    @property
    def is_empty(self) -> bool:
        """Whether no day has all that the words ask for."""
        return not self.kinds

    @property
    def never_weekdays(self) -> list[int]:
        """The weekdays of which no day is in it, from 0 for Monday."""
        return [day for day in range(7) if not any(self.kinds & _KIND[day, place] for place in _PLACES)]

    @property
    def never_month_days(self) -> list[int]:
        """The days of the month, from 1 to 31, that are in it in no month."""
        starts, ends = _INCLUDED["month-start"], _INCLUDED["month-end"]
        places = {1: starts, 31: ends, **dict.fromkeys((28, 29, 30), ("within", *ends))}
        return [
            number
            for number in range(1, 32)
            if not any(self.kinds & _KIND[day, place] for day in range(7) for place in places.get(number, ("within",)))
        ]

    @property
    def is_by_weekday(self) -> bool:
        """Whether the weekday alone decides, apart from single days: not for the end of a month."""
        of_day = ([bool(self.kinds & _KIND[day, place]) for place in _PLACES] for day in range(7))
        return all(len(set(places)) == 1 for places in of_day)

    @property
    def is_daily(self) -> bool:
        """Whether every day is in it from some day on."""
        return self.kinds == ALL and not self.excepted

    def between(self, first: date, last: date) -> Iterator[date]:
        """Yield the days of a range that are in the calendar, in order."""
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return (day for day in days if self.is_due(day))

    def next_after(self, day: date) -> date | None:
        """Return the first day after another one; None if there is none in the next 40 years."""
        if self.is_empty or date.max - day < _FAR:
            return None
        first = max(day + _DAY, self.since)
        return next(self.between(first, min(first, date.max - _FAR) + _FAR), None)

    def carried(self) -> "Calendar":
        """Return every day from its first day on; every day there is if it has no first day."""
        first = self.since if self.since == date.min or self.is_due(self.since) else self.next_after(self.since)
        return Calendar(since=first or date.max)

    def longest_gap(self, first: date, last: date) -> int:
        """Return the most days from one day of a range to the next in the calendar: 1 if every day is in it."""
        days = [] if self.is_daily else list(self.between(first, last))
        return max(((late - early).days for early, late in pairwise(days)), default=1)

    def most_within(self, length: int, first: date, last: date) -> int:
        """Return the most days of the calendar in any `length` consecutive days of a range, at least 1."""
        days, most, begin = list(self.between(first, last)), 1, 0
        for number, day in enumerate(days):
            while (day - days[begin]).days >= length:
                begin += 1
            most = max(most, number - begin + 1)
        return most

    def without(self, excepted: Iterable[date]) -> "Calendar":
        """Return the calendar without some more days."""
        return replace(self, excepted=self.excepted | frozenset(excepted))


EVERY_DAY = Calendar()


def _is_every(value: Any) -> Any:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        raise ValueError(f"{shown(value)} is no day: write one of {', '.join(EVERY_WORDS)}, or a list of them")
    if not words:
        raise ValueError("the list is empty: name at least one of " + ", ".join(EVERY_WORDS))
    problems = ((number, _problem(word, words[:number])) for number, word in enumerate(words))
    refuse(((number,) * isinstance(value, list), problem) for number, problem in problems if problem)
    return value


def _problem(word: object, before: Sequence[object]) -> str:
    """Return what is wrong with a word of `every`; empty if nothing is."""
    if word in before:
        return f"{shown(word)} is named twice: take it out once"
    if word in EVERY_WORDS:
        return ""
    meant = nearest(word.lower().replace("_", "-"), EVERY_WORDS) if isinstance(word, str) else None
    return f"{shown(word)} is no day: write {meant or 'one of ' + ', '.join(EVERY_WORDS)}"


def _is_excepted(value: Any) -> Any:
    if isinstance(value, str):
        return _is_path(value)
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is neither: write a list of dates, or the path of a text file with them")
    refuse(((number,), problem) for number, each in enumerate(value) if (problem := _date_problem(each)))
    return [parse_date(str(each)) for each in value]


def _date_problem(value: object) -> str:
    try:
        parse_date(str(value))
    except ValueError:
        return f"{shown(value)} is not a date: write it as YYYY-MM-DD"
    return ""


def _is_path(value: str) -> str:
    """Return the path of a file of dates, if it can only lead to a file below the pipeline's folder."""
    if not _date_problem(value):
        raise ValueError(f"{shown(value)} is one date: write a list, as in [{value}]")
    parts = value.split("/")
    if not value.strip() or "\\" in value or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(
            f"{shown(value)} is no path below the pipeline's folder: write it from there, as in calendars/holidays.txt"
        )
    return value


# For the reference, which so lists the words once.
_SCHEMA = {"anyOf": [{"enum": list(EVERY_WORDS)}, {"type": "array", "items": {"type": "string", "format": "these"}}]}
Every = Annotated[EveryWord | list[EveryWord], BeforeValidator(_is_every), WithJsonSchema(_SCHEMA)]
Except = Annotated[list[date] | str, BeforeValidator(_is_excepted)]
EVERY_MEANING = (
    "`weekday` is Monday to Friday, `month-start` the first and `month-end` the last day of each month. A list means "
    "the days of any of its words."
)
EXCEPT_MEANING = (
    "Days on which nothing comes all the same: a list of dates, or the path of a text file with one date a line, from "
    "the pipeline's folder. In the file, what follows a `#` is a comment."
)


class CalendarWords(Strict):
    """The days that are load_dates. On other days nothing is due."""

    every: Every = Field(
        default="day", description=f"Which days are load_dates. {EVERY_MEANING}", examples=["every: weekday"]
    )
    except_: Except = Field(
        default=[], alias="except", description=EXCEPT_MEANING, examples=["except: calendars/holidays.txt"]
    )


def words_of(every: EveryWord | Sequence[EveryWord]) -> list[EveryWord]:
    """Return the value of `every` as a list."""
    return [every] if isinstance(every, str) else list(every)


def described(every: EveryWord | Sequence[EveryWord], except_: Sequence[date] | str, since: date | None = None) -> str:
    """Return the words in the order of a sentence: `every monday and month-end, except holidays.txt`."""
    words = words_of(every)
    text = "every " + " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    if isinstance(except_, str):
        text += f", except the dates of {except_}"
    elif except_:
        more = f" and {len(except_) - 1} more" if len(except_) > 1 else ""
        text += f", except {except_[0]}{more}"
    return text + (f", since {since}" if since else "")


def dates_in(text: str) -> Iterator[tuple[int, date | str]]:
    """Yield (line, date) for each line with a date in a file of dates; for a wrong line, (line, problem)."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if written := line.partition("#")[0].strip():
            try:
                yield number, parse_date(written)
            except ValueError as error:
                yield number, str(error)
