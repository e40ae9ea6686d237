"""The sample shop in a hurry: minutes of its time happen within seconds, from now on.

Events are the same in each run with the same arguments, except for their times and for the ids that are made of them.
Not here: what happens in the shop (world.py), what goes wrong (faults.py), and sending (sending.py).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain

from kpi_assets.samples.realtime.world import SECOND, Happening, Rate, World, time_text


class HurriedShop:
    """A shop of which one stretch of time is played after another; `rate` is in events a second of its time."""

    def __init__(self, opening: datetime, rate: float | Rate, *, seed: int, pace: float = 1) -> None:
        self._events = World(opening, rate, seed=seed, pace=pace).events()
        self._time = int(opening.timestamp() * SECOND)

    def play(self, seconds: float, *, within: float, now: datetime) -> Iterator[Happening]:
        """Yield what happens in the next `seconds` of the shop's time, as if that took `within` seconds from `now` on.

        Play one stretch to its end before the next.
        """
        start, end, begin = self._time, self._time + int(seconds * SECOND), int(now.timestamp() * SECOND)
        self._time = end

        def moved(at: int) -> int:
            return begin + int((at - start) * within / seconds)

        for event in self._events:
            if event.at >= end:
                self._events = chain([event], self._events)
                return
            said = {**event.said, "occurred_at": time_text(moved(event.at))}
            if "promised_by" in said:
                said["promised_by"] = time_text(moved(_instant(said["promised_by"])))
            yield replace(event, at=moved(event.at), said=said)


def _instant(text: str) -> int:
    """Return a time as world.py writes it in milliseconds since 1970."""
    at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return int(at.timestamp() * SECOND)
