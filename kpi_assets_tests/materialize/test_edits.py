"""Edits and runs in any order change a published load_date only by a publish of that load_date.

A state machine edits the files of a pipeline and builds load_dates. After each step the rows of every published
load_date are those that were read right after its publish, and have the checksum of the ledger. The plan reports each
table that differs from its file. `TEST_EDITS=1000` runs that many sequences instead of a few.
"""

import os
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
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
from kpi_assets.fixtures.database import clear_ledger
from kpi_assets.ledger import publishes
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.drop import drop_table
from kpi_assets.materialize.recheck import check_as_published
from kpi_assets.model.names import Relation
from kpi_assets.plan.collect import collect
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

DAYS = [DAY + timedelta(days=n) for n in range(3)]
A_DAY = st.sampled_from([*DAYS, None])
NAMES = ["one", "two", "three"]
TYPES = ["smallint", "integer", "bigint", "numeric", "numeric(10,4)", "numeric(10,0)", "real", "double precision"]
TYPES += ["text", "date", "timestamp without time zone", "boolean"]
TABLES = ["things", "items"]  # names of its file, one at a time
FILE = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: [{grain}]
storage: {storage}
{kpi}
columns:
{columns}
checks:
  min_rows: {{at_least: 0, of_previous: 0}}
@end */
select
    {select}
from (values (1, 3), (2, 7)) as v (thing_id, amount)
"""
VIEW = """\
/* @asset
description: Things as people call them.
owner: team:tests
grain: [thing_id]
storage: view
columns:
  thing_id: {{type: integer, description: Thing.}}
{columns}
@end */
select
    {select}
from marts.{table}
where load_date = %(load_date)s
"""
READER = """\
/* @asset
description: What is made of things.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {{type: integer, description: Thing.}}
  it: {{type: "{type}", description: Column.}}
@end */
select
    thing_id,
    {name} as it
from marts.{table}
where load_date = %(load_date)s
"""
OVER_DAYS = """\
/* @asset
description: What is made of things of three days.
owner: team:tests
grain: [thing_id]
lookback: {{days: {days}, rows: all}}
columns:
  thing_id: {{type: integer, description: Thing.}}
  it: {{type: bigint, description: How often it is known.}}
@end */
select
    thing_id,
    count({name}) as it
