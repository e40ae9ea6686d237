"""A history that tests fold without builds around it, and what its versions must be after each fold.

Its file may change: each `Shape` is a variant with other columns. What is delivered is text, as Postgres prints it.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg import Connection, sql

from kpi_assets.ledger import publishes
from kpi_assets.materialize import compare
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates, tables
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.connection import BULK, connect
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.kinds.history import add_keys
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
IS_ACTIVE = "is_active: {type: boolean, value: end_date is null, description: Whether it holds.}"
# The values that are delivered by the type of `amount`, as Postgres prints them; None is NULL.
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
_NUMBERS = itertools.count()
Key = tuple[str, Decimal]
Row = dict[str, str | None]


class Shape(NamedTuple):
    """A variant of the file: the type of `amount`, whether it has the column `extra`, and whether it has `adds`."""

    type: str = "numeric"
    has_extra: bool = False
    adds: bool = False

    @property
    def file(self) -> str:
        """The file of the table."""
        columns = ["code", "amount", "number", "name", "more", "marks", *(["extra"] if self.has_extra else [])]
        return FILE.format(
            type=self.type,
            extra=EXTRA if self.has_extra else "",
            adds=IS_ACTIVE if self.adds else "",
            select=", ".join(f"null as {column}" for column in columns),
        )


SHAPES = [Shape(type_, extra, adds) for type_ in AMOUNTS for extra in (False, True) for adds in (False, True)]


def key_of(row: Row) -> Key:
    """The key of a row, equal for equal numbers."""
    assert row["code"] is not None
    assert row["number"] is not None
    return row["code"], Decimal(row["number"])


def number_as(type_: str, value: str | None) -> str | None:
    """A number as Postgres prints it in a column of another type, which holds it."""
    if value in {None, "NaN"} or type_ == "numeric":
        return value
    assert value is not None
    return str(Decimal(value).quantize(Decimal("0.01") if type_ == "numeric(8,2)" else Decimal(1)))


@dataclass
class Things:
    """A history with two columns as its key, and the rows that each published load_date delivered."""

    connection: Connection[Any]
    tables: Mapping[Shape, Table]  # its variants
    build_id: int
    other_connection: Connection[Any]
    shape: Shape = Shape()
    said: dict[date, list[Row]] = field(default_factory=dict)  # as they were delivered
    kept: dict[date, list[Row]] = field(default_factory=dict)  # as they are stored: a type may keep 1 as 1.00
    published_as: dict[date, Shape] = field(default_factory=dict)
    compared: int = 0  # publishes before which the rows were compared

    @classmethod
    @contextmanager
    def open(cls, lab: PipelineHarness, name: str) -> Iterator["Things"]:
        """Yield the history `name`, which has no load_date yet."""
        found = {}
        for shape in SHAPES:
            lab.file(f"marts/{name}.sql", shape.file)
            found[shape] = lab.pipeline().table(f"marts.{name}")
        with (
            connect(lab.server, lab.name, "things", more=BULK) as connection,
            connect(lab.server, lab.name, "beside", more=BULK) as other,
        ):
            [(build_id,)] = connection.execute(
                "insert into ops.pipeline_runs (run_id, pipeline_name, job, status) "
                "values ('things', 'things', 'things', 'success') returning id"
            ).fetchall()
            yield cls(connection, found, build_id, other)

    @property
    def table(self) -> Table:
        """The table as the file is now."""
        return self.tables[self.shape]

    @property
    def beside(self) -> "Things":
        """The same history in another session."""
        return replace(self, connection=self.other_connection, other_connection=self.connection)

    # ---- what happens

    def clear(self, shape: Shape = Shape()) -> None:  # noqa: B008  it is immutable
        """Drop the table, and forget its load_dates."""
        self.said.clear()
        self.kept.clear()
        self.published_as.clear()
        self.shape = shape
        with self.connection.transaction():
            tables.drop(self.connection, self.table.relation)
            self.connection.execute("delete from ops.publishes where asset = %s", [str(self.table.relation)])

    def deliver(self, day: date, rows: Sequence[Row], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Publish the rows of a load_date, and check what the fold says of it."""
        state: list[Any] = []

        def happens() -> None:
            meanwhile()
            state.extend((self.stored, self.as_of(day)))

        changes = self.publish(day, rows, happens)
        stored, before = state
        self.said[day], self.kept[day], self.published_as[day] = [*rows], [*rows], self.shape
        type_ = self.stored["amount"]
        for load_date, of_day in self.kept.items():
            self.kept[load_date] = [{**row, "amount": number_as(type_, row["amount"])} for row in of_day]
        if self.stored == stored:  # else the load_date was removed before, and all its rows are changes
            assert changes == _changes(before, self.stored_rows(day))

    def publish(
        self, day: date, rows: Sequence[Row], meanwhile: Callable[[], None] = lambda: None
    ) -> VersionChanges | None:
        """Publish the rows of a load_date as a build does: compared with the versions first, and put in later.

        What happens `meanwhile` is between these two.
        """
        connection, table = self.connection, self.table
        with connection.transaction():
            candidate = self.candidate(day, rows)
        comparison = compare.compare(connection, candidate)
        if comparison:
            self.compared += 1
        meanwhile()
        try:
            with connection.transaction():
                compared = comparison.if_valid(connection, candidate) if comparison else None
                shapes = publishes.by_columns(connection, table.relation, day)
                tables.ensure(connection, table, day, tables.published_of(connection, table, shapes))
                changes = strategy_of(table).publish(connection, candidate, compared)
                self.record(day, len(rows))
        finally:
            candidates.drop(connection, candidate.relation)
        return changes

    def record(self, day: date, rows: int) -> None:
        """Record in the ledger that a load_date is published."""
        publishes.record(
            self.connection,
            self.table.relation,
            day,
            build_id=self.build_id,
            run_id="things",
            manifest_hash="",
            code_version=self.table.code_version,
            rows=rows,
            checksum="",
            size_bytes=0,
            inputs={},
            columns=self.table.types,
        )

    def candidate(self, day: date, rows: Sequence[Row]) -> Candidate:
        """Create a candidate with these rows."""
        candidate = Candidate(self.table, day, next(_NUMBERS))
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

    def remove(self, day: date) -> None:
        """Remove a load_date."""
        with self.connection.transaction():
            strategy_of(self.table).remove(self.connection, self.table, day)
            publishes.record_drop(self.connection, [self.table.relation], day)
        del self.said[day], self.kept[day], self.published_as[day]

    # ---- what must hold

    @property
    def stored(self) -> dict[str, str]:
        """The columns of the stored rows and their types; none if nothing was published."""
        found = types_of(self.connection, self.table.relation)
        return {name: type_ for name, type_ in found.items() if name not in ADDED}

    def stored_rows(self, day: date) -> dict[Key, tuple[str | None, ...]]:
        """The rows of a published load_date as they are stored, with NULL in columns that it was published without."""
        stored = self.stored
        return {key_of(row): tuple(row.get(column) for column in stored) for row in self.kept[day]}

    def as_of(self, day: date) -> dict[Key, tuple[str | None, ...]]:
        """The rows that the history has for a day."""
        if not (stored := self.stored):
            return {}
        rows = strategy_of(self.table).rows_of(identifier(self.table.relation), day)
        found = self.connection.execute(
            sql.SQL("select t.code, t.number, {} from {} as t").format(_texts(stored), rows)
        ).fetchall()
        assert len({(code, number) for code, number, *_ in found}) == len(found)
        return {(code, number): tuple(row) for code, number, *row in found}

    def versions(self) -> list[tuple[Any, ...]]:
        """The stored versions: surrogate key, columns of the rows as texts, first and last day, whether current."""
        return self.connection.execute(
            sql.SQL(
                "select thing_sk, {}, effective_date, end_date, is_current from {} as h "
                'order by h.code collate "C", h.number, h.effective_date'
            ).format(_texts(self.stored), identifier(self.table.relation))
        ).fetchall()

    def check(self) -> None:
        """Assert that each load_date has its rows, and that the versions are those that follow from them."""
        names = [*self.stored]
        if not names:
            return
        said = {day: self.stored_rows(day) for day in self.said}
        assert {day: self.as_of(day) for day in self.said} == said
        for day, rows in self.kept.items():
            amounts = [number_as(self.published_as[day].type, row["amount"]) for row in rows]
            assert amounts == [row["amount"] for row in self.said[day]]
        code, number = names.index("code"), names.index("number")

        def key_text(row: tuple[str | None, ...]) -> str:
            return f"{json.dumps(row[code], ensure_ascii=False)}, {row[number]}"

        assert self.versions() == expected_versions(said, key_text)

    def check_order(self, again: "Things") -> None:
        """Publish the same load_dates `again` in order, with the columns that are stored now, and compare the bytes."""
        stored = self.stored
        again.clear(Shape(stored["amount"], "extra" in stored))
        for day in sorted(self.said):
            again.publish(day, [dict(zip(stored, row, strict=True)) for row in self.stored_rows(day).values()])
        assert again.versions() == self.versions()


