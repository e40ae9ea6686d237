"""Candidates: a build made aside, in a table of its own that no reader knows.

A candidate is a table in the schema `builds`, named after its table, load_date and build. When it is published as a
partition it stays where it is and is attached; else its rows are copied. What is neither published nor kept for
inspection is swept.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.model.header import Chart
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.query import digest
from kpi_assets.model.results import ChartRows
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse.provision import BUILDS

NOTHING: Mapping[Relation, str] = {}
LETTERS = sql.Literal(200)  # of a value that people look at
# A candidate and its slices, if it has any.
_TABLES = """
select c.oid, c.relname, c.relkind from pg_class as c where c.oid = %(name)s::regclass
union all
select c.oid, c.relname, c.relkind from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid
where i.inhparent = %(name)s::regclass
"""


class DefinitionError(UserError):
    """A file's SQL does not do in this database what its header says."""


@dataclass(frozen=True)
class Candidate:
    """One build of a table and load_date, aside; or one slice of it, which is a table of its own."""

    table: Table
    load_date: date
    build_id: int
    slice: Slice | None = None

    @property
    def relation(self) -> Relation:
        """Where it lies, for people too."""
        schema, table = self.table.relation
        name = f"{_short(schema, table)}__{self.load_date:%Y%m%d}__{self.build_id}"
        return Relation(BUILDS, name if self.slice is None else f"{name}_{self.slice.number}")

    @property
    def index(self) -> str:
        """The index of its grain. Servers cut the names that they make, and two writers then make the same at once."""
        name = self.relation.table
        return f"{name if len(name) < 60 else digest(name)}_key"

    def cut(self, slices: Iterable[Slice]) -> "list[Candidate]":
        """Its slices."""
        return [replace(self, slice=each) for each in slices]

    @property
    def name(self) -> sql.Composable:
        """The same for SQL."""
        return identifier(self.relation)


def identifier(relation: Relation) -> sql.Identifier:
    """A relation's name for SQL."""
    return sql.Identifier(*relation)


def _short(schema: str, table: str) -> str:
    """`schema__table` within what leaves room in 63 letters for a date and a build's number."""
    name = f"{schema}__{table}"
    return name if len(name) <= 40 else f"{name[:23]}_{digest(name)}"


def column_definitions(table: Table) -> sql.Composable:
    """The columns of a table as its header declares them, load_date first."""
    declared = [(LOAD_DATE, "date"), *((name, column.type) for name, column in table.header.columns.items())]
    return sql.SQL(", ").join(
        # The type comes from header.py's allow-list.
        sql.SQL("{} ").format(sql.Identifier(name)) + sql.SQL(type_)
        for name, type_ in declared
    )


def renamed(columns: Mapping[str, str]) -> sql.Composable:
    """Columns (name -> as it is stored) for a SELECT, under their names."""
    return sql.SQL(", ").join(
        sql.SQL("{} as {}").format(sql.Identifier(there), sql.Identifier(name)) for name, there in columns.items()
    )


def create_empty(connection: Connection[Any], candidate: Candidate) -> None:
    """Make the candidate without rows; every row that is put in has its load_date."""
    connection.execute(
        sql.SQL("create table {} ({}) with (autovacuum_enabled = false)").format(
            candidate.name, column_definitions(candidate.table)
        )
    )
    connection.execute(
        sql.SQL("alter table {} alter column {} set default {}").format(
            candidate.name, sql.Identifier(LOAD_DATE), sql.Literal(candidate.load_date)
        )
    )


def read_slice(relation: Relation, column: str, part: Slice) -> sql.Composable:
    """A table of which only a slice of a column is read."""
    return sql.SQL("(select * from {} where {})").format(identifier(relation), in_slice(part, sql.Identifier(column)))


