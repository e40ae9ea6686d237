"""Progress of a build, written to the run's log, which the UI shows. The command line has a listener of its own."""

import time
from collections.abc import Callable
from typing import Any

from kpi_assets.materialize.context import Progress, shown_progress
from kpi_assets.printable import printable

EVERY = 10.0  # seconds between two lines about the same phase

# (logger, name of the table or object and load_date) -> the callback that a build calls with its progress.
Reporter = Callable[[Any, str], Progress]


def to_log(log: Any, subject: str) -> Progress:
    """Return a callback that logs a line when a phase begins, and one every EVERY seconds while it goes on."""
    last = ("", 0.0)

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase == last[0] and now - last[1] < EVERY:
            return
        last = (phase, now)
        share = shown_progress(phase, done, total)
        log.info(printable(f"{subject}: {phase}{', ' * bool(share)}{share}"))

    return report
