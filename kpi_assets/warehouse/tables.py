"""Published tables: what readers query, kept in the shape that the file declares, and swapped in one transaction.

Belongs here: making and altering the published table and its view, putting a candidate in, taking a load_date out. Not
here: whether that may be (materialize/), and the ledger's row (ledger/publishes.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model import excerpt
from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.query import digest
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import (
    Candidate,
    DefinitionError,
    column_definitions,
    for_readers,
    identifier,
    renamed,
    types_of,
)
from kpi_assets.warehouse.provision import BUILDS, MAKERS
from kpi_assets.warehouse.shape import Changes, Published, UnlikeTypesError, changes, common


def ensure(connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]) -> None:
    """Make the published table take a build of a load_date as its file declares it; `others` keep their rows.

    A new column is NULL in the others; one that the file no longer declares, or declares narrower, stays until none of
    them needs it. Raises DefinitionError where no type holds theirs too, or other objects of the database bar the way.
    """
    found = types_of(connection, table.relation)
    if found:
        check_storage(connection, table)
    if table.header.storage == "view":
        shown, columns = table.shows
        _put_view(
            connection,
            table,
            table.relation,
            sql.SQL("select {}, {} from {}").format(sql.Identifier(LOAD_DATE), renamed(columns), identifier(shown)),
        )
    elif not found:
        _create(connection, table)
    needed = Changes() if table.header.storage == "view" or not found else changes_of(table, found, others)
    if needed.retype:
        delete_partition(connection, table, load_date)  # what is replaced need not fit
    _alter(connection, table, needed)
    if table.header.storage == "rows":
        _ensure_key(connection, table)
    if table.header.kpi:
        kept = {*types_of(connection, table.relation)} - {*needed.drop}
        newest = max(others, key=lambda published: published.last, default=None)
        # Readers of the latest load_date see the columns with which that was published.
        names = list(newest.columns if newest and newest.last > load_date else table.types)
        _put_view(connection, table, table.latest_view, _latest_rows(table, names, for_readers(kept)))
    _drop_columns(connection, table, needed.drop)
    _comment(connection, table)


def changes_of(table: Table, stored: Mapping[str, str], others: Sequence[Published]) -> Changes:
    """What a stored table lacks for a build as its file declares it. Raises DefinitionError."""
    try:
        return changes({name: type_ for name, type_ in stored.items() if name != LOAD_DATE}, table.types, others)
    except UnlikeTypesError as error:
        pipeline, relation = table.pipeline, table.relation
        raise DefinitionError(
            f"{table.path}: {error}: keep the type, give the column another name, or run "
            f"`kpi drop {pipeline} {relation}` and backfill."
        ) from None


def published_of(connection: Connection[Any], table: Table, shapes: Sequence[tuple[Any, ...]]) -> list[Published]:
    """The load_dates of each shape in the ledger; those of which it does not know the columns have the stored ones."""
    stored = types_of(connection, table.relation)
    return [
        Published({name: t for name, t in (columns or stored).items() if name != LOAD_DATE}, *rest)
        for columns, *rest in shapes
    ]


def swaps(connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]) -> bool:
    """Whether a publish takes a table away under a reader with an older snapshot, who would then find no rows.

    Rows that are replaced one by one stay for such a reader; a partition, or a table that is written anew, does not.
    """
    stored = types_of(connection, table.relation)
    if not stored or table.header.storage == "view":
        return False
    if is_stored_as_partition(connection, table, load_date):
        return True
    return bool(changes_of(table, stored, others).retype)


def is_stored_as_partition(connection: Connection[Any], table: Table, load_date: date) -> bool:
    """Whether a partition holds the load_date, which is taken away as a whole."""
    return bool(
        table.header.storage == "partitions"
        and types_of(connection, table.relation)
        and partitions_of(connection, table.relation, load_date)
    )


def _create(connection: Connection[Any], table: Table) -> None:
    name = identifier(table.relation)
    by_date = sql.SQL(" partition by list ({})").format(sql.Identifier(LOAD_DATE))
    connection.execute(
        sql.SQL("create table {} ({}){}").format(
            name, column_definitions(table), by_date if table.header.storage == "partitions" else sql.SQL("")
        )
    )


def _put_view(connection: Connection[Any], table: Table, view: Relation, query: sql.Composable) -> None:
    """Make a view what a query returns; who may read it stays who may. Its readers are shut out only if it changes.

    Raises DefinitionError where somebody's view stands on it.
    """
    before = _definition(connection, view)
    if before is not None and before.query == _as_stored(connection, query):
        return
    name = identifier(view)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create or replace view {} as {}").format(name, query))
    except (psycopg.errors.InvalidTableDefinition, psycopg.errors.FeatureNotSupported):
        assert before is not None  # its columns are others, so that it cannot be replaced in its place
        try:
            connection.execute(sql.SQL("drop view {}").format(name))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise DefinitionError(
                f"{table.path}: {view} cannot get other columns ({one_line(error)}): drop what depends on it first."
            ) from None
        connection.execute(sql.SQL("create view {} as {}").format(name, query))
        _grant(connection, before)


def _as_stored(connection: Connection[Any], query: sql.Composable) -> str:
    """How Postgres writes a query that it keeps as a view."""
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("create temporary view probe as {}").format(query))
        row = connection.execute("select pg_get_viewdef('pg_temp.probe'::regclass)").fetchone()
    assert row is not None
    return str(row[0])


@dataclass(frozen=True)
class _View:
    """A view as it was: its query, its owner, and who may do what with it."""

    relation: Relation
    query: str
    owner: str
    grants: Sequence[tuple[str, str, bool]]


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
    """Let those read a view again who could read it before it was made anew."""
    for who, what, may_grant in view.grants:
        connection.execute(
            sql.SQL("grant {} on {} to {}{}").format(
                sql.SQL(what),
                identifier(view.relation),
                sql.SQL(who),
                sql.SQL(" with grant option" if may_grant else ""),
            )
        )


def check_storage(connection: Connection[Any], table: Table) -> None:
    """Raise DefinitionError where the published table is stored in another way than its file says."""
    row = connection.execute(
        "select relkind from pg_class where oid = %s::regclass", [identifier(table.relation).as_string(connection)]
    ).fetchone()
    stored = {"p": "partitions", "v": "view"}.get(row[0] if row else "", "rows")
    if stored != table.header.storage:
        raise DefinitionError(
            f"{table.path}: {table.relation} was published with storage: {stored}; to change it, run "
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


def _ensure_key(connection: Connection[Any], table: Table) -> None:
    """The index of a table stored as rows: it finds a load_date's rows, and keeps their key unique.

    Where load_dates that were published with another grain share the new key, it cannot be unique until they are built
    again; what is published now was proven by its audit.
    """
    wanted = [LOAD_DATE, *table.header.grain]
    name = identifier(table.relation).as_string(connection)
    indexes = connection.execute(
        "select i.indexrelid::regclass::text, i.indisunique, (select array_agg(a.attname::text order by k.n) "
        "from unnest(i.indkey) with ordinality as k (attnum, n) "
        "inner join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum) "
        "from pg_index as i where i.indrelid = %s::regclass",
        [name],
    ).fetchall()
    if [columns for _, is_unique, columns in indexes if is_unique] == [wanted]:
        return
    for index, is_unique, columns in indexes:
        if is_unique or columns == wanted:
            connection.execute(sql.SQL("drop index {}").format(sql.SQL(index)))
    key = sql.SQL(", ").join(sql.Identifier(column) for column in wanted)
    statement = "create {unique} index {name} on {table} ({key})"
    # With a blank, which no table's name has: an index and a table cannot be called the same.
    index = sql.Identifier(f"{table.relation.table} {digest(*wanted)}")
    words = {"name": index, "table": identifier(table.relation), "key": key}
    try:
        with connection.transaction():
            connection.execute(sql.SQL(statement).format(unique=sql.SQL("unique"), **words))
    except psycopg.errors.UniqueViolation:
        connection.execute(sql.SQL(statement).format(unique=sql.SQL(""), **words))


def _alter(connection: Connection[Any], table: Table, needed: Changes) -> None:
    name = identifier(table.relation)
    steps = [
        sql.SQL("add column {} {}").format(sql.Identifier(column), sql.SQL(type_))
        for column, type_ in needed.add.items()
    ]
    stored = types_of(connection, table.relation)
    for column, type_ in needed.retype.items():
        # Where the two have nothing in common, no load_date that stays has a value in it.
        via = "" if common(stored[column], type_) else "::text"
        alter = "alter column {0} type {1} using {0}" + via + "::{1}"
        steps.append(sql.SQL(alter).format(sql.Identifier(column), sql.SQL(type_)))
    try:
        with _without_views(connection, table.relation) if needed.retype else nullcontext():
            if steps:
                connection.execute(sql.SQL("alter table {} {}").format(name, sql.SQL(", ").join(steps)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported, psycopg.DataError) as error:
        raise DefinitionError(
            f"{table.path}: {table.relation} cannot be altered to the header's columns ({one_line(error)}): "
            "drop what depends on it, or keep the column."
        ) from None


def _drop_columns(connection: Connection[Any], table: Table, columns: Sequence[str]) -> None:
    name = identifier(table.relation)
    for column in columns:
        # No load_date has it any more: where somebody's view still shows it, it stays, and is NULL everywhere.
        with suppress(psycopg.errors.DependentObjectsStillExist), connection.transaction():
            connection.execute(sql.SQL("alter table {} drop column {}").format(name, sql.Identifier(column)))


@contextmanager
def _without_views(connection: Connection[Any], relation: Relation) -> Iterator[None]:
    """Take away the views of ours that show a table, and put them back as they were: they bar a column's new type."""
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


