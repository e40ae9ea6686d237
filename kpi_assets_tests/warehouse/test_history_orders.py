"""The versions of a history follow from its load_dates, whatever happens to these, and in whatever order.

A state machine publishes load_dates of a history, replaces, replays, holds and removes them, lets publishes fail, and
changes the columns of the file. After each step the versions are those that Python computes from the rows of the
published load_dates, and every load_date has the rows that it delivered. At the end of each sequence a second history
is built from the same load_dates in order, and both have the same rows.

`TEST_HISTORIES=10000 TEST_HISTORIES_SEED=1` makes that many steps, from other sequences for another seed.
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
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
from psycopg import Connection, sql

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import publishes
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse import candidates, tables
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.versions import VersionChanges
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_harness import FIRST, expected_versions

FILE = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: [code, number]
storage: history
history:
  surrogate_key: thing_sk
  adds: {{{adds}}}
columns:
  code: {{type: text, description: Part of the key.}}
  amount: {{type: "{type}", description: Value.}}
  number: {{type: numeric, description: Part of the key.}}
  name: {{type: text, description: Value.}}
  more: {{type: jsonb, description: Value.}}
  marks: {{type: "text[]", description: Value.}}
{extra}@end */
select {select}
"""
EXTRA = "  extra: {type: text, description: Value of some load_dates.}\n"
TYPES = ("smallint", "numeric(8,2)", "numeric")
ADDS = ("", "is_active: {type: boolean, value: end_date is null, description: Whether it holds.}")
# The values that are delivered, as Postgres prints them; None is NULL.
AMOUNTS = {
    "smallint": ["1", "2", None],
    "numeric(8,2)": ["1.00", "2.50", None],
    "numeric": ["1", "1.0", "1.00", "2.5", "NaN", None],
}
NAMES = ["p", "", None]
MORE = ['{"a": 1}', '{"a": 1.0}', "null", None]
MARKS = ["{}", "{NULL}", "{a,b}", None]
# The second and the third are one key, because 1 = 1.0.
KEYS = [("x", "1"), ('ü"\\\t', "1"), ('ü"\\\t', "1.0"), ("", "-7.50")]
DAYS = [FIRST + timedelta(days=number) for number in (0, 1, 2, 3, 9, 10, 300)]
ADDED = ("thing_sk", "effective_date", "end_date", "is_current", "is_active")
Row = dict[str, str | None]
Shape = tuple[str, bool, bool]  # the type of `amount`, whether the file has `extra`, and whether the history adds one


def file_of(shape: Shape) -> str:
    type_, has_extra, adds = shape
    columns = ["code", "amount", "number", "name", "more", "marks", *(["extra"] if has_extra else [])]
    select = ", ".join(f"null as {column}" for column in columns)
    return FILE.format(type=type_, extra=EXTRA if has_extra else "", adds=ADDS[adds], select=select)


def number_as(type_: str, value: str | None) -> str | None:
    """A number as Postgres prints it in a column of another type, which holds it."""
    if value in {None, "NaN"} or type_ == "numeric":
        return value
    assert value is not None
    return str(Decimal(value).quantize(Decimal("0.01") if type_ == "numeric(8,2)" else Decimal(1)))


