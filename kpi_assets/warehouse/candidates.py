"""Candidates: each holds the rows of a build in a table of its own, which no reader sees before it is published.

A candidate is a table in the schema `builds`, named after its table, load_date and build. A candidate that was not
published is dropped by the next build of the same load_date. Rows that were published before and are kept have the
number of their version in their name, so that no build takes them for a candidate that was left over.
Belongs here: creating a candidate, filling it with one statement, its constraint, its index, its size. Not here:
publishing it (kinds/), cutting it into slices (slices.py), and records that COPY refuses (quarantine.py).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.lookback import Window
from kpi_assets.model.names import BATCH, LOAD_DATE, LOW_VOLUME, PREVIOUS, Relation, quoted
from kpi_assets.model.query import digest
from kpi_assets.model.slices import Slice
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import DefinitionError, column_definitions, identifier, types_of
from kpi_assets.warehouse.provision import BUILDS

NOTHING: Mapping[Relation, str] = {}
NO_SETTINGS: Mapping[str, str] = {}
_GROWING_FILL = 90  # percent of an index page, so that keys which come later find room
# A candidate and its slices, if it has any.
_TABLES = """
select c.oid, c.relname, c.relkind from pg_class as c where c.oid = %(name)s::regclass
union all
select c.oid, c.relname, c.relkind from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid
where i.inhparent = %(name)s::regclass
"""


@dataclass(frozen=True)
class Candidate:
    """The table of one build of a table and load_date, or of one slice of it.

    Of a table that grows it has the rows of one `batch`, which are added to those that are published if it `is_added`.
    With a `version`, its rows are those of a build that was published before, which are kept aside.
    """

    table: Table
    load_date: date
    build_id: int
    slice: Slice | None = None
    batch: int = 1
    is_added: bool = False
    version: int | None = None

    @property
    def relation(self) -> Relation:
        """The candidate's table in the schema `builds`."""
        schema, table = self.table.relation
        if self.version is not None:
            return Relation(BUILDS, f"{_short(schema, table)}__{self.load_date:%Y%m%d}__v{self.version}")
        name = f"{_short(schema, table)}__{self.load_date:%Y%m%d}__{self.build_id}"
        return Relation(BUILDS, name if self.slice is None else f"{name}_{self.slice.number}")

    @property
    def aside(self) -> Relation:
        """The table of the rows that rules took out of the candidate and of its slices (set_aside.py)."""
        return _aside(replace(self, slice=None).relation)

    @property
    def index(self) -> str:
        """The name of the index of the grain.

        Postgres truncates the names that it generates, so two writers could get the same name at the same time.
        """
        name = self.relation.table
        return f"{name if len(name) < 60 else digest(name)}_key"

    def cut(self, slices: Iterable[Slice]) -> "list[Candidate]":
        """Return a candidate for each slice."""
        return [replace(self, slice=each) for each in slices]

    @property
    def name(self) -> sql.Composable:
        """The name of the candidate's table as SQL."""
        return identifier(self.relation)


def _short(schema: str, table: str) -> str:
    """Return `schema__table`, shortened so that a name of 63 letters also has space for a date and a build_id."""
    name = f"{schema}__{table}"
    return name if len(name) <= 40 else f"{name[:23]}_{digest(name)}"


def _aside(relation: Relation) -> Relation:
    return Relation(BUILDS, f"{relation.table}_bad")


def create_empty(connection: Connection[Any], candidate: Candidate) -> None:
    """Create the candidate without rows. Every row that is inserted gets the candidate's load_date, and its batch."""
    connection.execute(
        sql.SQL("create table {} ({}) with (autovacuum_enabled = false)").format(
            candidate.name, column_definitions(candidate.table)
        )
    )
    made: dict[str, Any] = {
        LOAD_DATE: candidate.load_date,
        **({BATCH: candidate.batch} if candidate.table.grows else {}),
    }
    for column, value in made.items():
        connection.execute(
            sql.SQL("alter table {} alter column {} set default {}").format(
                candidate.name, sql.Identifier(column), sql.Literal(value)
            )
        )


