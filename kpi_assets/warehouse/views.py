"""Views that stand on published tables: making them, replacing them, and taking them away for a moment.

Belongs here: any view that kpi_assets makes for readers, with the rights that were granted on it. Not here: which table
has one (tables.py, kinds/view.py).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse.ddl import DefinitionError, identifier, one_line, types_of
from kpi_assets.warehouse.provision import MAKERS


@dataclass(frozen=True)
class _View:
    """A view as it was: its query, its owner, and who may do what with it."""

    relation: Relation
    query: str
    owner: str
    grants: Sequence[tuple[str, str, bool]]


def put_view(connection: Connection[Any], table: Table, view: Relation, query: sql.Composable) -> None:
    """Make a view return what a query returns. Grants on it stay, and its readers are locked out only if it changes.

    Raises DefinitionError where another view depends on columns that it would lose.
    """
    before = _definition(connection, view)
    if before is not None and before.query == _as_stored(connection, query):
        return
    name = identifier(view)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create or replace view {} as {}").format(name, query))
    except (psycopg.errors.InvalidTableDefinition, psycopg.errors.FeatureNotSupported):
        assert before is not None  # it has other columns, so that it cannot be replaced in place
        try:
            connection.execute(sql.SQL("drop view {}").format(name))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise DefinitionError(
                f"{table.path}: {view} cannot get other columns ({one_line(error)}): drop what depends on it first."
            ) from None
        connection.execute(sql.SQL("create view {} as {}").format(name, query))
        _grant(connection, before)


def put_latest_view(connection: Connection[Any], table: Table, names: Iterable[str], stored: Collection[str]) -> None:
    """Make the view in which readers find the latest load_date of a KPI, with the columns `names`.

    `stored` are the columns of its table. Raises DefinitionError, as put_view does.
    """
    query = sql.SQL(
        "select {columns} from {table} where {shown} and {date} = "
        "(select max(p.load_date) from ops.published as p where p.asset = {asset})"
    ).format(
        shown=for_readers(stored),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name in (LOAD_DATE, *names) if name != LOW_VOLUME),
        table=identifier(table.relation),
        date=sql.Identifier(LOAD_DATE),
        asset=sql.Literal(str(table.relation)),
    )
    put_view(connection, table, table.latest_view, query)


def for_readers(columns: Collection[str]) -> sql.Composable:
    """The condition for rows with these columns to be shown to readers: all but those of low volume."""
    return sql.SQL("{} is not true").format(sql.Identifier(LOW_VOLUME)) if LOW_VOLUME in columns else sql.SQL("true")


@contextmanager
def without_views(connection: Connection[Any], relation: Relation) -> Iterator[None]:
    """Drop the views of kpi_assets that read a table, and make them again as they were.

    Postgres lets no column get another type while a view reads it. Views of other owners stay.
    """
    found = [_definition(connection, view) for view in views_on(connection, relation)]
    views = [view for view in found if view and view.owner in MAKERS]
    mine = connection.execute("select current_user").fetchone()
    assert mine is not None

    def act_as(role: str) -> None:
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))

    for view in views:
        act_as(view.owner)
        connection.execute(sql.SQL("drop view {}").format(identifier(view.relation)))
    act_as(mine[0])
    yield
    for view in views:
        act_as(view.owner)
        connection.execute(sql.SQL("create view {} as {}").format(identifier(view.relation), sql.SQL(view.query)))
        _grant(connection, view)
    act_as(mine[0])


def latest_of(connection: Connection[Any], relation: Relation) -> Relation | None:
    """The view in which readers find the latest load_date of a table that is a KPI, or was one."""
    view = Relation(relation.schema, f"{relation.table}_latest")
    is_there = _definition(connection, relation) or types_of(connection, relation)
    return view if is_there and view in views_on(connection, relation) else None


def views_on(connection: Connection[Any], relation: Relation) -> list[Relation]:
    """The views that read a table themselves."""
    rows = connection.execute(
        "select distinct n.nspname, v.relname from pg_depend as d "
        "inner join pg_rewrite as r on d.objid = r.oid inner join pg_class as v on r.ev_class = v.oid "
        "inner join pg_namespace as n on v.relnamespace = n.oid "
        "where d.classid = 'pg_rewrite'::regclass and d.refobjid = %s::regclass and v.relkind = 'v' "
        "and v.oid <> d.refobjid order by 1, 2",
        [identifier(relation).as_string(connection)],
    ).fetchall()
    return [Relation(*row) for row in rows]


def _as_stored(connection: Connection[Any], query: sql.Composable) -> str:
    """How Postgres writes a query that it keeps as a view."""
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("create temporary view probe as {}").format(query))
        row = connection.execute("select pg_get_viewdef('pg_temp.probe'::regclass)").fetchone()
    assert row is not None
    return str(row[0])


def _definition(connection: Connection[Any], view: Relation) -> _View | None:
    row = connection.execute(
        "select pg_get_viewdef(c.oid), pg_get_userbyid(c.relowner), coalesce((select array_agg(array["
        "case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, a.privilege_type, "
        "a.is_grantable::text]) from aclexplode(c.relacl) as a where a.grantee <> c.relowner), '{}') "
        "from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid "
        "where c.relkind = 'v' and (n.nspname, c.relname) = (%s, %s)",  # to_regclass asks for rights on the schema
        [*view],
    ).fetchone()
    if row is None:
        return None
    query, owner, grants = row
    return _View(view, query, owner, [(who, what, may == "true") for who, what, may in grants])


def _grant(connection: Connection[Any], view: _View) -> None:
    """Grant on a view that was made again what was granted on it before."""
    for who, what, may_grant in view.grants:
        connection.execute(
            sql.SQL("grant {} on {} to {}{}").format(
                sql.SQL(what),
                identifier(view.relation),
                sql.SQL(who),
                sql.SQL(" with grant option" if may_grant else ""),
            )
        )
