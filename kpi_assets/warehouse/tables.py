"""Published tables: what readers query, kept in the shape that the file declares.

Belongs here: what is the same for every storage kind: columns, descriptions, the view of a KPI's latest load_date, and
whether a table is stored as its file says. Not here: what a kind does (kinds/), whether a load_date may be published
(materialize/), and the ledger's row (ledger/publishes.py).
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.alter import drop_columns
from kpi_assets.warehouse.ddl import DefinitionError, identifier, object_type, one_line, types_of
from kpi_assets.warehouse.kinds import stored_strategy, strategy_of
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.views import latest_of, put_latest_view


def ensure(connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]) -> None:
    """Make the published table take a build of a load_date as its file declares it; `others` keep their rows.

    A new column is NULL in the others; one that the file no longer declares, or declares narrower, stays until none of
    them needs it. Inside the caller's transaction, which has a lock_timeout. Raises DefinitionError where no type holds
    the rows of all, or other objects of the database depend on what must change.
    """
    check_storage(connection, table)
    unneeded = strategy_of(table).ensure(connection, table, load_date, others)
    if table.header.kpi:
        stored = {*types_of(connection, table.relation)} - {*unneeded}
        newest = max(others, key=lambda published: published.last, default=None)
        # Readers of the latest load_date see the columns with which that was published.
        names = list(newest.columns if newest and newest.last > load_date else table.types)
        put_latest_view(connection, table, names, stored)
    drop_columns(connection, table.relation, unneeded)
    _comment(connection, table)


def published_of(connection: Connection[Any], table: Table, shapes: Sequence[tuple[Any, ...]]) -> list[Published]:
    """The load_dates of each shape in the ledger; those of which it does not know the columns have the stored ones."""
    stored = types_of(connection, table.relation)
    return [
        Published({name: t for name, t in (columns or stored).items() if name != LOAD_DATE}, *rest)
        for columns, *rest in shapes
    ]


def check_storage(connection: Connection[Any], table: Table) -> None:
    """Raise DefinitionError where the published table is stored in another way than its file says."""
    stored = stored_strategy(connection, table.relation, declared=table.storage.name)
    if stored and stored is not strategy_of(table):
        raise DefinitionError(
            f"{table.path}: {table.relation} was published with storage: {stored.name}; to change it, run "
            f"`kpi drop {table.pipeline} {table.relation}` and backfill."
        )


def mismatches(connection: Connection[Any], tables: Iterable[Table]) -> list[str]:
    """A sentence for each stored table that its file wants otherwise, and each KPI whose view for readers is gone."""
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
                f"the view {table.latest_view} is gone, by which readers find the latest load_date: "
                f"`kpi run {table.pipeline} --load-date DATE --select {table.relation}` of any load_date makes it again"
            )
    return found


def drop(connection: Connection[Any], relation: Relation) -> None:
    """Drop a table or view, its `_latest` view, and the builds of it that are kept; nothing where it is not there.

    Inside the caller's transaction, which has a lock_timeout. Raises DefinitionError where others depend on it.
    """
    stored = stored_strategy(connection, relation)
    try:
        if stored:
            if view := latest_of(connection, relation):
                connection.execute(sql.SQL("drop view {}").format(identifier(view)))
            stored.drop(connection, relation)
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DefinitionError(
            f"{relation} cannot be dropped ({one_line(error)}): drop what depends on it first."
        ) from None
    for build in candidates.builds_of(connection, relation):
        candidates.drop(connection, build)


def _comment(connection: Connection[Any], table: Table) -> None:
    """Write descriptions as COMMENTs where they differ: a comment locks the table against the next swap."""
    wanted: dict[str | None, str] = {None: table.header.description, LOAD_DATE: "Day on which the source files landed."}
    wanted.update({name: column.description for name, column in table.header.columns.items()})
    found = dict(
        connection.execute(
            "select a.attname, d.description from pg_description as d left join pg_attribute as a "
            "on d.objoid = a.attrelid and d.objsubid = a.attnum and d.objsubid > 0 "
            "where d.classoid = 'pg_class'::regclass and d.objoid = %s::regclass",
            [identifier(table.relation).as_string(connection)],
        ).fetchall()
    )
    for column, text in wanted.items():
        if found.get(column) != text:
            target = object_type(table.storage.relkind) + sql.SQL(" ") + identifier(table.relation)
            if column is not None:
                target = sql.SQL("column {}").format(sql.Identifier(*table.relation, column))
            connection.execute(sql.SQL("comment on {} is {}").format(target, sql.Literal(text)))
