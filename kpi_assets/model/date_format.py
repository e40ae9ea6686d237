"""Formats of dates and times that a header declares, such as M/D/YYYY: their patterns, and their values in ISO's form.

Belongs here: the tokens, what they may be combined to, and reading one text. Not here: the forms without a declared
format, and time zones (written.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise

from kpi_assets.model.sentences import shown

EPOCHS = {"epoch": 1_000_000, "epoch_ms": 1_000}  # microseconds of one unit
DATE, TIME = "date", "time without time zone"
LOCAL, INSTANT = "timestamp without time zone", "timestamp with time zone"
TYPES = (DATE, TIME, LOCAL, INSTANT)
PIVOT = 69  # the first year of two digits that belongs to the 20th century, as POSIX has it: 68 is 2068, 69 is 1969
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
OFFSET = r"(?:Z|UTC|[+-][0-9]{2}(?::?[0-9]{2}|))"

_TOKEN = re.compile(r"YYYY|YY|MON|MM|MI|M|DD|D|HH12|HH|H|SS|F|AM|Z|(.)", re.DOTALL)
_MONTH = "(?:" + "|".join("".join(f"[{letter}{letter.lower()}]" for letter in name) for name in MONTHS) + ")"
_PATTERNS = {
    "YYYY": "[0-9]{4}",
    "YY": "[0-9]{2}",
    "MM": "(?:0[1-9]|1[0-2])",
    "M": "(?:0?[1-9]|1[0-2])",
    "MON": _MONTH,
    "DD": "(?:0[1-9]|[12][0-9]|3[01])",
    "D": "(?:0?[1-9]|[12][0-9]|3[01])",
    "HH": "(?:[01][0-9]|2[0-3])",
    "H": "(?:2[0-3]|[01]?[0-9])",
    "HH12": "(?:0?[1-9]|1[0-2])",
    "MI": "[0-5][0-9]",
    "SS": "[0-5][0-9]",
    "F": "[0-9]{1,6}0*",
    "AM": "[aApP][mM]",
    "Z": OFFSET,
}
_PARTS = {
    **dict.fromkeys(("YYYY", "YY"), "year"),
    **dict.fromkeys(("MM", "M", "MON"), "month"),
    **dict.fromkeys(("DD", "D"), "day"),
    **dict.fromkeys(("HH", "H", "HH12"), "hour"),
    "MI": "minute",
    "SS": "second",
    "F": "fraction",
    "AM": "half",
    "Z": "offset",
}
_ANY_LENGTH = {"M", "D", "H", "HH12", "F"}
_WORDS = "write it with YYYY, YY, MM, M, MON, DD, D, HH, H, HH12, MI, SS, F, AM and Z, as in M/D/YYYY HH:MI:SS"
# What Postgres reads as the format says: the parts of a date and their settings, and the parts of a time.
_NATIVE_DATES = (
    (re.compile(r"YYYY-(?:MM|M)-(?:DD|D)|YYYY/(?:MM|M)/(?:DD|D)|YYYYMMDD"), ""),
    (re.compile(r"(?:MM|M)/(?:DD|D)/YYYY|(?:MM|M)-(?:DD|D)-YYYY"), "ISO, MDY"),
    (re.compile(r"(?:DD|D)/(?:MM|M)/YYYY|(?:DD|D)-(?:MM|M)-YYYY|(?:DD|D)\.(?:MM|M)\.YYYY"), "ISO, DMY"),
    (re.compile(r"(?:DD|D)[- ]MON[- ]YYYY"), ""),
)
_NATIVE_TIME = re.compile(r"(?:HH|H):MI(?::SS(?:\.F)?)?|HH12:MI(?::SS(?:\.F)?)? AM")


class NoValueError(Exception):
    """A text has the form of its format but is no value; the message says why."""


@dataclass(frozen=True)
class DateFormat:
    """One declared format, for a column of one type."""

    text: str
    type: str

    @cached_property
    def problem(self) -> str:
        """Why the format cannot be used, and what to write; empty if it can."""
        if self.type not in TYPES:
            return f"is for columns of date, time and timestamp, and the column is {self.type}: take it out"
        if self.text in EPOCHS:
            return "" if self.type in (LOCAL, INSTANT) else f"{self.text} counts from an instant: declare a timestamp"
        return next(self._problems(), "")

    def _problems(self) -> Iterator[str]:
        for code, literal in self._tokens:
            if literal and literal != "T" and (literal.isalnum() or literal in "\"'\\%\r\n"):
                yield f"{shown(self.text)} has {shown(literal)}, which is no part of a date: {_WORDS}"
            if code == "Z" and self.type != INSTANT:
                yield "Z is the offset of a timestamp with time zone: declare the column so, or take Z out"
        parts = [_PARTS[code] for code, literal in self._tokens if not literal]
        if twice := next((part for part in parts if parts.count(part) > 1), ""):
            yield f"{shown(self.text)} has the {twice} twice: write it once; minutes are MI, months MM"
        yield from self._missing(set(parts))
        for (one, _), (other, _) in pairwise(self._tokens):
            if one in _ANY_LENGTH and other and other not in ("AM", "Z"):
                yield f"{one} has one digit or more, so where it ends cannot be told: put a character behind it"

    def _missing(self, parts: set[str]) -> Iterator[str]:
        date, clock = {"year", "month", "day"}, {"hour", "minute", "second", "fraction", "half"}
        needs = set() if self.type == TIME else date
        if missing := needs - parts:
            yield f"{shown(self.text)} has no {sorted(missing)[0]}: {_WORDS}"
        if self.type == DATE and parts & clock:
            yield f"{shown(self.text)} has a time, and the column is a date: declare a timestamp, or take the time out"
        if self.type == TIME and parts & date:
            yield f"{shown(self.text)} has a date, and the column is a time: declare a timestamp, or take the date out"
        if self.type == TIME and "hour" not in parts:
            yield f"{shown(self.text)} has no hour: {_WORDS}"
        chain = ("fraction", "second", "minute", "hour")
        for part, before in pairwise(chain):
            if part in parts and before not in parts:
                yield f"{shown(self.text)} has the {part} without the {before}: {_WORDS}"
        if ("half" in parts) != any(code == "HH12" for code, _ in self._tokens):
            yield "AM and HH12 belong together: write both, or HH for hours from 00 to 23"

    @cached_property
    def _tokens(self) -> list[tuple[str, str]]:
        """The tokens in order: (token, "") or ("", literal character)."""
        return [("", found[1]) if found[1] else (found[0], "") for found in _TOKEN.finditer(self.text)]

    @property
    def pattern(self) -> str:
        """The pattern of its texts."""
        if self.text in EPOCHS:
            # Instants of the years 1 to 9999; what is finer than a microsecond would be rounded.
            digits, decimals = (12, 6) if self.text == "epoch" else (15, 3)
            return rf"-?[0-9]{{1,{digits}}}(?:\.[0-9]{{1,{decimals}}}0*|)"
        return self._pattern(named=False)

    def _pattern(self, *, named: bool) -> str:
        found: list[str] = []
        for code, literal in self._tokens:
            if literal:
                found.append(re.escape(literal))
                continue
            part = f"(?P<{_PARTS[code]}>{_PATTERNS[code]})" if named else _PATTERNS[code]
            if code == "F" and found and found[-1] in (r"\.", ","):  # who writes decimals leaves out those of 0
                part = f"(?:{found.pop()}{part}|)"
            found.append(part)
        return "".join(found)

    @property
    def alphabet(self) -> str:
        """Every character that its texts may have."""
        literals = "".join(literal for _, literal in self._tokens)
        tokens = {code for code, _ in self._tokens}
        letters = "".join({*"".join(MONTHS), *"".join(MONTHS).lower()}) if "MON" in tokens else ""
        half, offset = "aApPmM" * ("AM" in tokens), "ZUTC+-:" * ("Z" in tokens)
        return "0123456789" + ("-." if self.text in EPOCHS else literals + letters + half + offset)

    @property
    def date_style(self) -> str | None:
        """The DateStyle by which Postgres itself reads the texts; empty if any will do, None if none does."""
        if self.text in EPOCHS:
            return None
        for pattern, style in _NATIVE_DATES:
            found = pattern.match(self.text)
            rest = self.text[found.end() :] if found else ""
            if found and (not rest or (rest[0] == " " and _NATIVE_TIME.fullmatch(rest[1:]))):
                return style if self.type in (DATE, LOCAL) else None
        return "" if self.type == TIME and _NATIVE_TIME.fullmatch(self.text) else None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._pattern(named=True))

    def read(self, text: str) -> str:
        """Return the value of a text that matches the pattern, in ISO's form. Raises NoValueError."""
        if self.text in EPOCHS:
            return self._read_epoch(text)
        found = self._compiled.fullmatch(text)
        assert found, "the text matches the pattern"
        parts = found.groupdict()
        try:
            moment = datetime(  # noqa: DTZ001
                *_date_of(parts),
                _hour_of(parts),
                int(parts.get("minute") or 0),
                int(parts.get("second") or 0),
                int((parts.get("fraction") or "")[:6].ljust(6, "0")),
            )
        except ValueError:
            raise NoValueError("there is no such date: correct it where the file is made") from None
        if self.type == DATE:
            return moment.date().isoformat()
        if self.type == TIME:
            return moment.time().isoformat()
        return moment.isoformat(" ") + (parts.get("offset") or "")

    def _read_epoch(self, text: str) -> str:
        microseconds = int(Decimal(text) * EPOCHS[self.text])
        try:
            moment = datetime(1970, 1, 1) + timedelta(microseconds=microseconds)  # noqa: DTZ001
        except OverflowError:
            raise NoValueError("it lies outside of the years 0001 to 9999: correct it, or the format") from None
        return moment.isoformat(" ") + ("Z" if self.type == INSTANT else "")


def _date_of(parts: dict[str, str | None]) -> tuple[int, int, int]:
    year, month, day = parts.get("year"), parts.get("month"), parts.get("day")
    if year is None or month is None or day is None:
        return (1970, 1, 1)  # a time has no date
    number = int(year) + (0 if len(year) == 4 else 1900 if int(year) >= PIVOT else 2000)
    return number, int(month) if month.isdigit() else MONTHS.index(month.upper()) + 1, int(day)


def _hour_of(parts: dict[str, str | None]) -> int:
    hour, half = int(parts.get("hour") or 0), parts.get("half")
    return hour if half is None else hour % 12 + 12 * (half.upper() == "PM")
