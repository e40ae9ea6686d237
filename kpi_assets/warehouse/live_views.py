"""Live views in the database: making, replacing and dropping them, and whether they are as their files say.

A live view runs with the rights of its owner, the role of its layer, and that role may read all of ops. So its columns
are compared with what readers may see of ops (model/ops_relations.py) before it is committed.

The comment on the rule of a view is its stamp: it distinguishes live views from the views of users, and says from which
file and as what Postgres has stored the view. So a database whose views are as they should be is told by one query.

Not here: waiting for readers of a view (materialize/prepare.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import Relation
from kpi_assets.model.ops_relations import FOR_READERS, OPS
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.query import digest
from kpi_assets.model.table import Table
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.connection import may_act_as
from kpi_assets.warehouse.ddl import DefinitionError, identifier, relkind_of, types_of
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.provision import role_of
from kpi_assets.warehouse.views import View, find_view, grant_again

_STAMP = "kpi_assets live"
_STAMPED = """
select n.nspname, c.relname, split_part(d.description, ' ', 3),
    split_part(d.description, ' ', 4) = md5(pg_get_viewdef(c.oid))
from pg_description as d
inner join pg_rewrite as r on d.objoid = r.oid
inner join pg_class as c on r.ev_class = c.oid
inner join pg_namespace as n on c.relnamespace = n.oid
where d.classoid = 'pg_rewrite'::regclass and d.description like %s and c.relkind = 'v'
order by 1, 2
"""
# The columns of ops that a view reads: Postgres records each column that is named, but no use of a whole row.
_READS = """
select t.relname, a.attname
from pg_rewrite as r
inner join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
inner join pg_class as t on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
inner join pg_namespace as n on t.relnamespace = n.oid
inner join pg_attribute as a on a.attrelid = t.oid and a.attnum = d.refobjsubid
where r.ev_class = %s::regclass and n.nspname = %s
order by 1, a.attnum
"""


class _Made(NamedTuple):
    """A live view in the database: the digest of its file, and whether it still is as kpi_assets made it."""

    digest: str
    is_unchanged: bool


def are_current(connection: Connection[Any], pipeline: Pipeline) -> bool:
    """Return whether every live view of a pipeline is in the database as its file says, and no other is."""
    return _made(connection) == {r: _Made(_digest(table), is_unchanged=True) for r, table in pipeline.live.items()}


def drop_all(connection: Connection[Any]) -> dict[Relation, View | None]:
    """Drop every live view, and return their definitions: they keep Postgres from changing what they read."""
    before = {relation: find_view(connection, relation) for relation in _made(connection)}
    if before:
        connection.execute(sql.SQL("drop view {}").format(sql.SQL(", ").join(map(identifier, before))))
    return before


def ensure(connection: Connection[Any], pipeline: Pipeline, before: Mapping[Relation, View | None]) -> None:
    """Make or replace the live views of a pipeline, and drop those without a file. Grants on them stay.

    Call this in a transaction with a lock_timeout. `before` are views that were dropped just now. A view without a file
    stays if something of a user depends on it.
    Raises DefinitionError for a SELECT that does not match its header, that reads what readers may not see, or that
    cannot replace the view in the database.
    """
    there = _made(connection)
    changed = [r for r, table in pipeline.live.items() if there.get(r) != _Made(_digest(table), is_unchanged=True)]
    if not _replace(connection, pipeline, [pipeline.live[relation] for relation in changed], there, before):
        _make_again(connection, pipeline)
    for relation in there:
        if relation not in pipeline.live:
            with suppress(psycopg.errors.DependentObjectsStillExist), connection.transaction():
                connection.execute(sql.SQL("drop view if exists {}").format(identifier(relation)))


def find_mismatches(connection: Connection[Any], pipeline: Pipeline) -> list[str]:
    """Return a sentence for each live view that is not as its file says, and for each without a file."""
    there, again = _made(connection), "the next run makes it again"
    found = []
    for relation, table in pipeline.live.items():
        if relation not in there:
            found.append(f"the live view {relation} is not there: {again}")
        elif there[relation] != _Made(_digest(table), is_unchanged=True):
            found.append(f"the live view {relation} is not as {table.path} says: {again}")
    gone = [relation for relation in there if relation not in pipeline.live]
    return found + [f"no file describes the live view {relation}: the next run drops it" for relation in gone]


def _made(connection: Connection[Any]) -> dict[Relation, _Made]:
    rows = connection.execute(_STAMPED, [f"{_STAMP} %"]).fetchall()
    return {Relation(schema, name): _Made(*rest) for schema, name, *rest in rows}


def _digest(table: Table) -> str:
    """Return 16 hex digits of all that a live view is made of."""
    assert table.query is not None
    columns = (f"{name} {column.type} {column.description}" for name, column in table.header.columns.items())
    hidden = (f"{name} {column}" for name, kept in FOR_READERS.items() for column in kept)
    return digest(table.query.sql, table.header.description, *columns, *hidden)


def _replace(
    connection: Connection[Any],
    pipeline: Pipeline,
    changed: Iterable[Table],
    there: Mapping[Relation, _Made],
    before: Mapping[Relation, View | None],
) -> bool:
    """Make or replace some live views; return False, and change nothing, if one of them would get other columns."""
    try:
        with connection.transaction():
            for table in changed:
                _put(connection, pipeline, table, there, before.get(table.relation))
    except psycopg.errors.InvalidTableDefinition:
        return False
    return True


def _make_again(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Drop all live views at once, since they may read each other, and make them again."""
    try:
        with connection.transaction():
            before = drop_all(connection)
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DefinitionError(
            f"{pipeline.path}: the live views cannot get other columns ({one_line(error)}): drop what depends on them "
            "first."
        ) from None
    for relation, table in pipeline.live.items():
        _put(connection, pipeline, table, {}, before.get(relation))