def read_slice(relation: Relation, column: str, part: Slice) -> sql.Composable:
    """Return the rows of a table whose `column` lies in a slice, as a subquery."""
    return sql.SQL("(select * from {} where {})").format(identifier(relation), in_slice(part, sql.Identifier(column)))


def cast_to_declared(
    connection: Connection[Any], tables: Iterable[Table], unread: Collection[Relation] = ()
) -> dict[Relation, str]:
    """Return a subquery that casts to the declared types, for each table that is stored with other types.

    A table keeps wider types while another load_date has such values. According to the ledger, the load_dates that a
    build reads have none, so the casts lose nothing. A table that is `unread`, because it is not due in a window or
    carries on from no load_date, has a subquery without rows: it may not exist yet. Otherwise a history has none: what
    is read in its place casts its columns already.
    """
    found = {}
    for table in tables:
        if table.relation in unread:
            types = {LOAD_DATE: "date", **table.readable_types}
            nulls = (f"null::{type_} as {quoted(name)}" for name, type_ in types.items())
            found[table.relation] = f"(select {', '.join(nulls)} where false)"
            continue
        if table.storage.keeps_versions:
            continue
        stored = types_of(connection, table.relation)
        if any(stored.get(name, type_) != type_ for name, type_ in table.types.items()):
            columns = sql.SQL(", ").join(
                sql.SQL("{0}::{1} as {0}").format(sql.Identifier(name), sql.SQL(type_))
                for name, type_ in {LOAD_DATE: "date", **table.types}.items()
            )
            query = sql.SQL("(select {} from {})").format(columns, identifier(table.relation))
            found[table.relation] = query.as_string(connection)
    return found


def read_batches(relation: Relation, load_date: date, last: int, instead: str | None = None) -> str:
    """Return the rows of a growing table up to a batch, as a subquery without an alias."""
    source = sql.SQL(f"{instead} as every_row") if instead else identifier(relation)
    return (
        sql.SQL("(select * from {} where {} = {} and {} <= {})")
        .format(source, sql.Identifier(LOAD_DATE), sql.Literal(load_date), sql.Identifier(BATCH), sql.Literal(last))
        .as_string()
    )


def create_from_select(
    connection: Connection[Any],
    candidate: Candidate,
    window: Window | None = None,
    read: Callable[[Relation, str, Slice], sql.Composable] = read_slice,
    substitutes: Mapping[Relation, str] = NOTHING,
    previous: date | None = None,
) -> int:
    """Create the candidate from its file's SELECT and return its number of rows.

    `window` is given for a table with `lookback`. If the candidate is a slice, `read` returns the subquery that
    replaces a table of which only the slice is needed; otherwise `substitutes` has subqueries that replace tables.
    `previous` is the load_date from which a table carries on.
    Raises DefinitionError if the SELECT returns a column with another type than the header declares.
    """
    query = candidate.table.query
    assert query is not None
    columns = sql.SQL(", ").join(_selected(candidate.table))
    key, part = candidate.table.header.grain[0], candidate.slice
    text = query.executed_on(substitutes).strip()
    where: sql.Composable = sql.SQL("")
    if part is not None:
        text, is_decided = query.pushed_down(key, lambda relation, column: read(relation, column, part).as_string())
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
    of_window = window.parameters if window else {}
    parameters = {LOAD_DATE: candidate.load_date, PREVIOUS: previous, BATCH: candidate.batch, **of_window}
    rows = connection.execute(statement, parameters).rowcount
    _check_types(connection, candidate)
    return rows


def _selected(table: Table) -> Iterator[sql.Composable]:
    """Yield the columns of the table's SELECT, which has the alias q, and the column that min_volume adds."""
    yield from (sql.Identifier("q", name) for name in table.header.selected)
    if volume := table.header.min_volume:
        yield sql.SQL("({} >= {}) is not true as {}").format(
            sql.Identifier("q", volume.column), sql.Literal(volume.at_least), sql.Identifier(LOW_VOLUME)
        )
    if table.grows:
        yield sql.SQL("{}::integer as {}").format(sql.Placeholder(BATCH), sql.Identifier(BATCH))