def _latest_rows(table: Table, columns: Iterable[str], shown: sql.Composable) -> sql.Composable:
    """What readers of a KPI are shown: of its latest published load_date the rows that are `shown`."""
    return sql.SQL(
        "select {columns} from {table} where {shown} and {date} = "
        "(select max(p.load_date) from ops.published as p where p.asset = {asset})"
    ).format(
        shown=shown,
        columns=sql.SQL(", ").join(sql.Identifier(name) for name in (LOAD_DATE, *columns) if name != LOW_VOLUME),
        table=identifier(table.relation),
        date=sql.Identifier(LOAD_DATE),
        asset=sql.Literal(str(table.relation)),
    )


def _comment(connection: Connection[Any], table: Table) -> None:
    """Descriptions as COMMENTs, written only where they differ: a comment locks the table against the next swap."""
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
            kind = "view" if table.header.storage == "view" else "table"
            target = sql.SQL(kind + " {}").format(identifier(table.relation))
            if column is not None:
                target = sql.SQL("column {}").format(sql.Identifier(*table.relation, column))
            connection.execute(sql.SQL("comment on {} is {}").format(target, sql.Literal(text)))


def one_line(error: psycopg.Error) -> str:
    """What Postgres said, as a part of a sentence."""
    return excerpt.cut(" ".join(str(error).split()), excerpt.MESSAGE)


