"""Progress of a build, for whoever watches: the run's log in the UI, or a listener of the command line."""

import time
from collections.abc import Callable
from typing import Any

from kpi_assets.materialize.context import Progress
from kpi_assets.printable import printable

EVERY = 10.0  # seconds between two lines about the same phase

# Given a logger and what is being built, the callback that hears of its progress.
Reporter = Callable[[Any, str], Progress]


def to_log(log: Any, subject: str) -> Progress:
    """One line in the run's log when a phase begins, and one now and then while it goes on."""
    last = ("", 0.0)

    def report(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase == last[0] and now - last[1] < EVERY:
            return
        last = (phase, now)
        share = f", {done / total:.0%}" if total and done else ""
        log.info(printable(f"{subject}: {phase}{share}"))

    return report
