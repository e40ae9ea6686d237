"""Views on published tables: creating, replacing, and temporarily dropping them.

Belongs here: all views that kpi_assets creates for readers, with the rights that were granted on them. Not here: which
tables have one (tables.py, kinds/view.py).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import DefinitionError, identifier, types_of
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.provision import MAKERS


@dataclass(frozen=True)
class View:
    """The definition of an existing view: its query, its owner, the rights granted on it, and its comments."""

    relation: Relation
    query: str
    owner: str
    grants: Sequence[tuple[str, str, bool]]
    comments: Sequence[tuple[str | None, str]]  # (column, or None for the view itself; text)


def put_view(connection: Connection[Any], table: Table, view: Relation, query: sql.Composable) -> None:
    """Create a view with a query, or replace its query. Its grants stay, and it is locked only if the query changes.

    Raises DefinitionError if another view depends on the view and its columns must change.
    """
    before = find_view(connection, view)
    if before is not None and before.query == _as_stored(connection, query):
        return
    name = identifier(view)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create or replace view {} as {}").format(name, query))
    except (psycopg.errors.InvalidTableDefinition, psycopg.errors.FeatureNotSupported):
        assert before is not None  # the view has other columns, so it cannot be replaced in place
        try:
            connection.execute(sql.SQL("drop view {}").format(name))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise DefinitionError(
                f"{table.path}: {view} cannot get other columns ({one_line(error)}): drop what depends on it first."
            ) from None
        connection.execute(sql.SQL("create view {} as {}").format(name, query))
        grant_again(connection, before)


def put_latest_view(connection: Connection[Any], table: Table, names: Iterable[str], stored: Collection[str]) -> None:
    """Create or replace the `_latest` view of a KPI with the columns `names`; it shows the latest load_date.

    `stored` are the columns of the KPI's table. Raises DefinitionError as put_view does.
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
    """Return the condition for rows that readers see: all except those of low volume."""
    return sql.SQL("{} is not true").format(sql.Identifier(LOW_VOLUME)) if LOW_VOLUME in columns else sql.SQL("true")


@contextmanager
def without_views(connection: Connection[Any], relation: Relation) -> Iterator[None]:
    """Drop the views of kpi_assets that read a table, directly or through each other, and create them again at the end.

    Postgres cannot change the type of a column that a view reads. Views of other owners stay.
    """
    views = _our_views_on(connection, relation)
    mine = connection.execute("select current_user").fetchone()
    assert mine is not None

    def act_as(role: str) -> None:
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))

    for view in reversed(views):
        act_as(view.owner)
        connection.execute(sql.SQL("drop view {}").format(identifier(view.relation)))
    act_as(mine[0])
    yield
    for view in views:
        act_as(view.owner)
        connection.execute(sql.SQL("create view {} as {}").format(identifier(view.relation), sql.SQL(view.query)))
        grant_again(connection, view)
        _comment(connection, view)
    act_as(mine[0])


def _our_views_on(connection: Connection[Any], relation: Relation) -> list[View]:
    """Return the views of kpi_assets that read a table, directly or through each other, each after those it reads."""
    found: dict[Relation, View] = {}
    for name in views_on(connection, relation):
        view = find_view(connection, name)
        if view and view.owner in MAKERS:
            for each in (view, *_our_views_on(connection, name)):
                found.pop(each.relation, None)  # a view that reads two of them comes after both
                found[each.relation] = each
    return list(found.values())


def latest_of(connection: Connection[Any], relation: Relation) -> Relation | None:
    """Return the `_latest` view of a table that is a KPI, or was one; None if there is none."""
    view = Relation(relation.schema, f"{relation.table}_latest")
    is_there = find_view(connection, relation) or types_of(connection, relation)
    return view if is_there and view in views_on(connection, relation) else None


def views_on(connection: Connection[Any], relation: Relation) -> list[Relation]:
    """Return the views that read a table directly."""
    rows = connection.execute(
        "select distinct n.nspname, v.relname from pg_depend as d "
        "inner join pg_rewrite as r on d.objid = r.oid inner join pg_class as v on r.ev_class = v.oid "
        "inner join pg_namespace as n on v.relnamespace = n.oid "
        "inner join pg_class as t on d.refobjid = t.oid inner join pg_namespace as s on t.relnamespace = s.oid "
        "where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass "
        "and (s.nspname, t.relname) = (%s, %s) and v.relkind = 'v' "  # a cast to regclass requires rights on the schema
        "and v.oid <> d.refobjid order by 1, 2",
        [*relation],
    ).fetchall()
    return [Relation(*row) for row in rows]


def _as_stored(connection: Connection[Any], query: sql.Composable) -> str:
    """Return a query in the form in which Postgres stores it in a view."""
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("create temporary view probe as {}").format(query))
        row = connection.execute("select pg_get_viewdef('pg_temp.probe'::regclass)").fetchone()
    assert row is not None
    return str(row[0])


def find_view(connection: Connection[Any], view: Relation) -> View | None:
    """Return the definition of a view; None if there is none of this name."""
    row = connection.execute(
        "select pg_get_viewdef(c.oid), pg_get_userbyid(c.relowner), coalesce((select array_agg(array["
        "case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, a.privilege_type, "
        "a.is_grantable::text]) from aclexplode(c.relacl) as a where a.grantee <> c.relowner), '{}'), "
        "array(select array[a.attname::text, d.description] from pg_description as d left join pg_attribute as a "
        "on d.objoid = a.attrelid and d.objsubid = a.attnum and d.objsubid > 0 "
        "where d.classoid = 'pg_class'::regclass and d.objoid = c.oid) "
        "from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid "
        "where c.relkind = 'v' and (n.nspname, c.relname) = (%s, %s)",  # to_regclass requires rights on the schema
        [*view],
    ).fetchone()
    if row is None:
        return None
    query, owner, grants, comments = row
    return View(view, query, owner, [(who, what, may == "true") for who, what, may in grants], comments)


def grant_again(connection: Connection[Any], view: View) -> None:
    """Grant the rights that a view had to the view that was created again."""
    for who, what, may_grant in view.grants:
        connection.execute(
            sql.SQL("grant {} on {} to {}{}").format(
                sql.SQL(what),
                identifier(view.relation),
                sql.SQL(who),
                sql.SQL(" with grant option" if may_grant else ""),
            )
        )


def _comment(connection: Connection[Any], view: View) -> None:
    """Set the comments that a view had on the view that was created again."""
    for column, text in view.comments:
        target = (
            sql.SQL("view {}").format(identifier(view.relation))
            if column is None
            else sql.SQL("column {}").format(sql.Identifier(*view.relation, column))
        )
        connection.execute(sql.SQL("comment on {} is {}").format(target, sql.Literal(text)))
