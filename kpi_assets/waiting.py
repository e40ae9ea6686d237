"""Reports of long waits: a line in the log now and then says what a process waits for.

Belongs here: how often a line is logged. The log goes to stderr, whether that is a terminal or a pipe.
Not here: the waiting itself.
"""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY = 30.0  # seconds from one line to the next


class Waits:
    """The report of one wait, such as `waiting for another run`; call it repeatedly during the wait."""

    def __init__(self, what: str) -> None:
        self._what, self._began = what, time.monotonic()
        self._said = 0
        self.whom = ""  # the cause of the wait in the last line

    def __call__(self, whom: Callable[[], object] = lambda: "") -> None:
        """Log the next line if it is due; only then `whom` is called for the cause of the wait."""
        waited = time.monotonic() - self._began
        if waited < EVERY * (self._said + 1):
            return
        self._said = int(waited / EVERY)
        self.whom = str(whom() or "")
        logger.warning("%s for %.0f s%s", self._what, waited, f": {self.whom}" if self.whom else "")