def as_declared(connection: Connection[Any], tables: Iterable[Table]) -> dict[Relation, str]:
    """A subquery for each of the tables that is stored with wider types than its file declares, which has those.

    That is so while load_dates of before have such values; those that are read do not, which the ledger says.
    """
    found = {}
    for table in tables:
        stored = types_of(connection, table.relation)
        if any(stored.get(name, type_) != type_ for name, type_ in table.types.items()):
            columns = sql.SQL(", ").join(
                sql.SQL("{0}::{1} as {0}").format(sql.Identifier(name), sql.SQL(type_))
                for name, type_ in {LOAD_DATE: "date", **table.types}.items()
            )
            query = sql.SQL("(select {} from {})").format(columns, identifier(table.relation))
            found[table.relation] = query.as_string(connection)
    return found


def create_from_select(
    connection: Connection[Any],
    candidate: Candidate,
    window: Window | None = None,
    read: Callable[[Relation, str, Slice], sql.Composable] = read_slice,
    instead: Mapping[Relation, str] = NOTHING,
) -> int:
    """Make the candidate from its file's SELECT, with `lookback` over the window; returns its rows.

    A slice `read`s what can be narrowed to it; `instead` are subqueries for tables, of what is not a slice. Raises
    DefinitionError when a column comes out as another type than the header declares.
    """
    query = candidate.table.query
    assert query is not None
    columns = sql.SQL(", ").join(_selected(candidate.table))
    key, part = candidate.table.header.grain[0], candidate.slice
    text = query.executed_on(instead).strip()
    where: sql.Composable = sql.SQL("")
    if part is not None:
        text, is_decided = query.narrowed(key, lambda relation, column: read(relation, column, part).as_string())
        if not is_decided:
            where = sql.SQL(" where {}").format(in_slice(part, sql.Identifier("q", key)))
    statement = sql.SQL(
        "create table {} with (autovacuum_enabled = false) as select {}::date as {}, {} from (\n{}\n) as q{}"
    ).format(
        candidate.name,
        sql.Placeholder(LOAD_DATE),
        sql.Identifier(LOAD_DATE),
        columns,
        sql.SQL(text),
        where,
    )
    parameters = {LOAD_DATE: candidate.load_date, **(window.parameters if window else {})}
    rows = connection.execute(statement, parameters).rowcount
    _check_types(connection, candidate)
    return rows


def _selected(table: Table) -> Iterator[sql.Composable]:
    """The columns of what its SELECT returns, called q, and the one that min_volume makes of them."""
    yield from (sql.Identifier("q", name) for name in table.header.selected)
    if volume := table.header.min_volume:
        yield sql.SQL("({} >= {}) is not true as {}").format(
            sql.Identifier("q", volume.column), sql.Literal(volume.at_least), sql.Identifier(LOW_VOLUME)
        )


def for_readers(columns: Collection[str]) -> sql.Composable:
    """The condition of the rows with these columns that readers are shown: also those not judged yet."""
    return sql.SQL("{} is not true").format(sql.Identifier(LOW_VOLUME)) if LOW_VOLUME in columns else sql.SQL("true")


def in_slice(part: Slice, key: sql.Composable) -> sql.Composable:
    """Rows without a key go into the first slice, whose promise they break: none is passed over."""
    ends = _within(part, key)
    return ends if part.number else sql.SQL("({} or {} is null)").format(ends, key)


def _within(part: Slice, key: sql.Composable) -> sql.Composable:
    ends = [
        sql.SQL("{} {} {}").format(key, sql.SQL(sign), sql.Literal(end))
        for sign, end in ((">=", part.low), ("<", part.high))
        if end is not None
    ]
    return sql.SQL(" and ").join(ends)


