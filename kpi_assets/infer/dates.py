"""Dates and times: the formats in which all values of a column are one.

Whether a day or a month comes first is decided by values alone: if none decides, both formats are returned.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import NamedTuple

DATE, TIME = "date", "time without time zone"
LOCAL, INSTANT = "timestamp without time zone", "timestamp with time zone"
PIVOT = 69  # the first year of two digits that belongs to the 20th century
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH = "(?i:" + "|".join(MONTHS) + ")"
_CLOCK = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:(?P<mark>[.,])(?P<fraction>[0-9]{1,9}))?)?"
    r"(?:(?P<gap> ?)(?P<half>[aApP][mM]))?"
)
_REST = rf"(?:(?P<between>[ T]){_CLOCK}(?:(?P<before> ?)(?P<offset>Z|UTC|[+-][0-9]{{2}}(?::?[0-9]{{2}})?))?)?"
# The ways in which the three parts of a date follow each other; {a}, {b}, {c} are their places.
_SHAPES = (
    re.compile(r"(?P<a>[0-9]{4})(?P<sep>[-/.])(?P<b>[0-9]{1,2})(?P=sep)(?P<c>[0-9]{1,2})" + _REST),
    re.compile(r"(?P<a>[0-9]{1,2})(?P<sep>[-/.])(?P<b>[0-9]{1,2})(?P=sep)(?P<c>[0-9]{4}|[0-9]{2})" + _REST),
    re.compile(rf"(?P<a>[0-9]{{1,2}})(?P<sep>[- ])(?P<b>{_MONTH})(?P=sep)(?P<c>[0-9]{{4}}|[0-9]{{2}})" + _REST),
    re.compile(r"(?P<a>[0-9]{4})(?P<sep>)(?P<b>[0-9]{2})(?P<c>[0-9]{2})" + _REST),
)
_TIME_ALONE = re.compile(_CLOCK)
_ORDERS = (("YMD",), ("DMY", "MDY", "YMD"), ("DMY",), ("YMD",))
_YEARS = (1900, 2100)  # eight digits alone are a date only if all of them lie here


class Found(NamedTuple):
    """A type, and the format of its values; without a format they are as kpi_assets expects them."""

    type: str
    format: str = ""


def formats_of(values: Collection[str]) -> list[Found]:
    """Return every type and format that fits all values; none if they are no dates and times."""
    if clocks := [match.groupdict() for value in values if (match := _TIME_ALONE.fullmatch(value))]:
        return _times(clocks) if len(clocks) == len(values) else []
    for number, (shape, orders) in enumerate(zip(_SHAPES, _ORDERS, strict=True)):
        matches = [match.groupdict() for value in values if (match := shape.fullmatch(value))]
        if len(matches) == len(values):
            found = list(_dates(matches, orders, is_compact=number == 3))
            if found:
                return found
    return []


def _dates(matches: list[dict[str, str]], orders: tuple[str, ...], *, is_compact: bool) -> Iterator[Found]:
    rest = _rest(matches)
    if rest is None:
        return
    type_, clock, is_usual = rest
    if len({(each["sep"], len(each["a"]) == 4, len(each["c"]) == 4) for each in matches}) > 1:
        return
    for order in orders:
        if order == "YMD" and len(matches[0]["a"]) != 4 and len(matches[0]["c"]) != 2:
            continue
        parts = [dict(zip(order, (each["a"], each["b"], each["c"]), strict=True)) for each in matches]
        if all(_is_date(each, is_compact=is_compact) for each in parts):
            tokens = [_token(letter, [each[letter] for each in parts], parts) for letter in order]
            written = matches[0]["sep"].join(tokens)
            if order == "YMD" and is_usual and written == "YYYY-MM-DD":
                yield Found(type_)
            else:
                yield Found(type_, written + clock)


def _is_date(parts: Mapping[str, str], *, is_compact: bool) -> bool:
    year, month = int(parts["Y"]), parts["M"]
    if len(parts["Y"]) == 2:
        year += 1900 if year >= PIVOT else 2000
    elif is_compact and not _YEARS[0] <= year < _YEARS[1]:
        return False
    try:
        date(year, int(month) if month.isdigit() else MONTHS.index(month.upper()) + 1, int(parts["D"]))
    except ValueError:
        return False
    return True


def _token(letter: str, values: list[str], parts: list[dict[str, str]]) -> str:
    if letter == "Y":
        return "YYYY" if len(values[0]) == 4 else "YY"
    if not values[0].isdigit():
        return "MON"
    # A part of one digit shows that the writer does not pad; a zero, also in the other part, that he does.
    both = [each[name] for each in parts for name in "DM" if each[name].isdigit()]
    is_padded = not any(len(value) == 1 for value in both) and any(value.startswith("0") for value in both)
    return letter * 2 if is_padded else letter


def _rest(matches: list[dict[str, str]]) -> tuple[str, str, bool] | None:
    """Return (type, format of the time of day, whether it needs no format); None if the values differ."""
    if not any(each["between"] for each in matches):
        return DATE, "", True
    if not all(each["between"] for each in matches) or len({bool(each["offset"]) for each in matches}) > 1:
        return None
    clock = _clock(matches)
    if clock is None:
        return None
    has_offset = bool(matches[0]["offset"])
    betweens, befores = {each["between"] for each in matches}, {each["before"] or "" for each in matches}
    is_usual = clock in ("HH:MI:SS", "HH:MI:SS.F")
    if not is_usual and (len(betweens) > 1 or len(befores) > 1):
        return None
    offset = matches[0]["before"] + "Z" if has_offset else ""
    return INSTANT if has_offset else LOCAL, min(betweens) + clock + offset, is_usual


def _clock(matches: list[dict[str, str]]) -> str | None:
    """Return the format of times; None if they differ, or have more decimals than Postgres keeps."""
    if len({(bool(each["second"]), bool(each["half"]), each["gap"] or "") for each in matches}) > 1:
        return None
    fractions = [each["fraction"] for each in matches if each["fraction"]]
    if len({each["mark"] for each in matches if each["mark"]}) > 1 or any(each[6:].strip("0") for each in fractions):
        return None
    hours = [int(each["hour"]) for each in matches]
    has_half = bool(matches[0]["half"])
    if not all((1 <= hour <= 12) if has_half else hour <= 23 for hour in hours):
        return None
    if any(int(each["minute"]) > 59 or int(each["second"] or 0) > 59 for each in matches):
        return None
    hour = "HH12" if has_half else "HH" if all(len(each["hour"]) == 2 for each in matches) else "H"
    mark = next((each["mark"] for each in matches if each["mark"]), "")
    seconds = ":SS" if matches[0]["second"] else ""
    return f"{hour}:MI{seconds}{f'{mark}F' if mark else ''}{matches[0]['gap'] + 'AM' if has_half else ''}"


def _times(matches: list[dict[str, str]]) -> list[Found]:
    clock = _clock(matches)
    if clock is None:
        return []
    return [Found(TIME) if clock in ("HH:MI:SS", "HH:MI:SS.F") else Found(TIME, clock)]
