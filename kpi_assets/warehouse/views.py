"""Views on published tables: creating, replacing, and temporarily dropping them.

Belongs here: all views that kpi_assets creates for readers, with the rights that were granted on them. Not here: which
tables have one (tables.py, kinds/view.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.pii import MASKED
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import DefinitionError, identifier, types_of
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.provision import MAKERS

_BARRIER = " with (security_barrier)"  # no function of a reader's query sees rows or values before the view's own


@dataclass(frozen=True)
class View:
    """The definition of an existing view: its query, its owner, the rights granted on it, and its comments.

    `on_columns` are the rights to read single columns: role -> columns.
    """

    relation: Relation
    query: str
    owner: str
    grants: Sequence[tuple[str, str, bool]]
    comments: Sequence[tuple[str | None, str]]  # (column, or None for the view itself; text)
    on_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_barrier: bool = False

    @property
    def options(self) -> sql.SQL:
        """The words of CREATE VIEW after its name."""
        return sql.SQL(_BARRIER if self.is_barrier else "")


def put_view(
    connection: Connection[Any], table: Table, view: Relation, query: sql.Composable, *, is_barrier: bool = False
) -> None:
    """Create a view with a query, or replace its query. Its grants stay, and it is locked only if the query changes.

    Raises DefinitionError if another view depends on the view and its columns must change.
    """
    before = find_view(connection, view)
    if before is not None and (before.query, before.is_barrier) == (_as_stored(connection, query), is_barrier):
        return
    name, options = identifier(view), sql.SQL(_BARRIER if is_barrier else "")
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create or replace view {}{} as {}").format(name, options, query))
    except (psycopg.errors.InvalidTableDefinition, psycopg.errors.FeatureNotSupported):
        assert before is not None  # the view has other columns, so it cannot be replaced in place
        try:
            connection.execute(sql.SQL("drop view {}").format(name))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise DefinitionError(
                f"{table.path}: {view} cannot get other columns ({one_line(error)}): drop what depends on it first."
            ) from None
        connection.execute(sql.SQL("create view {}{} as {}").format(name, options, query))
        grant_again(connection, before)


def put_latest_view(connection: Connection[Any], table: Table, names: Iterable[str], stored: Collection[str]) -> None:
    """Create or replace the `_latest` view of a KPI with those of the columns `names` that are not personal.

    It shows the latest load_date. `stored` are the columns of the KPI's table. Raises DefinitionError as put_view does.
    """
    query = sql.SQL(
        "select {columns} from {table} where {shown} and {date} = "
        "(select max(p.load_date) from ops.published as p where p.asset = {asset} and p.load_date <= "
        "coalesce((select max(r.load_date) from ops.releases as r where r.ended_at is null), 'infinity'))"
    ).format(
        shown=for_readers(stored),
        columns=sql.SQL(", ").join(
            sql.Identifier(name) for name in (LOAD_DATE, *names) if name != LOW_VOLUME and not table.pii.hides(name)
        ),
        table=identifier(table.relation),
        date=sql.Identifier(LOAD_DATE),
        asset=sql.Literal(str(table.relation)),
    )
    put_view(connection, table, table.latest_view, query)


def put_masked_view(connection: Connection[Any], table: Table) -> None:
    """Create or replace the view of a table with `readers: mask`; drop it if the file does not say so any more.

    It has the columns that the file declares, the personal ones as masked texts. Raises DefinitionError as put_view
    does, and if other objects depend on a view that must be dropped.
    """
    if not table.header.readers:
        drop_masked_view(connection, table)
        return
    declared = {LOAD_DATE, *table.pii.columns}
    columns = [
        sql.SQL("case when {0} is not null then {1}::text end as {0}" if table.pii.hides(name) else "{0}").format(
            sql.Identifier(name), sql.Literal(MASKED)
        )
        for name in types_of(connection, table.relation)
        if name in declared
    ]
    query = sql.SQL("select {} from {}").format(sql.SQL(", ").join(columns), identifier(table.relation))
    put_view(connection, table, table.masked_view, query, is_barrier=True)


def drop_masked_view(connection: Connection[Any], table: Table) -> None:
    """Drop the masked view of a table, if it has one. Raises DefinitionError if other objects depend on it."""
    view = masked_of(connection, table.relation)
    if view is None:
        return
    try:
        with connection.transaction():
            connection.execute(sql.SQL("drop view {}").format(identifier(view)))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DefinitionError(
            f"{table.path}: {view} cannot be dropped ({one_line(error)}): drop what depends on it first."
        ) from None


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
        connection.execute(
            sql.SQL("create view {}{} as {}").format(identifier(view.relation), view.options, sql.SQL(view.query))
        )
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
    return _view_of(connection, relation, "latest")


def masked_of(connection: Connection[Any], relation: Relation) -> Relation | None:
    """Return the view in which a table is masked for readers, or was; None if there is none."""
    return _view_of(connection, relation, "masked")


def _view_of(connection: Connection[Any], relation: Relation, suffix: str) -> Relation | None:
    view = Relation(relation.schema, f"{relation.table}_{suffix}")
    found = find_view(connection, view)
    if found is None or (suffix == "masked" and not found.is_barrier):
        return None
    return view if view in views_on(connection, relation) else None


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
        "where d.classoid = 'pg_class'::regclass and d.objoid = c.oid), "
        "(select jsonb_object_agg(g.who, g.columns) from ("
        "select quote_ident(pg_get_userbyid(g.grantee)) as who, jsonb_agg(a.attname order by a.attnum) as columns "
        "from pg_attribute as a cross join aclexplode(a.attacl) as g "
        "where a.attrelid = c.oid and g.grantee <> 0 and g.privilege_type = 'SELECT' group by g.grantee) as g), "
        "coalesce('security_barrier=true' = any(c.reloptions), false) "
        "from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid "
        "where c.relkind = 'v' and (n.nspname, c.relname) = (%s, %s)",  # to_regclass requires rights on the schema
        [*view],
    ).fetchone()
    if row is None:
        return None
    query, owner, grants, comments, on_columns, is_barrier = row
    granted = [(who, what, may == "true") for who, what, may in grants]
    return View(view, query, owner, granted, comments, on_columns or {}, is_barrier)


def grant_again(connection: Connection[Any], view: View) -> None:
    """Grant the rights that a view had to the view that was created again.

    Who could read single columns cannot read the others, although a new view may be readable as a whole.
    """
    there = types_of(connection, view.relation)
    for who, columns in view.on_columns.items():
        words = {"view": identifier(view.relation), "who": sql.SQL(who)}
        connection.execute(sql.SQL("revoke select on {view} from {who}").format(**words))
        if shown := [name for name in columns if name in there]:
            names = sql.SQL(", ").join(map(sql.Identifier, shown))
            connection.execute(sql.SQL("grant select ({names}) on {view} to {who}").format(names=names, **words))
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