def in_slice(part: Slice, key: sql.Composable) -> sql.Composable:
    """Return the condition that a row belongs to a slice of `key`.

    Rows with a NULL key are routed to the first slice, where they violate its constraint, so they cannot be lost
    silently.
    """
    ends = _within(part, key)
    return ends if part.number else sql.SQL("({} or {} is null)").format(ends, key)


def _within(part: Slice, key: sql.Composable) -> sql.Composable:
    ends = [
        sql.SQL("{} {} {}").format(key, sql.SQL(sign), sql.Literal(end))
        for sign, end in ((">=", part.low), ("<", part.high))
        if end is not None
    ]
    return sql.SQL(" and ").join(ends)


def add_partition_check(connection: Connection[Any], candidate: Candidate) -> None:
    """Add a constraint on the load_date and the slice of every row, so that Postgres attaches it without a scan.

    If the candidate has rows, they are scanned, and psycopg.errors.CheckViolation is raised if one lies outside the
    slice. If it has none, the statement that inserts such a row raises that error. Only partitions are attached, so
    another table needs none.
    """
    if not candidate.table.storage.sliceable:
        return
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
            place = f"{candidate.table.path}:{candidate.table.lines.get(name, 1)}"
            raise DefinitionError(
                f"{place}: the column {name!r} is declared as {column.type}, but the SELECT returns "
                f"{found[name]}: cast it (::{column.type}) or correct the header."
            )


def copy_in(
    connection: Connection[Any],
    candidate: Candidate,
    blocks: Iterable[bytes],
    columns: Sequence[str],
    options: str,
    settings: Mapping[str, str] = NO_SETTINGS,
    on_block: Callable[[], None] = lambda: None,
) -> int:
    """COPY bytes into columns in the transaction that created the candidate, and return the number of rows.

    `options` are those of COPY … WITH (…) that describe the bytes, such as "format csv, header match"; they must come
    from code, not from data. `settings` are those of the session while Postgres reads the values. `on_block` is called
    after each block. Raises psycopg.DataError for the first value or record that is invalid.
    """
    statement = sql.SQL("copy {} ({}) from stdin with ({}, freeze, encoding 'UTF8')").format(
        candidate.name, sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(options)
    )
    with _settings(connection, settings), connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block)
                on_block()
        return cursor.rowcount


@contextmanager
def origin(connection: Connection[Any], candidate: Candidate, object_key: str) -> Iterator[None]:
    """Fill the columns for the origin of a row while an object is copied: its key, and the numbers of its records.

    It must be the same transaction, so that an error takes back the sequence too.
    """
    source = candidate.table.source
    defaults: dict[str, sql.Composable] = {}
    if source.object_key:
        defaults[source.object_key] = sql.Literal(object_key)
    if source.position:
        connection.execute("create temporary sequence record_numbers cache 1000")
        defaults[source.position] = sql.SQL("nextval('pg_temp.record_numbers')")
    for column, value in defaults.items():
        connection.execute(
            sql.SQL("alter table {} alter column {} set default {}").format(
                candidate.name, sql.Identifier(column), value
            )
        )
    yield
    for column in defaults:
        connection.execute(
            sql.SQL("alter table {} alter column {} drop default").format(candidate.name, sql.Identifier(column))
        )
    if source.position:
        connection.execute("drop sequence pg_temp.record_numbers")


@contextmanager
def _settings(connection: Connection[Any], settings: Mapping[str, str]) -> Iterator[None]:
    """Change settings of the session, and change them back; an error rolls them back with its transaction."""
    before = {name: _set(connection, name, value) for name, value in settings.items()}
    yield
    for name, value in before.items():
        _set(connection, name, value)


def _set(connection: Connection[Any], name: str, value: str) -> str:
    """Change a setting until the end of the transaction, and return its value before."""
    # The old value is read in a query of its own, because Postgres may evaluate the two calls in any order.
    (before,) = connection.execute("select current_setting(%s)", [name]).fetchone() or ("",)
    connection.execute("select set_config(%s, %s, true)", [name, value])
    return str(before)