def _texts(columns: Mapping[str, str]) -> sql.Composable:
    return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)


def _changes(before: Mapping[Key, object], after: Mapping[Key, object]) -> VersionChanges:
    """What a fold changes if these are the rows of its load_date before and after it."""
    return VersionChanges(
        new=len(after.keys() - before.keys()),
        changed=sum(before[key] != after[key] for key in before.keys() & after.keys()),
        ended=len(before.keys() - after.keys()),
    )


def share_read(things: Things, load_date: date, following: date | None = None, *, is_analyzed: bool = True) -> float:
    """Fold a load_date into a history of 100,000 versions; return the blocks read as a share of those of the table.

    Five of 50 keys change, which have a version for each of 2,000 days. Blocks of indexes are counted among those read.
    """
    connection = things.connection
    things.clear()
    with connection.transaction():
        tables.ensure(connection, things.table, load_date, [])
    connection.execute(
        "insert into marts.things (thing_sk, code, number, amount, name, effective_date, end_date) "
        "select k * 1000000 + v, k, 1, v, repeat('x', 50), %(first)s::date + v, "
        "case when v < 1999 then %(first)s::date + v end "
        "from generate_series(0, 1999) as v, generate_series(1, 50) as k",
        {"first": FIRST},
    )
    add_keys(connection, things.table)
    if is_analyzed:
        connection.execute("vacuum analyze marts.things")
    if following:
        things.record(following, 50)
    same = str(min((load_date - FIRST).days, 1999))
    rows: list[Row] = [
        {"code": str(k), "number": "1", "amount": "0.5" if k <= 5 else same, "name": "x" * 50} for k in range(1, 51)
    ]
    with connection.transaction():
        candidate = things.candidate(load_date, rows)
        assert candidates.build_index(connection, candidate)
        candidates.analyze(connection, candidate, is_unique=True)
        before = _blocks_read(connection)
        assert strategy_of(things.table).publish(connection, candidate) == VersionChanges(changed=5)
        read = _blocks_read(connection) - before
    [(pages,)] = connection.execute("select pg_relation_size('marts.things') / 8192").fetchall()
    return read / int(pages)


def _blocks_read(connection: Connection[Any]) -> int:
    """The blocks of the history and its indexes that the transaction has read."""
    [(found,)] = connection.execute(
        "select sum(pg_stat_get_xact_blocks_fetched(oid)) from pg_class where oid = 'marts.things'::regclass "
        "or oid in (select indexrelid from pg_index where indrelid = 'marts.things'::regclass)"
    ).fetchall()
    return int(found)
