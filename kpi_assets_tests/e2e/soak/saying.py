"""Lines with the time, and waiting for a fact that gets such a line."""

import sys
import time
from collections.abc import Callable
from typing import Any

from kpi_assets_tests.machine import PATIENCE


def say(text: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def until(what: str, found: Callable[[], Any], patience: float = PATIENCE, pause: float = 0.2) -> float:
    """Wait until `found` is true; return the seconds. Raises AssertionError after `patience` seconds.

    `pause` is in seconds too: what costs much to ask is asked seldom.
    """
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < patience, f"{what}: not within {patience} seconds"
        time.sleep(pause)
    seconds = time.monotonic() - began
    say(f"{what}: after {seconds:.1f} s")
    return seconds