def promise(connection: Connection[Any], candidate: Candidate) -> None:
    """Prove the load_date and the slice of every row: with this constraint Postgres attaches without reading again.

    Of rows that are there already it takes a reading. Raises psycopg.errors.CheckViolation where a row lies outside of
    its slice; said before the rows come, whoever puts such a row in gets it.
    """
    date_column = sql.Identifier(LOAD_DATE)
    proofs: list[sql.Composable] = [
        sql.SQL("{} is not null").format(date_column),
        sql.SQL("{} = {}").format(date_column, sql.Literal(candidate.load_date)),
    ]
    if candidate.slice is not None:
        key = sql.Identifier(candidate.table.header.grain[0])
        proofs += [sql.SQL("{} is not null").format(key), _within(candidate.slice, key)]
    connection.execute(sql.SQL("alter table {} add check ({})").format(candidate.name, sql.SQL(" and ").join(proofs)))


def _check_types(connection: Connection[Any], candidate: Candidate) -> None:
    found = types_of(connection, candidate.relation)
    for name, column in candidate.table.header.columns.items():
        if found[name] != column.type:
            raise DefinitionError(
                f"{candidate.table.path}: the column {name!r} is declared as {column.type}, but the SELECT returns "
                f"{found[name]}: cast it (::{column.type}) or correct the header."
            )


def types_of(connection: Connection[Any], relation: Relation) -> dict[str, str]:
    """The columns of a table in the database and their types; empty where there is no such table."""
    return dict(
        connection.execute(
            "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute as a "
            "where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by a.attnum",
            [identifier(relation).as_string(connection)],
        ).fetchall()
    )


def copy_in(
    connection: Connection[Any],
    candidate: Candidate,
    blocks: Iterable[bytes],
    options: str,
    on_progress: Callable[[int], None],
) -> int:
    """Load bytes by COPY, typed, in the transaction that made the candidate; returns the number of rows.

    `options` are what COPY … WITH (…) has to know of the bytes, such as "format csv, header match"; they must come from
    code, not from data. `on_progress` is told the bytes so far. Raises psycopg.DataError for the first value or record
    that does not fit.
    """
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in candidate.table.columns)
    statement = sql.SQL("copy {} ({}) from stdin with ({}, freeze, encoding 'UTF8')").format(
        candidate.name, columns, sql.SQL(options)
    )
    done = 0
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block)
                done += len(block)
                on_progress(done)
        return cursor.rowcount


def build_index(connection: Connection[Any], candidate: Candidate) -> bool:
    """Build the unique index of the grain; False, and none is there, where rows share a key.

    Its pages are filled: a load_date is replaced, never added to.
    """
    key = sql.SQL(", ").join(sql.Identifier(column) for column in candidate.table.header.grain)
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("create unique index {} on {} ({}) with (fillfactor = 100)").format(
                    sql.Identifier(candidate.index), candidate.name, key
                )
            )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != candidate.index:
            raise  # of the server's own books
        return False
    return True


def analyze(connection: Connection[Any], candidate: Candidate) -> None:
    """Give the planner its statistics."""
    connection.execute(sql.SQL("analyze {}").format(candidate.name))


def first_rows(connection: Connection[Any], candidate: Candidate, count: int) -> list[dict[str, str | None]]:
    """The first rows by the grain, for people to look at; the grain's index finds them.

    Values are the begin of the texts that the server has for them: not every date or number has another form here.
    """
    table = candidate.table
    name: sql.Composable = candidate.name
    where: sql.Composable = sql.SQL("")
    columns: list[sql.Composable] = [sql.Identifier(column) for column in table.columns]
    if table.header.storage == "view":
        shown, there = table.shows
        name = identifier(shown)
        where = sql.SQL("where {} = {}").format(sql.Identifier(LOAD_DATE), sql.Literal(candidate.load_date))
        columns = [renamed(there)]
    rows = connection.execute(
        sql.SQL("select {} from (select {} from {} {} order by {} limit {}) as t").format(
            sql.SQL(", ").join(
                sql.SQL("left(t.{}::text, {})").format(sql.Identifier(c), LETTERS) for c in table.columns
            ),
            sql.SQL(", ").join(columns),
            name,
            where,
            sql.SQL(", ").join(sql.Identifier(name) for name in table.header.grain),
            sql.Literal(count),
        )
    ).fetchall()
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


