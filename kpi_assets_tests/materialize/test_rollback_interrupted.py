"""Rollback among others: it is killed at any statement, readers read meanwhile, and all else is done in between."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.materialize.drop import drop_load_date, published_load_date
from kpi_assets.materialize.recheck import AS_PUBLISHED, recheck
from kpi_assets.materialize.rollback import roll_back
from kpi_assets.materialize.rolled_back import Moment
from kpi_assets_tests.materialize.kept_pipeline import PARTITIONED, REASON, STORED, KeptPipeline, things


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptPipeline]:
    with KeptPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, KeptPipeline)
        yield shop


@pytest.fixture
def shop(opened: KeptPipeline) -> KeptPipeline:
    return opened.stock()


class Killed(BaseException):
    """The process was killed: its session ends without another word to the server."""


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the session that executes the statement of this number end before it; return what counts statements."""
    executed, execute = [0], psycopg.ClientCursor.execute

    def counted(cursor: Any, *given: Any, **named: Any) -> Any:
        executed[0] += 1
        if executed[0] == number:
            cursor.connection.pgconn.finish()
            raise Killed
        return execute(cursor, *given, **named)

    monkeypatch.setattr(psycopg.ClientCursor, "execute", counted)
    return executed


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.nightly)])
def test_it_is_killed_at_any_statement_and_the_same_command_goes_on(
    shop: KeptPipeline, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    good = shop.publish(20.5)
    before = shop.content()
    shop.publish(30)
    condemned = shop.content()
    number, interrupted = step, 0
    while True:
        planned = shop.planned(good)
        with monkeypatch.context() as patch:
            killed_at(number, patch)
            try:
                roll_back(shop.context(run_id="rollback"), planned, REASON, "ana")
            except Killed:
                interrupted += 1
            else:
                break
        assert shop.kept().keys() == set(STORED) - {"raw.labels"}
        if shop.content() == before:
            break
        assert {name: found for name, found in shop.content().items() if name in STORED} == {
            name: found for name, found in condemned.items() if name in STORED
        }
        number += step
    assert interrupted > 3
    assert shop.content() == before
    assert shop.weights() == [20.5]
    rulings = f"select count(*)::int from ops.rulings where load_date = '{shop.day}'"
    assert shop.rows(rulings) == [(1,)], "one ruling, however often the command was given"
    holds = f"select count(*)::int from ops.pipeline_runs where status = 'held' and load_date = '{shop.day}'"
    assert shop.rows(holds) == [(1,)]


def test_readers_who_lock_first_see_all_before_or_all_after(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    done, started = threading.Event(), threading.Barrier(5)
    query = (
        f"select (select sum(weight) from marts.weighed where load_date = '{shop.day}'), "
        f"(select sum(kilograms) from marts.shown where load_date = '{shop.day}'), "
        f"(select sum(weight) from marts.heavy where load_date = '{shop.day}'), "
        f"(select sum(weight) from raw.things where load_date = '{shop.day}')"
    )

    def read(*, locked: bool) -> set[tuple[Any, ...]]:
        found = set()
        with shop.session() as session:
            started.wait()
            while not done.is_set():
                with session.transaction():
                    if locked:
                        session.execute("set transaction isolation level repeatable read")
                        session.execute("lock table marts.weighed, marts.heavy, raw.things in access share mode")
                    found.add(tuple(map(float, session.execute(query).fetchone() or ())))
        return found

    with ThreadPoolExecutor(4) as pool:
        locked = [pool.submit(read, locked=True) for _ in range(3)]
        plain = pool.submit(read, locked=False)
        try:
            started.wait()
            outcome = shop.roll_back(good)
        finally:
            done.set()
        seen = set.union(*(each.result() for each in locked))
        alone = plain.result()
    assert seen <= {(30,) * 4, (20.5,) * 4}, "no reader sees a mix"
    assert {value for row in alone for value in row} <= {30, 20.5}, "and nobody sees no rows"
    assert outcome.locked_seconds < 5


class _Machine(RuleBasedStateMachine):
    """Publishes, replays, rollbacks, drops and changes of SQL in any order; each example has a load_date of its own."""

    shop: KeptPipeline

    def __init__(self) -> None:
        super().__init__()
        self.shop.stock()
        self.moments: list[Moment] = []

    @rule(weight=st.sampled_from([20.5, 30, 40]))
    def publish(self, weight: float) -> None:
        """Deliver things; what is kept out is held."""
        self.shop.land(things=things(weight, 1))
        self.shop.run()
        self.moments.append(self.shop.now())

    @precondition(lambda self: self.moments)
    @rule()
    def replay(self) -> None:
        """Build everything again."""
        before = self.shop.content()
        self.shop.run()
        for name, found in self.shop.content().items():
            if name in before and self.shop.status().state == "published":
                assert found[0] >= 0

    @precondition(lambda self: len(self.moments) > 1)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """Roll back to a state of before, or be refused; then nothing changes."""
        moment = data.draw(st.sampled_from(self.moments))
        before = self.shop.current()
        try:
            planned = self.shop.planned(moment)
            roll_back(self.shop.context(run_id="rollback"), planned, REASON, "ana")
        except UserError:
            assert self.shop.current() == before
            return
        now = self.shop.current()
        for change in planned.changes:
            assert now[change.then.asset].checksum == change.then.checksum
        self.moments.append(self.shop.now())

    @precondition(lambda self: self.moments)
    @rule(name=st.sampled_from(["marts.weighed", "marts.heavy", "marts.named"]))
    def drop(self, name: str) -> None:
        """Take the load_date out of a table."""
        if name not in self.shop.current():
            return
        context = self.shop.context()
        with self.shop.session() as session:
            found = published_load_date(
                session, context.pipeline, context.pipeline.table(name), self.shop.day, place=""
            )
        drop_load_date(context, found)

    @rule(least=st.sampled_from(["weight is not null", "weight > 10"]))
    def alter(self, least: str) -> None:
        """Change the SQL of a table."""
        self.shop.file("marts/weighed.sql", PARTITIONED.replace("weight is not null", least))

    @invariant()
    def rows_are_those_of_the_ledger(self) -> None:
        """What is stored is what the ledger says, and what is kept is known."""
        self.shop.kept()
        context = self.shop.context()
        for name in self.shop.current():
            if name != "marts.shown":
                results = recheck(context, context.pipeline.table(name), self.shop.day)
                assert [each.passed for each in results if each.name == AS_PUBLISHED] == [True], name


@pytest.mark.parametrize(("examples", "steps"), [(1, 8), pytest.param(12, 14, marks=pytest.mark.nightly)])
def test_in_whatever_order_the_ledger_says_what_is_stored(shop: KeptPipeline, examples: int, steps: int) -> None:
    machine = type("Machine", (_Machine,), {"shop": shop})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
