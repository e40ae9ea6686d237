"""The clock of this machine, and the instant until which an API may be asked."""

import time
from datetime import datetime, timedelta, timezone

from kpi_assets.sources.api.clock import Clock, Deadline
from kpi_assets_tests.sources.api.scripted import Waits


def test_the_clock_of_this_machine_waits() -> None:
    clock = Clock()
    begun, before = clock.now(), time.monotonic()
    clock.wait(0.02)
    assert time.monotonic() - before >= 0.02
    assert 0.02 <= clock.now() - begun < 5
    assert abs(clock.date() - datetime.now(timezone.utc)) < timedelta(seconds=5)


def test_a_deadline_comes_nearer() -> None:
    waits = Waits()
    deadline = Deadline(waits, 60)
    waits.wait(45)
    assert 14 < deadline.left() <= 15
    waits.wait(45)
    assert deadline.left() < -29
    assert deadline.seconds == 60
