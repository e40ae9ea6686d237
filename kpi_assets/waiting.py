"""Waits: whoever watches hears now and then for what, and for whom, something waits.

Belongs here: how often a line is said. It goes to the log, so that it is on stderr, be that a terminal or a pipe.
Not here: the waiting itself.
"""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY = 30.0  # seconds from one line to the next


class Waits:
    """One thing that is waited for, such as `waiting for another run`; to be called again and again meanwhile."""

    def __init__(self, what: str) -> None:
        self._what, self._began = what, time.monotonic()
        self._said = 0
        self.whom = ""  # what was said last of who keeps us waiting

    def __call__(self, whom: Callable[[], object] = lambda: "") -> None:
        """Say the next line where it is due; only then `whom` is asked who keeps us waiting."""
        waited = time.monotonic() - self._began
        if waited < EVERY * (self._said + 1):
            return
        self._said = int(waited / EVERY)
        self.whom = str(whom() or "")
        logger.warning("%s for %.0f s%s", self._what, waited, f": {self.whom}" if self.whom else "")