def publish_candidate(connection: Connection[Any], candidate: Candidate) -> None:
    """Replace what readers see of the candidate's load_date by the candidate, also by one without rows.

    Inside the caller's transaction, which has a lock_timeout.
    """
    if candidate.table.header.storage == "partitions":
        _attach(connection, candidate)
    elif candidate.table.header.storage == "rows":
        _replace_rows(connection, candidate)


def delete_partition(connection: Connection[Any], table: Table, load_date: date) -> None:
    """Remove what readers see of a load_date. Inside the caller's transaction, which has a lock_timeout."""
    name = identifier(table.relation)
    if table.header.storage == "rows":
        date_column = sql.Identifier(LOAD_DATE)
        connection.execute(sql.SQL("delete from {} where {} = {}").format(name, date_column, sql.Literal(load_date)))
        return
    for old in partitions_of(connection, table.relation, load_date):
        # Taken at once, so that two of these cannot wait for each other half way.
        connection.execute(sql.SQL("lock table {} in access exclusive mode").format(name))
        connection.execute(sql.SQL("alter table {} detach partition {}").format(name, identifier(old)))
        connection.execute(sql.SQL("drop table {}").format(identifier(old)))


def owner_of(connection: Connection[Any], relation: Relation) -> str | None:
    """The role to which a table or view belongs; None where there is none."""
    row = connection.execute(
        "select pg_get_userbyid(relowner) from pg_class where oid = to_regclass(%s)",
        [identifier(relation).as_string(connection)],
    ).fetchone()
    return row[0] if row else None