def _put(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    there: Mapping[Relation, _Made],
    before: View | None = None,
) -> None:
    """Make or replace one live view as the role of its layer; `before` has the grants of one that was dropped."""
    relation = table.relation
    if relation not in there and relkind_of(connection, relation):
        raise DefinitionError(_taken(connection, table))
    role, query = role_of(pipeline.layer(relation)), _select(table)
    with _acting_as(connection, role):
        try:
            with connection.transaction():
                connection.execute(sql.SQL("create or replace view {} as {}").format(identifier(relation), query))
        except psycopg.errors.InvalidTableDefinition:
            if relation in there:
                raise
            raise _refused(table, "two columns have one name") from None
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
            raise _refused(table, one_line(error)) from None
        _check(connection, table)
        tables.comment(connection, table)
        [(stored,)] = connection.execute(
            "select md5(pg_get_viewdef(%s::regclass))", [identifier(relation).as_string(connection)]
        ).fetchall()
        stamp = f"{_STAMP} {_digest(table)} {stored}"
        connection.execute(
            sql.SQL('comment on rule "_RETURN" on {} is {}').format(identifier(relation), sql.Literal(stamp))
        )
        if before:
            grant_again(connection, before)


@contextmanager
def _acting_as(connection: Connection[Any], role: str) -> Iterator[None]:
    """Act as a role until the end of the block, if this session may, so that the role owns what is made in it."""
    if not may_act_as(connection, role):
        yield
        return
    [(before,)] = connection.execute("select current_user").fetchall()
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    yield
    connection.execute(sql.SQL("set local role {}").format(sql.Identifier(before)))


def _select(table: Table) -> sql.SQL:
    """Return the SELECT of a file. It has no parameters, so its percent signs are no longer doubled."""
    assert table.query is not None
    return sql.SQL(table.query.sql.replace("%%", "%"))  # parsed: it is one SELECT


def _check(connection: Connection[Any], table: Table) -> None:
    """Raise DefinitionError if a view has other types than its header declares, or shows what readers may not see."""
    there = types_of(connection, table.relation)
    for name, declared in table.types.items():
        if there[name] != declared:
            raise DefinitionError(
                f"{table.path}: the column {name!r} of {table.relation} is {there[name]}, and the header declares "
                f"{declared}: cast it in the SELECT, or correct the header."
            )
    reads = connection.execute(_READS, [identifier(table.relation).as_string(connection), OPS]).fetchall()
    for relation, column in reads:
        if column in FOR_READERS.get(relation, ()):
            raise DefinitionError(
                f"{table.path}: {table.relation} reads the column {column!r} of {OPS}.{relation}, which may quote "
                "delivered values and which readers may not see: take it out of the SELECT."
            )


def _refused(table: Table, reason: str) -> DefinitionError:
    return DefinitionError(f"{table.path}: {table.relation} cannot be made ({reason}): correct its SELECT.")


def _taken(connection: Connection[Any], table: Table) -> str:
    """Say that something else has the name of a live view, and what to do about it."""
    relation = table.relation
    published = connection.execute(
        "select 1 from ops.publishes where asset = %s and removed_at is null limit 1", [str(relation)]
    ).fetchone()
    if published:
        return (
            f"{table.path}: {relation} was published with load_dates, and storage: {table.storage.name} has none; to "
            f"change it, run `kpi drop {table.pipeline} {relation}`."
        )
    return (
        f"{table.path}: the database has a table or view {relation} that kpi_assets did not make: drop it there, or "
        "give the file another name."
    )
