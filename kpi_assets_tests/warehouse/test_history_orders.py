"""The versions of a history follow from its load_dates, whatever happens to these, and in whatever order.

A state machine publishes load_dates of a history, replaces, replays, holds and removes them, lets publishes fail, and
changes the columns of the file. After each step the versions are those that Python computes from the rows of the
published load_dates, and every load_date has the rows that it delivered. At the end of each sequence a second history
is built from the same load_dates in order, and both have the same rows.

`TEST_HISTORIES=10000 TEST_HISTORIES_SEED=1` makes that many steps, from other sequences for another seed.
"""

import os
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kpi_assets.embedded.stack import Stack
from kpi_assets.warehouse import candidates
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_things import AMOUNTS, DAYS, KEYS, MARKS, MORE, NAMES, Row, Shape, Things

A_DAY = st.sampled_from(DAYS)


class Orders(RuleBasedStateMachine):
    """What may happen to a history."""

    things: Things  # these are set by the test
    again: Things
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.things.clear()

    @rule(data=st.data(), day=A_DAY)
    def deliver(self, data: st.DataObject, day: date) -> None:
        """Publish a load_date for the first time, or with other rows."""
        self.things.deliver(day, self.draw_rows(data))

    @precondition(lambda self: self.things.said)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Publish a load_date again with the same rows, if the file still has its columns."""
        day = data.draw(st.sampled_from(sorted(self.things.said)))
        if self.has_columns_of(day):
            self.things.deliver(day, self.things.said[day])

    @precondition(lambda self: self.things.said)
    @rule(data=st.data(), day=A_DAY)
    def deliver_what_another_one_has(self, data: st.DataObject, day: date) -> None:
        """Publish nearly the rows of another load_date: one key less, or all the same."""
        other = data.draw(st.sampled_from(sorted(self.things.said)))
        if self.has_columns_of(other):
            rows = self.things.said[other]
            self.things.deliver(day, rows[:-1] if data.draw(st.booleans()) else rows)

    @rule(data=st.data(), day=A_DAY, other=A_DAY, is_removed=st.booleans())
    def deliver_while_another_one_changes(self, data: st.DataObject, day: date, other: date, is_removed: bool) -> None:
        """Let another session publish or remove a load_date after the build was compared with the versions."""
        rows, others = self.draw_rows(data), self.draw_rows(data)
        beside = self.things.beside

        def change() -> None:
            if is_removed and other in beside.said:
                beside.remove(other)
            else:
                beside.deliver(other, others)

        self.things.deliver(day, rows, change)

    @precondition(lambda self: self.things.said)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Remove a load_date."""
        self.things.remove(data.draw(st.sampled_from(sorted(self.things.said))))

    @rule(data=st.data(), day=A_DAY)
    def hold(self, data: st.DataObject, day: date) -> None:
        """Build a load_date that is not published: its candidate is dropped."""
        candidate = self.things.candidate(day, self.draw_rows(data))
        candidates.drop(self.things.connection, candidate.relation)

    @rule(data=st.data(), day=A_DAY)
    def fail(self, data: st.DataObject, day: date) -> None:
        """Let a publish fail after its last statement."""
        with self.things.connection.transaction(force_rollback=True):
            self.things.publish(day, self.draw_rows(data))

    @rule(type_=st.sampled_from([*AMOUNTS]), has_extra=st.booleans(), adds=st.booleans())
    def edit(self, type_: str, has_extra: bool, adds: bool) -> None:
        """Change the columns of the file."""
        self.things.shape = Shape(type_, has_extra, adds)

    def has_columns_of(self, day: date) -> bool:
        """Whether the file has the columns with which a load_date was published."""
        return self.things.published_as[day][:2] == self.things.shape[:2]

    def draw_rows(self, data: st.DataObject) -> list[Row]:
        """Draw the rows of a load_date."""
        found: dict[tuple[str, Decimal], Row] = {}
        for code, number in data.draw(st.lists(st.sampled_from(KEYS), unique=True)):
            row: Row = {
                "code": code,
                "amount": data.draw(st.sampled_from(AMOUNTS[self.things.shape.type])),
                "number": number,
                "name": data.draw(st.sampled_from(NAMES)),
                "more": data.draw(st.sampled_from(MORE)),
                "marks": data.draw(st.sampled_from(MARKS)),
            }
            if self.things.shape.has_extra:
                row["extra"] = data.draw(st.sampled_from(NAMES))
            found[code, Decimal(number)] = row
        return [*found.values()]

    @invariant()
    def the_versions_follow_from_the_load_dates(self) -> None:
        type(self).steps += 1
        self.things.check()

    def teardown(self) -> None:
        if self.things.said:
            self.things.check_order(self.again)


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("histories")) as opened:
        opened.prepared()
        yield opened


@pytest.mark.nightly
def test_the_versions_follow_from_the_load_dates_in_whatever_order(lab: PipelineHarness) -> None:
    count, number = int(os.environ.get("TEST_HISTORIES", "0")), int(os.environ.get("TEST_HISTORIES_SEED", "1"))
    with Things.open(lab, "things") as things, Things.open(lab, "again") as again:

        class OfTheTest(Orders):
            pass

        OfTheTest.things, OfTheTest.again = things, again
        while OfTheTest.steps <= count:
            run_state_machine_as_test(
                seed(number)(OfTheTest) if count else OfTheTest,
                settings=settings(
                    max_examples=20 if count else 8,
                    stateful_step_count=50 if count else 25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    derandomize=not count,
                    database=None,
                    report_multiple_bugs=False,
                ),
            )
            number += 1
