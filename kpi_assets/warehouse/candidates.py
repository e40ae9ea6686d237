"""Candidates: a build made aside, in a table of its own that no reader knows.

A candidate is a table in the schema `builds`, named after its table, load_date and build. When it is published as a
partition it stays where it is and is attached; else its rows are copied. What is neither published nor kept for
inspection is swept.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.model.header import Chart
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.query import digest
from kpi_assets.warehouse.bootstrap import BUILDS


class DefinitionError(UserError):
    """A file's SQL does not do in this database what its header says."""


@dataclass(frozen=True)
class Candidate:
    """One build of a table and load_date, aside."""

    table: Table
    load_date: date
    build_id: int

    @property
    def relation(self) -> Relation:
        """Where it lies, for people too."""
        schema, table = self.table.relation
        return Relation(BUILDS, f"{_short(schema, table)}__{self.load_date:%Y%m%d}__{self.build_id}")

    @property
    def name(self) -> sql.Composable:
        """The same for SQL."""
        return identifier(self.relation)

    @property
    def parameters(self) -> dict[str, date]:
        """What the file's SQL is executed with."""
        return {LOAD_DATE: self.load_date}


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
    _promise_load_date(connection, candidate)


def create_from_select(connection: Connection[Any], candidate: Candidate) -> int:
    """Make the candidate from its file's SELECT; returns its rows.

    Raises DefinitionError when a column comes out as another type than the header declares.
    """
    query = candidate.table.query
    assert query is not None
    columns = sql.SQL(", ").join(sql.Identifier("q", name) for name in candidate.table.columns)
    statement = sql.SQL(
        "create table {} with (autovacuum_enabled = false) as select {}::date as {}, {} from (\n{}\n) as q"
    ).format(
        candidate.name,
        sql.Placeholder(LOAD_DATE),
        sql.Identifier(LOAD_DATE),
        columns,
        sql.SQL(query.sql.strip()),
    )
    rows = connection.execute(statement, candidate.parameters).rowcount
    _check_types(connection, candidate)
    _promise_load_date(connection, candidate)
    return rows


def _promise_load_date(connection: Connection[Any], candidate: Candidate) -> None:
    """With this constraint Postgres attaches the partition without reading it."""
    connection.execute(
        sql.SQL("alter table {} add check ({date} is not null and {date} = {value})").format(
            candidate.name, date=sql.Identifier(LOAD_DATE), value=sql.Literal(candidate.load_date)
        )
    )


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


def copy_csv(
    connection: Connection[Any], candidate: Candidate, blocks: Iterable[bytes], on_progress: Callable[[int], None]
) -> int:
    """Load a CSV with its header line, typed, in the transaction that made the candidate; returns the rows.

    Raises psycopg.DataError for the first value or record that does not fit.
    """
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in candidate.table.columns)
    statement = sql.SQL("copy {} ({}) from stdin with (format csv, header match, freeze, encoding 'UTF8')")
    done = 0
    with connection.cursor() as cursor:
        with cursor.copy(statement.format(candidate.name, columns)) as copy:
            for block in blocks:
                copy.write(block)
                done += len(block)
                on_progress(done)
        return cursor.rowcount


def build_index(connection: Connection[Any], candidate: Candidate) -> None:
    """Build the unique index of the grain. Raises psycopg.errors.UniqueViolation where rows share a key."""
    key = sql.SQL(", ").join(sql.Identifier(column) for column in candidate.table.header.grain)
    connection.execute(sql.SQL("create unique index on {} ({})").format(candidate.name, key))


def analyze(connection: Connection[Any], candidate: Candidate) -> None:
    """Give the planner its statistics."""
    connection.execute(sql.SQL("analyze {}").format(candidate.name))


def first_rows(connection: Connection[Any], candidate: Candidate, count: int) -> list[dict[str, Any]]:
    """The first rows by the grain, for people to look at, as JSON values; the grain's index finds them."""
    rows = connection.execute(
        sql.SQL("select to_json(t) from (select {} from {} order by {} limit {}) as t").format(
            sql.SQL(", ").join(sql.Identifier(name) for name in candidate.table.columns),
            candidate.name,
            sql.SQL(", ").join(sql.Identifier(name) for name in candidate.table.header.grain),
            sql.Literal(count),
        )
    ).fetchall()
    return [row for (row,) in rows]


def chart_rows(connection: Connection[Any], candidate: Candidate, chart: Chart) -> list[tuple[str, float | None]]:
    """(label, value) of each bar of a KPI's chart, in the order of x; only the highest where there are too many."""
    statement = sql.SQL(
        "select x::text, y::double precision from ("
        "select {x} as x, {y} as y from {this} order by {y} desc nulls last, {x} limit {top}) as highest "
        "order by case when (select count(*) from {this}) <= {top} then x end, y desc nulls last, x"
    ).format(x=sql.Identifier(chart.x), y=sql.Identifier(chart.y), this=candidate.name, top=sql.Literal(chart.top))
    return connection.execute(statement).fetchall()


def size_of(connection: Connection[Any], relation: Relation) -> int:
    """Bytes on disk, indexes included."""
    row = connection.execute(
        "select pg_total_relation_size(%s::regclass)", [identifier(relation).as_string(connection)]
    ).fetchone()
    return int(row[0]) if row else 0


def drop(connection: Connection[Any], relation: Relation) -> None:
    """Drop a build if it is there."""
    connection.execute(sql.SQL("drop table if exists {}").format(identifier(relation)))


def leftovers(connection: Connection[Any], table: Table, load_date: date) -> Iterator[Relation]:
    """Builds of a table and load_date that are not published: held ones, and those whose process died.

    Whoever holds the lock of this table and load_date may drop them.
    """
    prefix = f"{_short(*table.relation)}__{load_date:%Y%m%d}__"
    rows = connection.execute(
        "select c.relname from pg_class as c where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') "
        "and starts_with(c.relname, %s) and not c.relispartition",
        [BUILDS, prefix],
    ).fetchall()
    yield from (Relation(BUILDS, name) for (name,) in rows)
