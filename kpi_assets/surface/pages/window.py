"""Which load_dates the page of a KPI shows: the last 30, 90 or 365, all of them, or those between two days.

Belongs here: the words `last`, `from` and `to` of an address, and dates and instants in addresses. Not here: drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from itertools import pairwise

from kpi_assets.model.calendar import parse_date
from kpi_assets.surface.answer import Problem

LASTS = ("30", "90", "365", "all")
USUAL = "90"


@dataclass(frozen=True)
class Window:
    """The words of an address, and the days that they mean."""

    last: str
    first_day: date | None
    last_day: date | None
    days: Sequence[date]
    of: int

    @property
    def is_between(self) -> bool:
        """Whether the address names days."""
        return self.first_day is not None or self.last_day is not None

    @property
    def choices(self) -> list[str]:
        """The words of `last` that show different days."""
        limits = [int(each) for each in LASTS if each != "all"]
        useful = [str(low) for low, _ in pairwise([*limits, 1 << 30]) if low < self.of]
        return [*useful, "all"] if useful else []


def window_of(days: Sequence[date], last: str, first_day: date | None, last_day: date | None) -> Window:
    """Return what is shown of these days."""
    if first_day or last_day:
        shown = [each for each in days if (not first_day or each >= first_day) and (not last_day or each <= last_day)]
    else:
        shown = list(days) if last == "all" else list(days[-int(last) :])
    return Window(last, first_day, last_day, shown, len(days))


def last_of(text: str | None) -> str:
    """Read the word `last` of an address."""
    if not text:
        return USUAL
    if text not in LASTS:
        raise Problem(422, "last is not one of its words.", f"Write {', '.join(LASTS[:-1])} or {LASTS[-1]}.")
    return text


def day_of(name: str, text: str | None) -> date | None:
    """Read a day of an address; an empty field of a form is none."""
    if not text:
        return None
    try:
        return parse_date(text)
    except ValueError as error:
        raise Problem(422, f"{name} is not a day.", f"{error}.") from None


def instant_of(name: str, text: str | None, now: datetime) -> datetime | None:
    """Read an instant of an address: it is UTC if it names no zone, and not in the future."""
    if not text:
        return None
    try:
        # A + of an address that nobody escaped became a blank.
        at = datetime.fromisoformat(text.replace(" ", "+").replace("Z", "+00:00") if "T" in text else text)
        at = at.astimezone(timezone.utc) if at.tzinfo else at.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):  # the second where no UTC is: before the year 1 or after 9999
        raise Problem(422, f"{name} is not an instant.", f"Write it as 2026-11-24T12:00:00Z; it is {text!r}.") from None
    if at > now:
        raise Problem(422, f"{name} is in the future.", "Name an instant that has passed.")
    return at