from marts.{table}
where load_date between %(window_start)s and %(load_date)s
group by thing_id
"""
# An expression of the amount for each type, whose value narrower types cannot hold
VALUES = {
    "smallint": "amount::smallint",
    "integer": "amount * 100000",
    "bigint": "amount * 10000000000",
    "numeric": "amount + 0.123456789",
    "numeric(10,4)": "amount + 0.9930",
    "numeric(10,0)": "amount + 1000000",
    "real": "amount + 0.1",
    "double precision": "amount + 0.1",
    "text": "'it is ' || amount",
    "date": "date '2025-01-01' + amount",
    "timestamp without time zone": "timestamp '2025-01-01 12:34:56.789' + make_interval(days => amount)",
    "boolean": "amount > 5",
}


class Edits(RuleBasedStateMachine):
    """A pipeline with a table, a view of that table, and a second table that reads it."""

    lab: PipelineHarness  # set by the test

    @initialize(storage=st.sampled_from(["rows", "partitions"]))
    def begin(self, storage: str) -> None:
        for path in self.lab.folder.glob("*/*.sql"):
            path.unlink()
        self.columns: dict[str, str] = {"one": "numeric(10,4)"}
        self.table, self.storage, self.volume, self.wide_grain = "things", storage, False, False
        self.shown: dict[str, str] = {}
        self.days = 0  # lookback of the table that reads it; 0 for none
        self.expected: dict[
            tuple[str, date], tuple[int, list[Any]]
        ] = {}  # publish_id, and the rows read right after that publish
        self.seen: dict[int, list[Any]] = {}  # publish_id of the latest load_date -> the rows that readers see
        self.write()
        for day in DAYS:
            self.run(day, "table")

    def teardown(self) -> None:
        if not hasattr(self, "expected"):
            return
        with self.lab.session() as session:
            session.execute("drop schema raw, stg, marts, builds cascade")
            clear_ledger(session)
        self.lab.prepared()

    # ---- edits of files

    def write(self) -> None:
        """Write the files in their current state."""
        declared = {"thing_id": "integer", "amount": "integer", **self.columns}
        kpi = "kpi: {chart: {x: thing_id, y: amount}}\n"
        kpi += "min_volume: {column: amount, at_least: 5}" if self.volume else ""
        select = [f"({VALUES[type_]})::{type_} as {name}" for name, type_ in self.columns.items()]
        text = FILE.format(
            grain="thing_id, amount" if self.wide_grain else "thing_id",
            storage=self.storage,
            kpi=kpi,
            columns="\n".join(
                f'  {name}: {{type: "{type_}", description: Column.}}' for name, type_ in declared.items()
            ),
            select=",\n    ".join(["thing_id", "amount", *select]),
        )
        for name in TABLES:
            path = self.lab.folder / f"marts/{name}.sql"
            if name == self.table:
                self.lab.file(f"marts/{name}.sql", text)
            elif path.exists():
                path.unlink()
        self.shown = {name: type_ for name, type_ in self.shown.items() if self.columns.get(name) == type_}
        shown = "\n".join(
            f'  {name}_here: {{type: "{type_}", description: Column.}}' for name, type_ in self.shown.items()
        )
        view = VIEW.format(
            columns=shown,
            select=",\n    ".join(["thing_id", *(f"{name} as {name}_here" for name in self.shown)]),
            table=self.table,
        )
        grain = self.wide_grain
        view_path = self.lab.folder / "stg/shown.sql"
        if grain:
            view_path.unlink(missing_ok=True)  # a view must have the grain of its table
        else:
            self.lab.file("stg/shown.sql", view)
        name, type_ = next(iter(self.columns.items()), ("amount", "integer"))
        reader = OVER_DAYS if self.days else READER
        self.lab.file("marts/reader.sql", reader.format(name=name, type=type_, table=self.table, days=self.days))

    @rule(name=st.sampled_from(NAMES), type_=st.sampled_from(TYPES), day=A_DAY)
    def add_or_retype(self, name: str, type_: str, day: date | None) -> None:
        self.columns[name] = type_
        self.edited(day)

    @precondition(lambda self: self.columns)
    @rule(data=st.data(), day=A_DAY)
    def remove_column(self, data: st.DataObject, day: date | None) -> None:
        del self.columns[data.draw(st.sampled_from(sorted(self.columns)))]
        self.edited(day)

    @precondition(lambda self: len(self.columns) > 1)
    @rule(day=A_DAY)
    def reorder(self, day: date | None) -> None:
        self.columns = dict(reversed(self.columns.items()))
        self.edited(day)

    @rule(day=A_DAY)
    def toggle_min_volume(self, day: date | None) -> None:
        self.volume = not self.volume
        self.edited(day)

    @rule(storage=st.sampled_from(["rows", "partitions"]), day=A_DAY)
    def store_as(self, storage: str, day: date | None) -> None:
        self.storage = storage
        self.edited(day)

    @rule(day=A_DAY)
    def change_grain(self, day: date | None) -> None:
        self.wide_grain = not self.wide_grain
        self.edited(day)

    @rule(days=st.sampled_from([0, 2, 3]))
    def look_back(self, days: int) -> None:
        self.days = days
        self.write()

    @rule(name=st.sampled_from(TABLES), day=A_DAY)
    def rename_file(self, name: str, day: date | None) -> None:
        self.table = name
        self.edited(day)

    @precondition(lambda self: self.columns)
    @rule(data=st.data())
    def show(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.columns)))
        self.shown = {name: self.columns[name]}
        self.write()

    # ---- commands

    def edited(self, day: date | None) -> None:
        """Write the changed files and, unless `day` is None, build that load_date."""
        self.write()
        if day:
            self.run(day, "table")

    @rule(day=st.sampled_from(DAYS), which=st.sampled_from(["table", "view", "reader"]))
    def run(self, day: date, which: str) -> None:
        name = {"table": f"marts.{self.table}", "view": "stg.shown", "reader": "marts.reader"}[which]
        context = self.lab.context()
        if name not in map(str, context.pipeline.tables):
            return
        try:
            outcome = build(context, context.pipeline.table(name), day)
        except (DefinitionError, UpstreamError):
            return  # the edit is refused with a message; no other error may occur
        assert not outcome.held
        self.note()

    @rule()
    def drop_the_table(self) -> None:
        try:
            relation = Relation("marts", self.table)
            drop_table(self.lab.server, self.lab.name, relation, lambda _phase, _done, _total: None)
        except DefinitionError:
            return  # the view depends on the table
        self.expected = {key: value for key, value in self.expected.items() if key[0] != str(relation)}

    def note(self) -> None:
        """Remember the rows of each new publish, including those of views published with their table."""
        for publish in self.published():
            known = self.expected.get((publish.asset, publish.load_date))
            if known is None or known[0] != publish.publish_id:
                self.expected[publish.asset, publish.load_date] = (publish.publish_id, self.rows_of(publish))

    def latest_rows(self, latest: publishes.Publish) -> list[Any]:
        """Return the rows that readers of the latest load_date see, after a row with the column names.

        The view shows the types of the table, which another load_date may need to be wider: so the values are compared
        in the types of their publish.
        """
        with self.lab.session() as session:
            view = session.execute(f"select * from marts.{self.table}_latest limit 0".encode())
            names = [column.name for column in view.description or ()]
            types = {**(latest.types or {}), "load_date": "date"}
            shown = ", ".join(f"{name}::{types[name]}::text" for name in names)
            cursor = session.execute(f"select {shown} from marts.{self.table}_latest order by thing_id".encode())
            return [names, *cursor.fetchall()]

    # ---- invariants

    @invariant()
    def readers_of_the_latest_load_date_see_its_published_rows(self) -> None:
        if not hasattr(self, "expected"):
            return
        of_table = [publish for publish in self.published() if publish.asset == f"marts.{self.table}"]
        if not of_table:
            return
        latest = max(of_table, key=lambda publish: publish.load_date)
        rows = self.latest_rows(latest)
        assert self.seen.setdefault(latest.publish_id, rows) == rows

    def published(self) -> list[publishes.Publish]:
        with self.lab.session() as session:
            return publishes.all_current(session)

    def rows_of(self, publish: publishes.Publish) -> list[Any]:
        assert publish.types
        names = ", ".join(f"{name}::{type_}::text" for name, type_ in publish.types.items())
        return self.lab.rows(f"select {names} from {publish.asset} where load_date = '{publish.load_date}' order by 1")

    @invariant()
    def every_published_load_date_has_its_rows(self) -> None:
        if not hasattr(self, "expected"):
            return
        found = self.published()
        assert {(publish.asset, publish.load_date) for publish in found} == set(self.expected)
        pipeline = self.lab.pipeline()
        for publish in found:
            publish_id, rows = self.expected[publish.asset, publish.load_date]
            assert publish.publish_id == publish_id
            assert self.rows_of(publish) == rows
            table = pipeline.tables.get(Relation.parse(publish.asset))
            if table and table.code_version == publish.code_version:
                with self.lab.session() as session:
                    result = check_as_published(session, table, publish)
                assert result.passed, result

    @invariant()
    def the_plan_reports_tables_that_differ_from_their_files(self) -> None:
        if not hasattr(self, "expected"):
            return
        pipeline = self.lab.pipeline()
        by_day: dict[date, dict[str, publishes.Publish]] = {day: {} for day in DAYS}
        for publish in self.published():
            by_day[publish.load_date][publish.asset] = publish
        with self.lab.session() as session:
            [statuses] = collect(pipeline, self.lab.store, session, DAYS[0], DAYS[-1])
        for status in statuses:
            found = by_day[status.load_date]
            as_said = all(
                str(relation) in found and found[str(relation)].code_version == table.code_version
                for relation, table in pipeline.tables.items()
            )
            if status.state == "published":
                assert as_said
            if not as_said:
                assert status.state in {"missing", "stale", "failed", "lost"}


@pytest.fixture(scope="module")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("edits")) as opened:
        opened.prepared()
        yield opened


@pytest.mark.nightly
def test_no_edit_changes_the_rows_of_another_published_load_date(lab: PipelineHarness) -> None:
    class OfTheTest(Edits):
        pass

    OfTheTest.lab = lab
    count = int(os.environ.get("TEST_EDITS", "5"))
    run_state_machine_as_test(
        OfTheTest,
        settings=settings(
            max_examples=count,
            stateful_step_count=14 if count < 50 else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=count < 50,
        ),
    )
