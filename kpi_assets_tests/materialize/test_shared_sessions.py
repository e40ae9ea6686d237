"""A session that is lent again is as good as a new one: no lock and no temporary table is left in it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.ledger import locks
from kpi_assets.materialize.shared_sessions import SharedSessions
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import PipelineHarness


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """The pipeline harness of the module, ready for builds."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shared")) as opened:
        opened.prepared()
        yield opened


@pytest.fixture
def sessions(lab: PipelineHarness) -> Iterator[SharedSessions]:
    found = SharedSessions(lab.server, lab.pipeline().name)
    yield found
    found.close()


def pid(session: Connection[Any]) -> int:
    return session.info.backend_pid


def test_tasks_one_after_another_have_one_session_and_tasks_within_each_other_have_two(
    sessions: SharedSessions,
) -> None:
    with sessions.lend("one") as one, sessions.lend("two") as two:
        pids = [pid(one), pid(two)]
        assert len({*pids}) == 2
    with sessions.lend("three") as three:
        assert pid(three) in pids
        assert three.execute("select current_setting('application_name')").fetchall() == [("kpi three",)]


def test_a_role_or_other_settings_have_sessions_of_their_own(sessions: SharedSessions) -> None:
    with sessions.lend("one") as one:
        pids = [pid(one)]
    for words in ({"role": "kpi_reader"}, {"more": {"enable_nestloop": "off"}}):
        with sessions.lend("two", **words) as two:  # type: ignore[arg-type]
            pids.append(pid(two))
    assert len({*pids}) == 3
    with sessions.lend("three", more={"enable_nestloop": "off"}) as three:
        assert pid(three) == pids[2]
        assert three.execute("show enable_nestloop").fetchall() == [("off",)]


def test_what_a_task_leaves_behind_is_gone(sessions: SharedSessions, lab: PipelineHarness) -> None:
    with sessions.lend("one") as one:
        assert locks.try_lock(one, "build a")
        assert locks.try_lock(one, "build b", shared=True)
        one.execute("create temporary table aside (a integer); create temporary sequence numbers")
        first = pid(one)
    with sessions.lend("two") as two, lab.session() as other:
        assert pid(two) == first
        assert two.execute("select to_regclass('pg_temp.aside'), to_regclass('pg_temp.numbers')").fetchall() == [
            (None, None)
        ]
        assert locks.holders(two) == []
        assert two.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchall() == [(0,)]
        assert locks.try_lock(other, "build a")


def test_after_an_error_a_session_is_not_lent_again(sessions: SharedSessions) -> None:
    with pytest.raises(UserError, match="no"), sessions.lend("one") as one:
        first = pid(one)
        raise UserError("no")
    assert one.closed
    with sessions.lend("two") as two:
        assert pid(two) != first


def test_a_session_in_a_transaction_is_not_lent_again(sessions: SharedSessions) -> None:
    with sessions.lend("one") as one:
        one.execute("begin")
    assert one.closed


def test_a_session_that_the_server_has_ended_is_replaced(sessions: SharedSessions, lab: PipelineHarness) -> None:
    with sessions.lend("one") as one:
        first = pid(one)
    with lab.session() as other:
        other.execute("select pg_terminate_backend(%s)", [first])
        eventually(lambda: other.execute("select 1 from pg_stat_activity where pid = %s", [first]).fetchone() is None)
    with sessions.lend("two") as two:
        assert pid(two) != first
        assert two.execute("select 1").fetchall() == [(1,)]
    assert one.closed


def test_closing_ends_what_is_not_lent(sessions: SharedSessions) -> None:
    with sessions.lend("one") as one:
        pass
    sessions.close()
    with pytest.raises(psycopg.OperationalError):
        one.execute("select 1")