def drop(connection: Connection[Any], relation: Relation) -> None:
    """Drop a table or view, its `_latest` view, and the builds of it that are kept; nothing where it is not there.

    Inside the caller's transaction, which has a lock_timeout. Raises DefinitionError where others depend on it.
    """
    kind = connection.execute(
        "select relkind = 'v' from pg_class where oid = to_regclass(%s)", [identifier(relation).as_string(connection)]
    ).fetchone()
    try:
        if kind:
            if view := latest_of(connection, relation):
                connection.execute(sql.SQL("drop view {}").format(identifier(view)))
            what = sql.SQL("view" if kind[0] else "table")
            connection.execute(sql.SQL("drop {} {}").format(what, identifier(relation)))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DefinitionError(
            f"{relation} cannot be dropped ({one_line(error)}): drop what depends on it first."
        ) from None
    for build in candidates.builds_of(connection, relation):
        candidates.drop(connection, build)


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


def _attach(connection: Connection[Any], candidate: Candidate) -> None:
    delete_partition(connection, candidate.table, candidate.load_date)
    _take_shape(connection, candidate)
    for leaf in candidates.leaves(connection, candidate):
        connection.execute(sql.SQL("alter table {} reset (autovacuum_enabled)").format(identifier(leaf)))
    connection.execute(
        sql.SQL("alter table {} attach partition {} for values in ({})").format(
            identifier(candidate.table.relation), candidate.name, sql.Literal(candidate.load_date)
        )
    )


def _take_shape(connection: Connection[Any], candidate: Candidate) -> None:
    """Give the candidate what the table keeps for load_dates of before: their columns, and types that hold theirs."""
    here, there = types_of(connection, candidate.relation), types_of(connection, candidate.table.relation)
    steps = [
        sql.SQL("alter column {} type {}" if name in here else "add column {} {}").format(
            sql.Identifier(name), sql.SQL(type_)
        )
        for name, type_ in there.items()
        if here.get(name) != type_
    ]
    if steps:
        connection.execute(sql.SQL("alter table {} {}").format(candidate.name, sql.SQL(", ").join(steps)))


def partitions_of(connection: Connection[Any], relation: Relation, load_date: date) -> list[Relation]:
    """The build that is published of a load_date, as a list of one or none."""
    rows = connection.execute(
        "select c.relname from pg_inherits as i inner join pg_class as c on i.inhrelid = c.oid "
        "where i.inhparent = %s::regclass and pg_get_expr(c.relpartbound, c.oid) = %s",
        [identifier(relation).as_string(connection), f"FOR VALUES IN ('{load_date.isoformat()}')"],
    ).fetchall()
    return [Relation(BUILDS, name) for (name,) in rows]


def _replace_rows(connection: Connection[Any], candidate: Candidate) -> None:
    name = identifier(candidate.table.relation)
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in (LOAD_DATE, *candidate.table.columns))
    delete_partition(connection, candidate.table, candidate.load_date)
    connection.execute(
        sql.SQL("insert into {} ({columns}) select {columns} from {}").format(name, candidate.name, columns=columns)
    )
    connection.execute(sql.SQL("drop table {}").format(candidate.name))