def chart_rows(connection: Connection[Any], candidate: Candidate, chart: Chart) -> ChartRows:
    """The bars of a KPI's chart, in the order of x; only the highest, the highest first, where there are too many.

    A value that no float can hold is infinite; a y that is no number has no bar.
    """
    return _bars(connection, candidate.name, for_readers(candidate.table.columns), chart)


def published_chart_rows(
    connection: Connection[Any], relation: Relation, load_date: date, columns: Collection[str], chart: Chart
) -> ChartRows:
    """The same of a load_date that was published with these columns."""
    shown = sql.SQL("{} = {} and {}").format(sql.Identifier(LOAD_DATE), sql.Literal(load_date), for_readers(columns))
    return _bars(connection, identifier(relation), shown, chart)


def _bars(connection: Connection[Any], table: sql.Composable, shown: sql.Composable, chart: Chart) -> ChartRows:
    statement = sql.SQL(
        "with shown as (select {x} as x, {y} as y from {table} where {shown}) "
        "select left(x::text, {letters}), y::text, (select count(*) from shown) from ("
        "select x, y from shown order by y desc nulls last, x limit {top}) as highest "
        "order by case when (select count(*) from shown) <= {top} then highest.x end, highest.y desc nulls last, "
        "highest.x"
    ).format(
        x=sql.Identifier(chart.x),
        y=sql.Identifier(chart.y),
        table=table,
        shown=shown,
        top=sql.Literal(chart.top),
        letters=LETTERS,
    )
    found = connection.execute(statement).fetchall()
    return ChartRows([(label or "NULL", _number(text)) for label, text, _ in found], found[0][2] if found else 0)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def size_of(connection: Connection[Any], candidate: Candidate) -> int:
    """Bytes on disk, slices and indexes included; none of a view."""
    if candidate.table.header.storage == "view":
        return 0
    row = connection.execute(
        f"select sum(pg_total_relation_size(oid)) from ({_TABLES}) as t",  # noqa: S608
        {"name": candidate.name.as_string(connection)},
    ).fetchone()
    return int(row[0]) if row else 0


def leaves(connection: Connection[Any], candidate: Candidate) -> list[Relation]:
    """The tables that hold its rows: itself, or its slices."""
    rows = connection.execute(
        f"select relname from ({_TABLES}) as t where relkind = 'r' order by relname",  # noqa: S608
        {"name": candidate.name.as_string(connection)},
    ).fetchall()
    return [Relation(BUILDS, name) for (name,) in rows]


def drop(connection: Connection[Any], relation: Relation) -> None:
    """Drop a build if it is there."""
    connection.execute(sql.SQL("drop table if exists {}").format(identifier(relation)))


def builds_of(connection: Connection[Any], relation: Relation) -> list[Relation]:
    """The builds of a table, of whatever load_date, that are not published."""
    rows = connection.execute(
        "select c.relname from pg_class as c where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') "
        "and not c.relispartition and c.relname ~ %s",
        [BUILDS, rf"^{_short(*relation)}__\d{{8}}__\d+(_\d+)?$"],
    ).fetchall()
    return [Relation(BUILDS, name) for (name,) in rows]


def leftovers(connection: Connection[Any], table: Table, load_date: date) -> Iterator[Relation]:
    """Builds of a table and load_date that are not published: held ones, and those whose process died.

    Whoever holds the lock of this table and load_date may drop them.
    """
    rows = connection.execute(
        "select c.relname from pg_class as c where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') "
        "and not c.relispartition and c.relname ~ %s",
        [BUILDS, rf"^{_short(*table.relation)}__{load_date:%Y%m%d}__\d+(_\d+)?$"],
    ).fetchall()
    yield from (Relation(BUILDS, name) for (name,) in rows)
