"""A change that gives way to another session is retried after increasing pauses; other errors are raised."""

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

Reports = list[tuple[str, int, int]]


class Clock:
    """A clock whose time passes only during sleep."""

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
def reports() -> Reports:
    return []


def failing(*errors: Exception | None) -> Callable[[], str]:
    """Return a change that raises these errors in turn; for None it succeeds."""
    left = iter(errors)

    def change() -> str:
        error = next(left)
        if error:
            raise error
        return "changed"

    return change


# ---- retry_on_lock


@pytest.mark.parametrize(
    "error",
    [psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure],
)
def test_a_change_that_gave_way_is_retried_after_increasing_pauses(
    clock: Clock, reports: Reports, error: type[psycopg.Error]
) -> None:
    change = failing(*[error("somebody was there")] * 6, None)
    assert retry_on_lock(change, "published", lambda *said: reports.append(said), 600) == "changed"
    assert clock.pauses == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert reports == [("waiting for a reader to finish", number, 0) for number in range(1, 7)]


def test_no_pause_outlasts_the_timeout(clock: Clock, reports: Reports) -> None:
    change = failing(*[psycopg.errors.LockNotAvailable("canceling statement\nCONTEXT: more")] * 9)
    with pytest.raises(WarehouseError) as failure:
        retry_on_lock(change, "dropped", lambda *said: reports.append(said), 6.0)
    assert str(failure.value) == (
        "A reader has held the table for 6 seconds, so it was not dropped (canceling statement): "
        "end that query (see pg_stat_activity), and run again."
    )
    assert (clock.pauses, len(reports)) == ([0.4, 0.8, 1.6, 3.2], 4), (
        "there is no pause that would end after the timeout"
    )


def test_another_error_is_raised_at_once(clock: Clock, reports: Reports) -> None:
    error = psycopg.errors.UniqueViolation("twice")
    with pytest.raises(psycopg.errors.UniqueViolation) as failure:
        retry_on_lock(failing(error, None), "published", lambda *said: reports.append(said), 600)
    assert failure.value is error
    assert (clock.pauses, reports) == ([], [])


# ---- retry_on_lock with a real server


@pytest.fixture
def sessions(lab: PipelineHarness) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Our session and another one, with a table `public.two` of two rows that both update."""
    lab.prepared()
    with lab.session() as ours, lab.session() as other:
        ours.execute("create table public.two as select id, 0 as value from generate_series(1, 2) as id")
        yield ours, other


def changing(session: Connection[Any], number: int) -> None:
    session.execute("update public.two set value = value + 1 where id = %s", [number])


def test_in_a_deadlock_our_change_gives_way_and_is_retried(sessions: tuple[Connection[Any], Connection[Any]]) -> None:
    ours, other = sessions
    ours.execute("set deadlock_timeout = '50ms'")  # the session that detects the deadlock first gives way
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


def test_a_change_is_retried_on_top_of_a_concurrent_update(
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


# ---- acquire_with_retry


def test_a_lock_is_acquired_once_it_is_free_and_the_wait_is_reported(clock: Clock, reports: Reports) -> None:
    answers = iter([False, False, True])
    assert acquire_with_retry(lambda: next(answers), "waiting for another", lambda *said: reports.append(said))
    assert reports == [("waiting for another", 0, 0), ("waiting for another", 1, 0)]
    assert clock.pauses == [0.5, 0.5]


def test_a_free_lock_is_acquired_without_a_pause(clock: Clock, reports: Reports) -> None:
    assert acquire_with_retry(lambda: True, "waiting", lambda *said: reports.append(said), 0)
    assert (clock.pauses, reports) == ([], [])


def test_a_lock_that_is_not_free_in_time_is_not_acquired(clock: Clock, reports: Reports) -> None:
    asked = []
    assert not acquire_with_retry(lambda: bool(asked.append(1)), "waiting", lambda *said: reports.append(said), 1.0)
    assert (len(asked), clock.pauses) == (3, [0.5, 0.5]), "it tries once more when the timeout ends"
