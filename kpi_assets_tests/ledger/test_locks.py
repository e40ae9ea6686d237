"""Locks serialize runs of a load_date, builds of a table for a load_date, and publishes into a table.

Readers cannot block them, although a reader may call pg_advisory_lock and sees the held locks in pg_locks.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import locks
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

THINGS, LABELS = Relation("raw", "things"), Relation("raw", "labels")


@pytest.fixture(scope="module")
def shared(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """The pipeline harness of the module, ready for builds."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.prepared()
        yield opened


@pytest.fixture
def two(shared: PipelineHarness) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Two sessions of one database."""
    with shared.session() as one, shared.session() as other:
        other.execute("set lock_timeout = '50ms'")
        yield one, other


Sessions = tuple[Connection[Any], Connection[Any]]


def take_run(session: Connection[Any], load_date: date) -> bool:
    return locks.try_lock(session, locks.run_lock(load_date))


def take_build(session: Connection[Any], relation: Relation, load_date: date) -> bool:
    return locks.try_lock(session, locks.build_lock(relation, load_date))


def test_only_one_session_has_the_lock_of_a_load_date_until_it_releases_it(two: Sessions) -> None:
    one, other = two
    assert take_run(one, DAY) is True
    assert take_run(other, DAY) is False
    assert take_run(other, NEXT) is True, "another load_date has a lock of its own"
    locks.unlock(other, locks.run_lock(DAY))
    assert take_run(other, DAY) is False, "a session cannot release the lock of another session"
    locks.unlock(one, locks.run_lock(DAY))
    assert take_run(other, DAY) is True


def test_a_lock_ends_with_its_session(shared: PipelineHarness, two: Sessions) -> None:
    with shared.session() as one:
        assert take_run(one, DAY)
        assert take_build(one, THINGS, DAY)
        assert not take_run(two[0], DAY)
    eventually(lambda: take_run(two[0], DAY))  # the server notices the end of the session a moment later
    eventually(lambda: take_build(two[0], THINGS, DAY))


@pytest.mark.parametrize("is_noticed", [True, False])
def test_who_releases_the_lock_of_a_session_that_was_ended_hears_what_ended_it(
    shared: PipelineHarness, two: Sessions, *, is_noticed: bool
) -> None:
    with shared.session() as one:
        assert take_run(one, DAY)
        shared.rows(f"select pg_terminate_backend({one.info.backend_pid})")
        reason = "terminating connection" if is_noticed else "the object is gone"
        with pytest.raises((psycopg.OperationalError, OSError), match=reason):
            try:
                if is_noticed:
                    one.execute("select 1")
                raise OSError("the object is gone")
            finally:
                locks.unlock(one, locks.run_lock(DAY))
        assert one.closed
    eventually(lambda: take_run(two[0], DAY))


@pytest.mark.parametrize(("relation", "day", "free"), [(THINGS, DAY, False), (THINGS, NEXT, True), (LABELS, DAY, True)])
def test_only_one_session_builds_a_table_for_a_load_date(
    two: Sessions, relation: Relation, day: date, free: bool
) -> None:
    one, other = two
    assert take_build(one, THINGS, DAY) is True
    assert take_build(other, relation, day) is free
    assert take_run(other, DAY) is True, "the lock of a run is independent of that of a build"


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (locks.lock_publish, locks.lock_publish, True),
        (locks.lock_publish, locks.lock_against_publishes, True),
        (locks.lock_against_publishes, locks.lock_publish, True),
        (locks.lock_against_publishes, locks.lock_against_publishes, False),
    ],
)
def test_a_publish_excludes_publishes_and_window_reads_and_window_reads_exclude_publishes(
    two: Sessions,
    first: Callable[[Connection[Any], Relation], None],
    second: Callable[[Connection[Any], Relation], None],
    waits: bool,
) -> None:
    one, other = two
    with one.transaction() if first is locks.lock_publish else nullcontext():
        first(one, THINGS)
        second(other, LABELS)
        if waits:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second(other, THINGS)
        else:
            second(other, THINGS)


@pytest.mark.parametrize(("published", "waits"), [(date(2025, 3, 1), True), (date(2025, 3, 2), False), (None, True)])
def test_who_reads_a_history_blocks_publishes_of_load_dates_up_to_its_own(
    two: Sessions, published: date | None, waits: bool
) -> None:
    one, other = two
    locks.lock_against_publishes(one, THINGS, date(2025, 3, 1))
    locks.lock_against_publishes(other, THINGS, date(2025, 2, 1))
    with pytest.raises(psycopg.errors.LockNotAvailable) if waits else nullcontext(), other.transaction():
        locks.lock_publish(other, THINGS, published)
    with one.transaction():
        locks.lock_publish(one, THINGS, date(2025, 2, 2))
        locks.lock_publish(one, LABELS, date(2025, 2, 1))


def test_the_lock_of_a_publish_ends_with_its_transaction(two: Sessions) -> None:
    one, other = two
    with one.transaction():
        locks.lock_publish(one, THINGS)
    locks.lock_against_publishes(other, THINGS)
    with pytest.raises(psycopg.errors.LockNotAvailable), one.transaction():
        one.execute("set local lock_timeout = '50ms'")
        locks.lock_publish(one, THINGS)


@pytest.fixture
def reader(shared: PipelineHarness, stack: Stack) -> Iterator[Connection[Any]]:
    """A session of kpi_reader that may take advisory locks, as any role may by default in PostgreSQL."""
    password = stack.credentials.reader_password
    prepare(shared.pipeline(), shared.server, password)
    with shared.session() as owner:
        for function in ("pg_advisory_lock(bigint)", "pg_advisory_unlock(bigint)"):
            owner.execute(f"grant execute on function {function} to kpi_reader".encode())
    login = make_conninfo(shared.server.get_secret_value(), user="kpi_reader", password=password.get_secret_value())
    with connect(SecretStr(login), shared.name, "reader", read_only=True) as session:
        yield session


SEEN = """
select (classid::bigint << 32 | objid::bigint), objsubid from pg_locks
where locktype = 'advisory' and granted and pid <> pg_backend_pid()
"""


def test_advisory_locks_of_a_reader_block_nothing(
    shared: PipelineHarness, two: Sessions, reader: Connection[Any]
) -> None:
    """The reader takes every lock that it sees in use once it is free, and every key that hashes of the names give."""
    names = [locks.run_lock(DAY), locks.build_lock(THINGS, DAY), "alerts", "publish raw.things", "row 1"]
    for name in names:
        reader.execute("select pg_advisory_lock(hashtext(%s)), pg_advisory_lock(hashtextextended(%s, 0))", [name, name])
    assert all(locks.try_lock(two[0], name) for name in names)
    seen = reader.execute(SEEN).fetchall()
    assert len(seen) == len(names), "pg_locks shows the locks to every role"
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(lambda: [reader.execute("select pg_advisory_lock(%s)", [token]) for token, _ in seen])
        for name in names:
            assert not locks.try_lock(two[1], name), "the first session still has the lock"
            locks.unlock(two[0], name)
        taken.result(20)
    assert len(reader.execute(SEEN.replace("<>", "=")).fetchall()) == 3 * len(names), (
        "the reader got every lock it requested"
    )
    assert all(locks.try_lock(two[1], name) for name in names)


def test_a_lock_whose_token_a_reader_took_from_a_killed_session_is_free(
    shared: PipelineHarness, two: Sessions, reader: Connection[Any]
) -> None:
    name = locks.run_lock(DAY)
    with shared.session() as killed:
        assert locks.try_lock(killed, name)
        [(token, _)] = reader.execute(SEEN).fetchall()
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(reader.execute, "select pg_advisory_lock(%s)", [token])
            two[0].execute("select pg_terminate_backend(%s)", [killed.info.backend_pid])
            taken.result(20)
    assert locks.try_lock(two[0], name)
    found = locks.holder(two[1], name)
    assert found
    assert (found.pid, found.login, found.holder) == (two[0].info.backend_pid, "kpi", "kpi test")
    assert [each.name for each in locks.holders(two[1])] == [name]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from ops.locks",
        "lock table ops.locks in row share mode",
        "select 1 from ops.migrations for update",
        "lock table ops.migrations in share row exclusive mode",
        "lock table ops.publishes in row exclusive mode",
    ],
)
def test_a_reader_cannot_lock_tables_of_ops(reader: Connection[Any], statement: str) -> None:
    reader.execute("set default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
        reader.execute(statement.encode())


def test_sweep_deletes_the_locks_of_ended_sessions(shared: PipelineHarness, two: Sessions) -> None:
    with shared.session() as one:
        assert take_run(one, DAY)
        pid = one.info.backend_pid
    eventually(lambda: shared.rows(f"select 1 from pg_stat_activity where pid = {pid}") == [])
    assert take_run(two[0], NEXT)
    locks.sweep(two[1])
    rows = "select name from ops.locks where token is not null"
    assert shared.rows(rows) == [(locks.run_lock(NEXT),)]


def test_only_the_commit_of_a_lock_alone_does_not_wait_for_the_disk(two: Sessions) -> None:
    session, _ = two
    session.execute("set synchronous_commit = on")
    shown = "select current_setting('synchronous_commit')"
    assert locks.try_lock(session, "alone")
    assert session.execute(shown).fetchall() == [("on",)], "only its own transaction did not wait"
    with session.transaction():
        assert locks.try_lock(session, "with others")
        assert session.execute(shown).fetchall() == [("on",)], "what else the transaction does is kept on the disk"
