"""An interrupt that is raised where Python ignores exceptions is raised again."""

import signal
import sys
import time
import weakref

import pytest

from kpi_assets.interrupts import kept_interrupts


class Thing:
    """What has weak references."""


def _lose_an_interrupt() -> None:
    thing = Thing()
    _kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing


def _wait() -> None:
    """Wait for an interrupt, in one call as psycopg does."""
    time.sleep(10)


def test_an_interrupt_within_a_callback_is_raised_again() -> None:
    began = time.monotonic()
    with kept_interrupts(), pytest.raises(KeyboardInterrupt):
        _lose_an_interrupt()
        _wait()
    assert time.monotonic() - began < 9


def test_another_error_within_a_callback_is_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: reported.append(lost.exc_type))
    thing = Thing()
    _kept = weakref.ref(thing, lambda _: 1 / 0)
    with kept_interrupts():
        del thing
    assert reported == [ZeroDivisionError]


def test_the_hook_of_before_is_put_back() -> None:
    before = sys.unraisablehook
    with kept_interrupts():
        assert sys.unraisablehook is not before
    assert sys.unraisablehook is before