class Things(RuleBasedStateMachine):
    """A history with two columns as its key, and the rows that each published load_date delivered."""

    connection: Connection  # these are set by the test
    tables: Mapping[Shape, Table]
    again: Mapping[Shape, Table]
    build_id: int
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.shape: Shape = ("numeric", False, False)
        self.said: dict[date, list[Row]] = {}
        self.published_as: dict[date, Shape] = {}
        self.empty(self.table)

    @property
    def table(self) -> Table:
        return self.tables[self.shape]

    def empty(self, table: Table) -> None:
        with self.connection.transaction():
            tables.drop(self.connection, table.relation)
            self.connection.execute("delete from ops.publishes where asset = %s", [str(table.relation)])

    # ---- what happens

    @rule(data=st.data(), day=st.sampled_from(DAYS))
    def deliver(self, data: st.DataObject, day: date) -> None:
        """Publish a load_date for the first time, or with other rows."""
        rows = self.draw_rows(data)
        before = self.as_of(day)
        changes = self.publish(self.table, day, rows)
        self.said[day], self.published_as[day] = rows, self.shape
        assert changes == self.changes(before, self.stored_rows(day))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Publish a load_date again with the same rows, if the file still has its columns."""
        day = data.draw(st.sampled_from(sorted(self.said)))
        if self.published_as[day][:2] == self.shape[:2]:
            assert self.publish(self.table, day, self.said[day]) == VersionChanges()

    @precondition(lambda self: self.said)
    @rule(data=st.data(), day=st.sampled_from(DAYS))
    def deliver_what_another_one_has(self, data: st.DataObject, day: date) -> None:
        """Publish nearly the rows of another load_date: one key less, or all the same."""
        other = data.draw(st.sampled_from(sorted(self.said)))
        if self.published_as[other][:2] == self.shape[:2]:
            rows = [*self.said[other]]
            if rows and data.draw(st.booleans()):
                rows.pop()
            self.publish(self.table, day, rows)
            self.said[day], self.published_as[day] = rows, self.shape

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Remove a load_date."""
        day = data.draw(st.sampled_from(sorted(self.said)))
        with self.connection.transaction():
            strategy_of(self.table).remove(self.connection, self.table, day)
            publishes.record_drop(self.connection, [self.table.relation], day)
        del self.said[day], self.published_as[day]

    @rule(data=st.data(), day=st.sampled_from(DAYS))
    def hold(self, data: st.DataObject, day: date) -> None:
        """Build a load_date that is not published: its candidate is dropped."""
        with self.connection.transaction():
            candidate = self.candidate(self.table, day, self.draw_rows(data))
            candidates.drop(self.connection, candidate.relation)

    @rule(data=st.data(), day=st.sampled_from(DAYS))
    def fail(self, data: st.DataObject, day: date) -> None:
        """Let a publish fail after its last statement."""
        rows = self.draw_rows(data)
        with self.connection.transaction(force_rollback=True):
            self.publish(self.table, day, rows)

    @rule(type_=st.sampled_from(TYPES), has_extra=st.booleans(), adds=st.booleans())
    def edit(self, type_: str, has_extra: bool, adds: bool) -> None:
        """Change the columns of the file."""
        self.shape = (type_, has_extra, adds)

    # ---- how

    def draw_rows(self, data: st.DataObject) -> list[Row]:
        type_, has_extra, _ = self.shape
        found: dict[tuple[str, Decimal], Row] = {}
        for code, number in data.draw(st.lists(st.sampled_from(KEYS), unique=True)):
            row: Row = {
                "code": code,
                "amount": data.draw(st.sampled_from(AMOUNTS[type_])),
                "number": number,
                "name": data.draw(st.sampled_from(NAMES)),
                "more": data.draw(st.sampled_from(MORE)),
                "marks": data.draw(st.sampled_from(MARKS)),
            }
            found[code, Decimal(number)] = {**row, "extra": data.draw(st.sampled_from(NAMES))} if has_extra else row
        return [*found.values()]

    def candidate(self, table: Table, day: date, rows: list[Row]) -> Candidate:
        candidate = Candidate(table, day, self.build_id)
        candidates.create_empty(self.connection, candidate)
        for row in rows:
            self.connection.execute(
                sql.SQL("insert into {} ({}) values ({})").format(
                    candidate.name,
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join(map(sql.Literal, row.values())),
                )
            )
        return candidate

    def publish(self, table: Table, day: date, rows: list[Row]) -> VersionChanges | None:
        connection = self.connection
        with connection.transaction():
            candidate = self.candidate(table, day, rows)
            shapes = publishes.by_columns(connection, table.relation, day)
            tables.ensure(connection, table, day, tables.published_of(connection, table, shapes))
            changes = strategy_of(table).publish(connection, candidate)
            publishes.record(
                connection,
                table.relation,
                day,
                build_id=self.build_id,
                run_id="histories",
                manifest_hash="",
                code_version=table.code_version,
                rows=len(rows),
                checksum="",
                size_bytes=0,
                inputs={},
                columns=table.types,
            )
        return changes

    # ---- what must hold

    def stored(self) -> dict[str, str]:
        """The columns of the stored rows and their types."""
        return {
            name: type_ for name, type_ in types_of(self.connection, self.table.relation).items() if name not in ADDED
        }

    def stored_rows(self, day: date) -> dict[tuple[str, Decimal], tuple[str | None, ...]]:
        """The rows of a published load_date as they are stored, with NULL in columns that it was published without."""
        found = {}
        for row in self.said[day]:
            stored = {**row, "amount": number_as(self.stored()["amount"], row["amount"])}
            assert row["code"] is not None
            assert row["number"] is not None
            found[row["code"], Decimal(row["number"])] = tuple(stored.get(column) for column in self.stored())
        return found

    def as_of(self, day: date) -> dict[tuple[str, Decimal], tuple[str | None, ...]]:
        """The rows that the history has for a day."""
        names = self.stored()
        if not names:
            return {}
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
        rows = strategy_of(self.table).rows_of(self.table.relation, day)
        found = self.connection.execute(sql.SQL("select code, number, {} from {} as t").format(texts, rows)).fetchall()
        assert len({(code, number) for code, number, *_ in found}) == len(found)
        return {(code, number): tuple(row) for code, number, *row in found}

    @staticmethod
    def changes(before: Mapping[object, object], after: Mapping[object, object]) -> VersionChanges:
        both = before.keys() & after.keys()
        return VersionChanges(
            new=len(after.keys() - before.keys()),
            changed=sum(before[key] != after[key] for key in both),
            ended=len(before.keys() - after.keys()),
        )

    def versions(self, table: Table) -> list[tuple[object, ...]]:
        """The stored versions: surrogate key, columns of the rows as texts, first and last day, whether current."""
        names = self.stored()
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
        return self.connection.execute(
            sql.SQL(
                "select thing_sk, {}, effective_date, end_date, is_current from {} as h "
                'order by h.code collate "C", h.number, h.effective_date'
            ).format(texts, identifier(table.relation))
        ).fetchall()

    @invariant()
    def the_versions_follow_from_the_load_dates(self) -> None:
        type(self).steps += 1
        names = [*self.stored()] if hasattr(self, "said") else []
        if not names:
            return
        said = {day: self.stored_rows(day) for day in self.said}
        assert {day: self.as_of(day) for day in self.said} == said
        code, number = names.index("code"), names.index("number")

        def key_text(row: tuple[str | None, ...]) -> str:
            return f"{json.dumps(row[code], ensure_ascii=False)}, {row[number]}"

        assert self.versions(self.table) == expected_versions(said, key_text)

    def teardown(self) -> None:
        """Build the same load_dates in order, with the columns and types that are stored now."""
        if not getattr(self, "said", None):
            return
        stored = self.stored()
        table = self.again[stored["amount"], "extra" in stored, False]
        self.empty(table)
        for day in sorted(self.said):
            rows = [dict(zip(stored, row, strict=True)) for row in self.stored_rows(day).values()]
            self.publish(table, day, rows)
        assert self.versions(table) == self.versions(self.table)


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("histories")) as opened:
        opened.prepared()
        yield opened


