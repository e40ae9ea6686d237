"""The clock that waits are measured by, and the instant until which an API may be asked.

Not here: how long is waited (ask.py).
"""

import time
from datetime import datetime, timezone


class Clock:
    """The clock of this machine."""

    def now(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def date(self) -> datetime:
        """Return the time of day."""
        return datetime.now(timezone.utc)

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Deadline:
    """An instant of a clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self._ends = clock.now() + seconds

    def left(self) -> float:
        """Return how many seconds are left; negative afterwards."""
        return self._ends - self.clock.now()
