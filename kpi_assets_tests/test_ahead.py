"""Threads that read ahead are not waited for."""

from threading import Event

import pytest

from kpi_assets.ahead import AheadPool

PATIENCE = 60.0  # seconds


@pytest.mark.fast
def test_what_has_begun_is_not_waited_for_and_what_has_not_is_dropped() -> None:
    begun, may_end = Event(), Event()

    def work() -> bool:
        begun.set()
        return may_end.wait(PATIENCE)

    with AheadPool(1) as pool:
        first = pool.submit(work)
        assert begun.wait(PATIENCE)
        second = pool.submit(work)
    assert (first.done(), second.cancelled()) == (False, True)
    may_end.set()
    assert first.result(PATIENCE)
