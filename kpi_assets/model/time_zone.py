"""Local times of a time zone as instants. A time that did not exist, or existed twice, is refused instead of guessed.

Not here: which texts are local times (written.py).
"""

from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

TWICE = "clocks were set back in {zone} then, so this local time occurred twice: deliver it with its offset"
NEVER = "clocks were set forward in {zone} then, so this local time did not exist: correct it, or the time_zone"
_MOST = 50_000  # hours whose offsets are remembered


class NoInstantError(Exception):
    """A local time is no instant, or is two; the message says why."""


def is_zone(name: str) -> bool:
    """Return whether a name is that of a time zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


class Zone:
    """One time zone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._zone = ZoneInfo(name)
        self._hours: dict[str, str] = {}  # the offsets of hours in which clocks were not changed

    def with_offset(self, text: str) -> str:
        """Return a local time, YYYY-MM-DD HH:MM:SS with or without decimals, with its offset. Raises NoInstantError."""
        hour = text[:13]
        if offset := self._hours.get(hour):
            return text + offset
        try:
            moment = datetime.fromisoformat(f"{text[:10]} {text[11:19]}")
        except ValueError:
            return text + "Z"  # Postgres says what is wrong with it
        found = self._offset(moment)
        begin = moment.replace(minute=0, second=0)
        try:
            # An hour without a change: neither within it, nor a change whose local times reach into it.
            around = {self._zone.utcoffset(begin + timedelta(minutes=15 * n)) for n in range(-12, 17)}
        except OverflowError:
            around = set()
        if len(around) == 1:
            if len(self._hours) >= _MOST:
                self._hours.clear()
            self._hours[hour] = found
        return text + found

    def _offset(self, moment: datetime) -> str:
        first, second = (self._zone.utcoffset(moment.replace(fold=fold)) for fold in (0, 1))
        assert first is not None
        assert second is not None
        if first != second:
            # In a gap the first fold has the smaller offset, which was valid before it.
            raise NoInstantError((NEVER if first < second else TWICE).format(zone=self.name))
        try:
            moment - first
        except OverflowError:
            raise NoInstantError("its instant lies outside of the years 0001 to 9999: correct it") from None
        seconds = int(first.total_seconds())
        hours, rest = divmod(abs(seconds), 3600)
        shown = f"{'-' if seconds < 0 else '+'}{hours:02}:{rest // 60:02}"
        return f"{shown}:{rest % 60:02}" if rest % 60 else shown


@cache
def zone(name: str) -> Zone:
    """Return a time zone by its name, which is one of the IANA database."""
    return Zone(name)
