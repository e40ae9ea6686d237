"""Observers hear of work, and change nothing about it."""

from collections.abc import Callable
from datetime import date

import pytest

from kpi_assets.observed import Work, observe, observed

DAY = date(2025, 3, 1)


def test_an_observer_hears_when_work_begins_and_what_came_of_it() -> None:
    heard: list[str] = []

    def observer(work: Work) -> Callable[[], None]:
        heard.append(f"{work.kind} {work.name} begins")
        return lambda: heard.append(f"{work.name} {work.outcome} {work.error}".strip())

    stop = observe(observer)
    with observed(Work("tick", "shop", "shop", DAY)) as outer:
        with pytest.raises(KeyError), observed(Work("build", "shop", "raw.orders", DAY)):
            raise KeyError("secret")
        outer.outcome = "failed"
    stop()
    with observed(Work("tick", "shop", "shop", DAY)):
        pass
    assert heard == ["tick shop begins", "build raw.orders begins", "raw.orders failed KeyError", "shop failed"]
    assert outer.seconds > 0


def test_an_observer_that_fails_changes_nothing() -> None:
    def fails_at_the_beginning(_work: Work) -> Callable[[], None]:
        raise OSError

    def fails_at_the_end(_work: Work) -> Callable[[], None]:
        def end() -> None:
            raise OSError

        return end

    stops = [observe(fails_at_the_beginning), observe(fails_at_the_end)]
    with observed(Work("build", "shop", "raw.orders", DAY)) as work:
        work.outcome = "published"
    for stop in stops:
        stop()
    assert work.outcome == "published"
