"""Published tables: the relations that readers query, kept in the shape that the file declares.

Belongs here: the parts that are the same for every storage kind, such as columns, comments, the view of a KPI's latest
load_date, and the test whether a table is stored as its file declares. Not here: the storage kinds (kinds/), the
decision to publish (materialize/), and the row in the ledger (ledger/publishes.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates, indexes, reader_rights, references
from kpi_assets.warehouse.alter import drop_columns
from kpi_assets.warehouse.ddl import DefinitionError, identifier, object_type, types_of
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.kinds import stored_strategy, strategy_of
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.views import latest_of, masked_of, put_latest_view, put_masked_view


def ensure(connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]) -> None:
    """Create the published table, or alter it so that it can take a build; `others` keep their rows.

    A new column is NULL in the other load_dates. A column that the file no longer declares, or declares with a narrower
    type, stays until no load_date needs it. Call this in a transaction with a lock_timeout. Raises DefinitionError if
    no type holds the values of all load_dates, or if other objects of the database depend on a column that must change.
    """
    check_storage(connection, table)
    unneeded = strategy_of(table).ensure(connection, table, load_date, others)
    if table.header.kpi:
        stored = {*types_of(connection, table.relation)} - {*unneeded}
        newest = max(others, key=lambda published: published.last, default=None)
        # The view has the columns with which the latest load_date was published.
        names = list(newest.columns if newest and newest.last > load_date else table.types)
        put_latest_view(connection, table, names, stored)
    put_masked_view(connection, table)
    drop_columns(connection, table.relation, unneeded)
    reader_rights.ensure(connection, table)
    comment(connection, table)


def declare(connection: Connection[Any], table: Table) -> None:
    """Declare the keys, indexes and references of a published table; call this at the end of a publish.

    What would wait for readers is left for a later publish.
    """
    if table.storage.stores_rows:
        strategy_of(table).declare(connection, table)
        indexes.declare(connection, table)
        references.declare(connection, table)


def published_of(connection: Connection[Any], table: Table, shapes: Sequence[tuple[Any, ...]]) -> list[Published]:
    """Return the published load_dates by shape; if the ledger does not know the columns, they are the stored ones."""
    stored = types_of(connection, table.relation)
    return [
        Published({name: t for name, t in (columns or stored).items() if name != LOAD_DATE}, *rest)
        for columns, *rest in shapes
    ]


def check_storage(connection: Connection[Any], table: Table) -> None:
    """Raise DefinitionError if the published table has another storage than its file declares."""
    stored = stored_strategy(connection, table.relation, declared=table.storage.name)
    if stored and stored.name != table.storage.name:
        raise DefinitionError(
            f"{table.path}: {table.relation} was published with storage: {stored.name}; to change it, run "
            f"`kpi drop {table.pipeline} {table.relation}` and backfill."
        )


def find_mismatches(connection: Connection[Any], tables: Iterable[Table]) -> list[str]:
    """Return a sentence for each table with another storage than declared, and each KPI without its `_latest` view."""
    found = []
    for table in tables:
        if not types_of(connection, table.relation):
            continue
        try:
            check_storage(connection, table)
        except DefinitionError as error:
            found.append(str(error).rstrip("."))
            continue
        if table.header.kpi and latest_of(connection, table.relation) is None:
            found.append(
                f"the view {table.latest_view}, in which readers find the latest load_date, is gone: "
                f"`kpi run {table.pipeline} --load-date DATE --select {table.relation}` of any load_date makes it again"
            )
    return found


def drop(connection: Connection[Any], relation: Relation) -> None:
    """Drop a table or view if it exists, with its `_latest` and `_masked` views and its unpublished candidates.

    Call this in a transaction with a lock_timeout. Raises DefinitionError if other objects depend on the table.
    """
    stored = stored_strategy(connection, relation)
    try:
        if stored:
            references.drop_incoming(connection, relation)
            for view in filter(None, (latest_of(connection, relation), masked_of(connection, relation))):
                connection.execute(sql.SQL("drop view {}").format(identifier(view)))
            stored.drop(connection, relation)
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DefinitionError(
            f"{relation} cannot be dropped ({one_line(error)}): drop what depends on it first."
        ) from None
    for build in candidates.builds_of(connection, relation):
        candidates.drop(connection, build)


def comment(connection: Connection[Any], table: Table) -> None:
    """Set the COMMENTs of a table, and of its `_latest` view, that differ from the descriptions."""
    wanted: dict[str | None, str] = {None: table.header.description}
    if table.storage.has_load_date and not table.storage.keeps_versions:
        wanted[LOAD_DATE] = "Day on which the source files landed."
    wanted.update({name: column.description for name, column in table.header.readable.items()})
    _set_comments(connection, table.relation, object_type(table.storage.relkind), wanted)
    if table.header.kpi and table.storage.has_load_date:
        columns = types_of(connection, table.latest_view)
        shown: dict[str | None, str] = {name: text for name, text in wanted.items() if name in columns}
        shown[None] = f"The latest load_date of {table.relation}. {table.header.description}"
        _set_comments(connection, table.latest_view, object_type("v"), shown)


def _set_comments(
    connection: Connection[Any], relation: Relation, kind: sql.SQL, wanted: Mapping[str | None, str]
) -> None:
    """Set those that differ: setting one takes a lock, so equal ones are left alone."""
    found = dict(
        connection.execute(
            "select a.attname, d.description from pg_description as d left join pg_attribute as a "
            "on d.objoid = a.attrelid and d.objsubid = a.attnum and d.objsubid > 0 "
            "where d.classoid = 'pg_class'::regclass and d.objoid = %s::regclass",
            [identifier(relation).as_string(connection)],
        ).fetchall()
    )
    for column, text in wanted.items():
        if found.get(column) != text:
            target = kind + sql.SQL(" ") + identifier(relation)
            if column is not None:
                target = sql.SQL("column {}").format(sql.Identifier(*relation, column))
            connection.execute(sql.SQL("comment on {} is {}").format(target, sql.Literal(text)))