def build_index(connection: Connection[Any], candidate: Candidate) -> bool:
    """Build the unique index of the grain. If rows share a key, build no index and return False.

    The index pages are filled completely, because a load_date is replaced and never gets more rows, unless it grows.
    """
    key = sql.SQL(", ").join(sql.Identifier(column) for column in candidate.table.header.grain)
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("create unique index {} on {} ({}) with (fillfactor = {})").format(
                    sql.Identifier(candidate.index),
                    candidate.name,
                    key,
                    sql.Literal(_GROWING_FILL if candidate.table.grows else 100),
                )
            )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != candidate.index:
            raise  # the violation is in a table of the catalog
        return False
    return True


def build_batch_index(connection: Connection[Any], candidate: Candidate) -> None:
    """Build the index by which the rows of one batch are found in a load_date that grows."""
    connection.execute(
        sql.SQL("create index {} on {} ({})").format(
            sql.Identifier(f"{digest(candidate.relation.table, BATCH)} batch"), candidate.name, sql.Identifier(BATCH)
        )
    )


def analyze(connection: Connection[Any], candidate: Candidate, *, is_unique: bool) -> None:
    """Collect statistics for the query planner.

    Of a history only those of the key matter, by which its rows are compared, and none if a unique index of one column
    says all that they would say.
    """
    if candidate.table.storage.keeps_versions and is_unique and len(candidate.table.header.grain) == 1:
        return
    key = sql.SQL(", ").join(map(sql.Identifier, candidate.table.header.grain))
    columns = sql.SQL(" ({})").format(key) if candidate.table.storage.keeps_versions else sql.SQL("")
    connection.execute(sql.SQL("analyze {}{}").format(candidate.name, columns))


def count(connection: Connection[Any], candidate: Candidate) -> int:
    """Return the number of rows of the candidate."""
    row = connection.execute(sql.SQL("select count(*) from {}").format(candidate.name)).fetchone()
    return int(row[0]) if row else 0


def size_of(connection: Connection[Any], candidate: Candidate) -> int:
    """Return the candidate's bytes on disk, including slices and indexes."""
    row = connection.execute(
        f"select sum(pg_total_relation_size(oid)) from ({_TABLES}) as t",  # noqa: S608
        {"name": candidate.name.as_string(connection)},
    ).fetchone()
    return int(row[0]) if row else 0


def leaves(connection: Connection[Any], candidate: Candidate) -> list[Relation]:
    """Return the tables that hold the candidate's rows: its own table, or those of its slices."""
    rows = connection.execute(
        f"select relname from ({_TABLES}) as t where relkind = 'r' order by relname",  # noqa: S608
        {"name": candidate.name.as_string(connection)},
    ).fetchall()
    return [Relation(BUILDS, name) for (name,) in rows]


def drop(connection: Connection[Any], relation: Relation) -> None:
    """Drop a candidate's table, and that of the rows that rules took out of it, if they exist."""
    connection.execute(
        sql.SQL("drop table if exists {}, {}").format(identifier(relation), identifier(_aside(relation)))
    )


def builds_of(connection: Connection[Any], relation: Relation) -> list[Relation]:
    """Return the unpublished candidates of a table, of any load_date, what rules took out of them, and kept rows."""
    return _builds(connection, rf"^{_short(*relation)}__\d{{8}}__(v?\d+|\d+_\d+|\d+_bad)$")


def find_leftovers(connection: Connection[Any], table: Table, load_date: date) -> list[Relation]:
    """Return the unpublished candidates of a table and load_date: held ones, and those of processes that died.

    A session that holds the build lock of this table and load_date may drop them.
    """
    return _builds(connection, rf"^{_short(*table.relation)}__{load_date:%Y%m%d}__\d+(_\d+|_bad)?$")


def _builds(connection: Connection[Any], pattern: str) -> list[Relation]:
    rows = connection.execute(
        "select c.relname from pg_class as c where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') "
        "and not c.relispartition and c.relname ~ %s",
        [BUILDS, pattern],
    ).fetchall()
    return [Relation(BUILDS, name) for (name,) in rows]
