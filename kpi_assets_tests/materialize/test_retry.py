"""Changes that give way to others are tried again, with longer and longer pauses; other errors are raised."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from kpi_assets.materialize import retry
from kpi_assets.materialize.retry import acquire_with_retry, retry_on_lock
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.pipeline_harness import PipelineHarness

Told = list[tuple[str, int, int]]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(round(seconds, 3))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


@pytest.fixture
def told() -> Told:
    return []


def failing(*errors: Exception | None) -> Callable[[], str]:
    """A change that meets these errors, one after another; None is none."""
    left = iter(errors)

    def change() -> str:
        error = next(left)
        if error:
            raise error
        return "changed"

    return change


# ---- a change that gives way


@pytest.mark.parametrize(
    "error",
    [psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure],
)
def test_who_gave_way_comes_again_after_longer_and_longer_pauses(
    clock: Clock, told: Told, error: type[psycopg.Error]
) -> None:
    change = failing(*[error("somebody was there")] * 6, None)
    assert retry_on_lock(change, "published", lambda *said: told.append(said), 600) == "changed"
    assert clock.pauses == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert told == [("waiting for a reader to finish", number, 0) for number in range(1, 7)]


def test_the_timeout_ends_before_a_pause_that_would_outlast_it(clock: Clock, told: Told) -> None:
    change = failing(*[psycopg.errors.LockNotAvailable("canceling statement\nCONTEXT: more")] * 9)
    with pytest.raises(WarehouseError) as failure:
        retry_on_lock(change, "dropped", lambda *said: told.append(said), 6.0)
    assert str(failure.value) == (
        "A reader has held the table for 6 seconds, so it was not dropped (canceling statement): "
        "end that query (see pg_stat_activity), and run again."
    )
    assert (clock.pauses, len(told)) == ([0.4, 0.8, 1.6, 3.2], 4), "the last pause ends with the timeout"


def test_another_error_is_raised_at_once(clock: Clock, told: Told) -> None:
    error = psycopg.errors.UniqueViolation("twice")
    with pytest.raises(psycopg.errors.UniqueViolation) as failure:
        retry_on_lock(failing(error, None), "published", lambda *said: told.append(said), 600)
    assert failure.value is error
    assert (clock.pauses, told) == ([], [])


# ---- the same with what a server really says


@pytest.fixture
def sessions(lab: PipelineHarness) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Ours and another's, and a table `public.two` of two rows that both change."""
    lab.prepared()
    with lab.session() as ours, lab.session() as other:
        ours.execute("create table public.two as select id, 0 as value from generate_series(1, 2) as id")
        yield ours, other


def changing(session: Connection[Any], number: int) -> None:
    session.execute("update public.two set value = value + 1 where id = %s", [number])


def test_of_two_who_wait_for_each_other_ours_gives_way(sessions: tuple[Connection[Any], Connection[Any]]) -> None:
    ours, other = sessions
    ours.execute("set deadlock_timeout = '50ms'")  # who looks first gives way
    other.execute("set deadlock_timeout = '60s'")
    tries = 0
    with ThreadPoolExecutor(1) as pool:
        theirs = []

        def change() -> int:
            nonlocal tries
            tries += 1
            with ours.transaction():
                changing(ours, 1)
                if tries == 1:
                    other.execute("begin")
                    changing(other, 2)
                    theirs.append(pool.submit(lambda: (changing(other, 1), other.execute("commit"))))
                changing(ours, 2)
            return tries

        assert retry_on_lock(change, "published", lambda *_: None, 60) == 2
        theirs[0].result(30)
    assert ours.execute("select id, value from public.two order by id").fetchall() == [(1, 2), (2, 2)]


def test_what_somebody_changed_meanwhile_is_changed_on_top_of_it(
    sessions: tuple[Connection[Any], Connection[Any]],
) -> None:
    ours, other = sessions
    ours.execute("set default_transaction_isolation = 'repeatable read'")
    tries = 0

    def change() -> int:
        nonlocal tries
        tries += 1
        with ours.transaction():
            ours.execute("select value from public.two")
            if tries == 1:
                changing(other, 1)
            changing(ours, 1)
        return tries

    assert retry_on_lock(change, "published", lambda *_: None, 60) == 2
    assert ours.execute("select value from public.two where id = 1").fetchall() == [(2,)]


# ---- a turn


def test_a_turn_is_taken_as_soon_as_it_is_free_and_the_waiting_is_told(clock: Clock, told: Told) -> None:
    answers = iter([False, False, True])
    assert acquire_with_retry(lambda: next(answers), "waiting for another", lambda *said: told.append(said))
    assert told == [("waiting for another", 0, 0), ("waiting for another", 1, 0)]
    assert clock.pauses == [0.5, 0.5]


def test_a_turn_that_is_free_is_not_waited_for_however_short_the_timeout(clock: Clock, told: Told) -> None:
    assert acquire_with_retry(lambda: True, "waiting", lambda *said: told.append(said), 0)
    assert (clock.pauses, told) == ([], [])


def test_a_turn_that_is_not_free_in_time_is_not_taken(clock: Clock, told: Told) -> None:
    asked = []
    assert not acquire_with_retry(lambda: bool(asked.append(1)), "waiting", lambda *said: told.append(said), 1.0)
    assert (len(asked), clock.pauses) == (3, [0.5, 0.5]), "asked once more when the timeout ends"