@pytest.fixture
def machine(lab: PipelineHarness) -> Iterator[type[Things]]:
    """The state machine on a history of its own."""

    class OfTheTest(Things):
        pass

    shapes = [(type_, extra, adds) for type_ in TYPES for extra in (False, True) for adds in (False, True)]
    for name in ("things", "again"):
        found = {}
        for shape in shapes:
            lab.file(f"marts/{name}.sql", file_of(shape))
            found[shape] = lab.pipeline().table(f"marts.{name}")
        setattr(OfTheTest, "tables" if name == "things" else "again", found)
    with connect(lab.server, lab.name, "histories") as connection:
        row = connection.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, status) values ('h', 'h', 'h', 'success') "
            "returning id"
        ).fetchone()
        assert row is not None
        OfTheTest.connection, OfTheTest.build_id = connection, row[0]
        yield OfTheTest


def test_the_versions_follow_from_the_load_dates_in_whatever_order(machine: type[Things]) -> None:
    count, number = int(os.environ.get("TEST_HISTORIES", "0")), int(os.environ.get("TEST_HISTORIES_SEED", "1"))
    while machine.steps <= count:
        run_state_machine_as_test(
            seed(number)(machine) if count else machine,
            settings=settings(
                max_examples=20 if count else 8,
                stateful_step_count=50 if count else 25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=not count,
                database=None,
            ),
        )
        number += 1
