"""The date in a key: its parts as directives of strftime, how each is written, and which day they tell together.

Parts that tell no day alone tell one together with the words of `source.every`: the key of a month is that of its last
day where objects come at month ends, and the key of a week is that of its Monday where they come on Mondays.
Not here: where the parts stand in a key (object_key.py), and the values of a column (date_format.py).
"""

from calendar import monthrange
from collections.abc import Callable, Collection, Mapping
from datetime import date, timedelta

from kpi_assets.model.calendar import WEEKDAYS

ISO = "%Y-%m-%d"
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)
# What may stand behind % in a form of the date -> how it is written. As in strftime, with the English names of months.
DIRECTIVES: Mapping[str, str] = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "[0-9]{2}",
    "-m": "[1-9][0-9]?",
    "b": "|".join(month[:3] for month in MONTHS),
    "B": "|".join(MONTHS),
    "d": "[0-9]{2}",
    "-d": "[1-9][0-9]?",
    "j": "[0-9]{3}",
    "G": "[0-9]{4}",
    "V": "[0-9]{2}",
    "u": "[1-7]",
}
# The directives in an order in which the texts of dates are in the order of the dates.
SORTED = (("Y", "m", "d"), ("y", "m", "d"), ("Y", "j"), ("y", "j"), ("G", "V", "u"))
_WEEKDAYS = {name.lower(): number for number, name in enumerate(WEEKDAYS, start=1)}  # as words of `every`


_WRITTEN: Mapping[str, Callable[[date], str]] = {
    "Y": lambda day: f"{day.year:04}",
    "y": lambda day: f"{day.year % 100:02}",
    "m": lambda day: f"{day.month:02}",
    "-m": lambda day: f"{day.month}",
    "b": lambda day: MONTHS[day.month - 1][:3],
    "B": lambda day: MONTHS[day.month - 1],
    "d": lambda day: f"{day.day:02}",
    "-d": lambda day: f"{day.day}",
    "j": lambda day: f"{day.timetuple().tm_yday:03}",
    "G": lambda day: f"{day.isocalendar().year:04}",
    "V": lambda day: f"{day.isocalendar().week:02}",
    "u": lambda day: f"{day.isoweekday()}",
}


def written(directive: str, day: date) -> str:
    """Return a part of a date as a directive writes it, in English whatever the locale is."""
    return _WRITTEN[directive](day)


def group(directive: str) -> str:
    """Return the name of the group of a directive in a pattern."""
    return directive.replace("-", "unpadded_")


def tells_day(directives: Collection[str], every: str = "") -> bool:
    """Return whether these parts of a date tell a day; `every` is the one word that says on which days objects come."""
    names = {name.lstrip("-") for name in directives}
    has_year, has_month = bool(names & {"Y", "y"}), bool(names & {"m", "b", "B"})
    if every in _WEEKDAYS and names >= {"G", "V"}:
        return True
    of_month, of_year = every.startswith(("month-", "quarter-")), every.startswith("year-")
    tells = "j" in names or (has_month and ("d" in names or of_month)) or of_year
    return (has_year and tells) or names >= {"G", "V", "u"}


def date_of(parts: Mapping[str, str | None], every: str = "") -> date | None:
    """Return the day that parts of a date tell, by their groups in a pattern; None if there is no such day."""
    known = {name: parts.get(group(name)) for name in DIRECTIVES}
    numbers = {name: int(text) for name, text in known.items() if text and text.isdigit()}
    year, day = numbers.get("Y"), numbers.get("d") or numbers.get("-d")
    if year is None and "y" in numbers:
        year = numbers["y"] + (2000 if numbers["y"] < 69 else 1900)  # as strptime reads it
    month = numbers.get("m") or numbers.get("-m")
    if name := known["b"] or known["B"]:
        month = next(number for number, month in enumerate(MONTHS, start=1) if month.startswith(name))
    if every.startswith("year-") and year and not (month and day):
        return date(year, *((1, 1) if every == "year-start" else (12, 31)))
    if every.startswith(("month-", "quarter-")) and year and month and day is None:
        day = 1 if every.endswith("-start") else monthrange(year, month)[1] if 1 <= month <= 12 else 0
    if year and month and day:
        return date(year, month, day) if month <= 12 and day <= monthrange(year, month)[1] else None
    if year and "j" in numbers:
        return _from_year(year, numbers["j"])
    weekday = numbers.get("u", _WEEKDAYS.get(every))
    if {"G", "V"} <= numbers.keys() and weekday:
        try:
            return date.fromisocalendar(numbers["G"], numbers["V"], weekday)
        except ValueError:
            return None
    return None


def _from_year(year: int, number: int) -> date | None:
    """Return the `number`th day of a year."""
    try:
        found = date(year, 1, 1) + timedelta(days=number - 1)
    except OverflowError:
        return None
    return found if found.year == year else None
