"""Reads the rows of one table and load_date, or of a live view, as readers see them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.ledger import publishes, releases
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.excerpt import sql_cut
from kpi_assets.model.names import LOW_VOLUME
from kpi_assets.model.pii import MASKED
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read.lake_rows import rows_of_lake
from kpi_assets.warehouse import reader_rights
from kpi_assets.warehouse.content import find_lost, published_rows
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.known_versions import is_history, known_versions, version_types
from kpi_assets.warehouse.provision import PII_READER
from kpi_assets.warehouse.views import for_readers


@dataclass(frozen=True)
class Rows:
    """Rows of a load_date, in the order of the grain; of a history the versions that held on it, as known then.

    `rows` holds the values as PostgreSQL writes them, None for NULL, and `types` the types of the columns. `shown` is
    the number of rows that readers see (`rows` may be fewer because of a limit), and `published` that of all rows.
    """

    load_date: date | None  # None for a live view
    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    shown: int
    published: int


def find_publish(
    connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date | None, *, place: str
) -> Publish:
    """Return the publish of a load_date, by default the latest that readers are shown, whose rows are there.

    Raises UserError as read_rows does.
    """
    until = releases.newest(connection) if table.header.kpi and load_date is None else None
    before = until + timedelta(days=1) if until else None
    day = load_date or publishes.latest_load_date(connection, table.relation, before=before)
    current = publishes.current(connection, [table.relation], day) if day else {}
    if day is None or table.relation not in current:
        if day and (gone := publishes.dropped(connection, [table.relation], day)):
            from kpi_assets.materialize.dropped import explain_replay  # noqa: PLC0415  it imports boto3

            raise UserError(f"It cannot be shown: {explain_replay(pipeline, gone, day)}.")
        if load_date and (reason := pipeline.not_due(table, load_date)):
            raise UserError(f"It cannot be shown: {reason}.")
        which = f" of {load_date}" if load_date else ""
        raise UserError(f"{table.relation}{which} is not published in {place}: land and run the load_date first.")
    publish = current[table.relation]
    if publish.rows and find_lost(connection, table, [day]):
        raise UserError(
            f"The rows of {table.relation} of {day} are gone from the database, which the ledger calls published: "
            f"`kpi run {pipeline.name} --load-date {day}` makes them again."
        )
    return publish


def find_publish_up_to(
    connection: Connection[Any], pipeline: Pipeline, table: Table, day: date, *, place: str
) -> Publish:
    """Return the publish of the latest load_date up to a day. Raises UserError as find_publish does."""
    load_date = publishes.latest_up_to(connection, table.relation, day)
    if load_date is None:
        first = publishes.first_load_date(connection, table.relation)
        if first is None:
            raise UserError(f"{table.relation} is not published in {place}: land and run a load_date first.")
        raise UserError(
            f"No load_date of {table.relation} up to {day} is published in {place}: give a later day; the first is "
            f"{first}."
        )
    return find_publish(connection, pipeline, table, load_date, place=place)


def read_rows(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    load_date: date | None = None,
    *,
    place: str,
    as_of: date | None = None,
    limit: int | None = None,
    cut: bool = False,
    everything: bool = False,
    personal: bool = False,
) -> Rows:
    """Return the rows of a load_date, by default the latest, or the latest one up to the day `as_of`.

    Long values are shortened if `cut` is set, and rows of low volume left out unless `everything` is set. Values of
    personal columns are masked, and are texts then, unless `personal` is set. Raises UserError, which names the `place`
    of the data, if the load_date is not published, was dropped by retention, or has lost its rows.
    """
    if as_of is None:
        publish = find_publish(connection, pipeline, table, load_date, place=place)
    else:
        publish = find_publish_up_to(connection, pipeline, table, as_of, place=place)
    stored = stored_rows(connection, table, publish, everything=everything, limit=limit)
    if personal and stored.unreadable:
        raise UserError(
            f"This login may not read the personal columns of {table.relation} ("
            f"{', '.join(sorted(stored.unreadable))}): have an administrator grant it {PII_READER}, or leave --pii out."
        )
    masked = hidden(table, stored.types) if not personal else frozenset()
    stored = replace(stored, masked=masked)
    order = [name for name in table.header.grain if name in stored.all_types] or [*stored.types]
    found = stored.texts([sql.SQL("t.{}").format(sql.Identifier(name)) for name in order], limit=limit, cut=cut)
    shown = publish.rows
    if table.header.min_volume and not everything:
        shown = stored.count()
    return Rows(publish.load_date, [*stored.types], _shown_types(stored.types, masked), found, shown, publish.rows)


def hidden(table: Table, columns: Iterable[str]) -> frozenset[str]:
    """Return those of the columns whose values are masked."""
    return frozenset(name for name in columns if table.pii.hides(name))


def _shown_types(types: Mapping[str, str], masked: Collection[str]) -> list[str]:
    return ["text" if name in masked else type_ for name, type_ in types.items()]


@dataclass(frozen=True)
class StoredRows:
    """The stored rows of a publish as readers see them: `source` is a FROM clause, whose relation is called t.

    `types` are the columns that are shown, as name -> type, and `all_types` those that the rows have. The values of the
    columns `masked` are. The columns `unreadable`, which this session may not read, have no values.
    """

    connection: Connection[Any]
    types: Mapping[str, str]
    all_types: Mapping[str, str]
    source: sql.Composable
    masked: Collection[str] = ()
    unreadable: Collection[str] = ()

    def where(self, condition: sql.Composable) -> "StoredRows":
        """Return those of the rows that satisfy a condition."""
        return replace(self, source=sql.SQL("{} and {}").format(self.source, condition))

    def texts(
        self, order: Sequence[sql.Composable], *, limit: int | None = None, offset: int = 0, cut: bool = False
    ) -> Sequence[Sequence[str | None]]:
        """Return the rows in an order, with all values as texts."""
        query = self._query(order, limit=limit, offset=offset, cut=cut)
        return self.connection.execute(query).fetchall()

    def parts(
        self, order: Sequence[sql.Composable], *, size: int, limit: int | None = None, offset: int = 0
    ) -> Iterator[Sequence[Sequence[str | None]]]:
        """Yield the same rows a part at a time, at most `size` each; at least one part, which may be empty."""
        with self.connection.cursor(name="parts") as cursor:
            cursor.execute(self._query(order, limit=limit, offset=offset, cut=False))
            part = cursor.fetchmany(size)
            yield part
            while len(part) == size and (part := cursor.fetchmany(size)):
                yield part

    def count(self) -> int:
        """Return the number of rows."""
        return _count(self.connection, self.source)

    def _query(self, order: Sequence[sql.Composable], *, limit: int | None, offset: int, cut: bool) -> sql.Composed:
        """Return a query for the rows, with all columns as texts.

        Values are read as text, because Python has no value for a date such as infinity. ORDER BY needs the qualified
        names: a bare name would mean the text, which sorts differently.
        """
        texts = [self._text(column, type_) for column, type_ in self.types.items()]
        return sql.SQL("select {} {} order by {} limit {} offset {}").format(
            sql.SQL(", ").join(map(sql.SQL, map(sql_cut, texts) if cut else texts)),
            self.source,
            sql.SQL(", ").join(order),
            sql.Literal(limit),
            sql.Literal(offset),
        )

    def _text(self, column: str, type_: str) -> str:
        if column not in self.masked:
            return f't."{column}"::{type_}::text'
        # Of a column that nobody may read, it is not even known whether it has a value.
        return (
            f"'{MASKED}'" if column in self.unreadable else f"case when t.\"{column}\" is not null then '{MASKED}' end"
        )


def stored_rows(
    connection: Connection[Any],
    table: Table,
    publish: Publish,
    *,
    everything: bool = False,
    limit: int | None = None,
) -> StoredRows:
    """Return the rows of a publish; those of low volume, and the column that marks them, only with `everything`.

    Of a table on the lake only the first ones are fetched, if the caller needs no more than a `limit`.
    """
    # The types of the publish: the file may declare other columns by now.
    types = publish.types or table.types
    if (fetched := rows_of_lake(table, publish, limit)) is not None:
        return StoredRows(connection, types, types, sql.SQL("from {} as t where true").format(fetched))
    unreadable = reader_rights.unreadable(connection, table.relation) if table.pii.personal else frozenset()
    readable = reader_rights.without(connection, table.relation, unreadable) if unreadable else None
    if is_history(connection, table):
        rows, types = known_versions(table, types, publish.load_date, readable), version_types(table, types)
    else:
        rows = published_rows(connection, table, publish.load_date, readable)
    shown = {name: type_ for name, type_ in types.items() if everything or name != LOW_VOLUME}
    source = sql.SQL("from {} as t where {}").format(rows, sql.SQL("true") if everything else for_readers(types))
    return StoredRows(connection, shown, types, source, unreadable=unreadable.intersection(types))


def read_live(
    connection: Connection[Any],
    table: Table,
    *,
    place: str,
    limit: int | None = None,
    cut: bool,
    personal: bool = False,
) -> Rows:
    """Return the rows that a live view shows now. Raises UserError, which names the `place`, if it is not there yet."""
    if not types_of(connection, table.relation):
        raise UserError(f"The live view {table.relation} is not there yet in {place}: the next run makes it.")
    source = sql.SQL("from {} as t").format(identifier(table.relation))
    order = [sql.SQL("t.{}").format(sql.Identifier(name)) for name in table.header.grain]
    masked = hidden(table, table.types) if not personal else frozenset()
    found = StoredRows(connection, table.types, table.types, source, masked).texts(order, limit=limit, cut=cut)
    count = _count(connection, source) if limit else len(found)
    return Rows(None, table.columns, _shown_types(table.types, masked), found, count, count)


def _count(connection: Connection[Any], source: sql.Composable) -> int:
    [(count,)] = connection.execute(sql.SQL("select count(*) {}").format(source)).fetchall()
    return int(count)
