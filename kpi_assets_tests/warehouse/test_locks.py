"""Who takes turns with whom: runs of one load_date, builds of one table and load_date, publishes into one table."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from kpi_assets.model.names import Relation
from kpi_assets.warehouse import locks
from kpi_assets_tests.lab import DAY, NEXT, Lab
from kpi_assets_tests.machine import eventually

THINGS, LABELS = Relation("raw", "things"), Relation("raw", "labels")


@pytest.fixture
def two(shared: Lab) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Two sessions of one database."""
    with shared.session() as one, shared.session() as other:
        other.execute("set lock_timeout = '50ms'")
        yield one, other


Sessions = tuple[Connection[Any], Connection[Any]]


def test_of_one_load_date_one_session_has_the_turn_until_it_gives_it_back(two: Sessions) -> None:
    one, other = two
    assert locks.try_lock_run(one, DAY) is True
    assert locks.try_lock_run(other, DAY) is False
    assert locks.try_lock_run(other, NEXT) is True, "another load_date has a turn of its own"
    locks.unlock_run(other, DAY)
    assert locks.try_lock_run(other, DAY) is False, "nobody gives back what is another's"
    locks.unlock_run(one, DAY)
    assert locks.try_lock_run(other, DAY) is True


def test_a_turn_ends_with_its_session(shared: Lab, two: Sessions) -> None:
    with shared.session() as one:
        assert locks.try_lock_run(one, DAY)
        assert locks.try_lock_build(one, THINGS, DAY)
        assert not locks.try_lock_run(two[0], DAY)
    eventually(lambda: locks.try_lock_run(two[0], DAY))  # the server hears of its end a moment later
    eventually(lambda: locks.try_lock_build(two[0], THINGS, DAY))


@pytest.mark.parametrize(("relation", "day", "free"), [(THINGS, DAY, False), (THINGS, NEXT, True), (LABELS, DAY, True)])
def test_of_one_table_and_load_date_one_session_builds(
    two: Sessions, relation: Relation, day: date, free: bool
) -> None:
    one, other = two
    assert locks.try_lock_build(one, THINGS, DAY) is True
    assert locks.try_lock_build(other, relation, day) is free
    assert locks.try_lock_run(other, DAY) is True, "a run of the load_date is another matter"


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (locks.lock_publish, locks.lock_publish, True),
        (locks.lock_publish, locks.lock_against_publishes, True),
        (locks.lock_against_publishes, locks.lock_publish, True),
        (locks.lock_against_publishes, locks.lock_against_publishes, False),
    ],
)
def test_a_publish_into_a_table_keeps_others_out_and_readers_of_a_window_only_publishes(
    two: Sessions,
    first: Callable[[Connection[Any], Relation], None],
    second: Callable[[Connection[Any], Relation], None],
    waits: bool,
) -> None:
    one, other = two
    with one.transaction():
        first(one, THINGS)
        second(other, LABELS)
        if waits:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second(other, THINGS)
        else:
            second(other, THINGS)


def test_a_publish_lets_others_in_at_the_end_of_its_transaction(two: Sessions) -> None:
    one, other = two
    with one.transaction():
        locks.lock_publish(one, THINGS)
    locks.lock_against_publishes(other, THINGS)
    with pytest.raises(psycopg.errors.LockNotAvailable), one.transaction():
        one.execute("set local lock_timeout = '50ms'")
        locks.lock_publish(one, THINGS)
