"""Published tables: what readers query, kept in the shape that the file declares, and swapped in one transaction.

Belongs here: making and altering the published table and its view, putting a candidate in, taking a load_date out. Not
here: whether that may be (build/), and the ledger's row (ops/publishes.py).
"""

from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model import excerpt
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.bootstrap import BUILDS
from kpi_assets.warehouse.candidates import (
    Candidate,
    DefinitionError,
    column_definitions,
    for_readers,
    identifier,
    renamed,
    types_of,
)


def latest_view(table: Table) -> Relation:
    """The view in which readers find a KPI's latest published load_date."""
    return Relation(table.relation.schema, f"{table.relation.table}_latest")


def ensure(connection: Connection[Any], table: Table) -> None:
    """Make the published table what its file declares; its rows of other load_dates stay.

    A new column is NULL in load_dates that were published before it; they are stale, and rebuilt when asked for.
    Raises DefinitionError where other objects of the database stand in the way.
    """
    found = types_of(connection, table.relation)
    declared = {LOAD_DATE: "date", **{name: column.type for name, column in table.header.columns.items()}}
    if found:
        check_storage(connection, table)
    if table.header.storage == "view":
        _create_view(connection, table, replace=found == declared)
    elif not found:
        _create(connection, table)
    elif found != declared:
        _alter(connection, table, found, declared)
    if table.header.storage == "rows":
        _ensure_key(connection, table)
    # Replacing a view shuts out its readers for a moment: only where its columns changed.
    shown = {name: declared[name] for name in (LOAD_DATE, *table.header.selected)}
    if table.header.kpi and types_of(connection, latest_view(table)) != shown:
        _create_latest_view(connection, table)
    _comment(connection, table)


def _create(connection: Connection[Any], table: Table) -> None:
    name = identifier(table.relation)
    by_date = sql.SQL(" partition by list ({})").format(sql.Identifier(LOAD_DATE))
    connection.execute(
        sql.SQL("create table {} ({}){}").format(
            name, column_definitions(table), by_date if table.header.storage == "partitions" else sql.SQL("")
        )
    )


def _create_view(connection: Connection[Any], table: Table, *, replace: bool) -> None:
    """The view that a table with storage: view is; only a view whose columns stay can be replaced in its place."""
    shown, columns = table.shows
    view = identifier(table.relation)
    if not replace:
        try:
            connection.execute(sql.SQL("drop view if exists {}").format(view))
        except psycopg.errors.DependentObjectsStillExist as error:
            detail = excerpt.cut(str(error).strip().replace("\n", " "), excerpt.MESSAGE)
            raise DefinitionError(f"{table.path}: {table.relation} cannot get other columns ({detail}).") from None
    connection.execute(
        sql.SQL("create or replace view {} as select {}, {} from {}").format(
            view,
            sql.Identifier(LOAD_DATE),
            renamed(columns),
            identifier(shown),
        )
    )


def check_storage(connection: Connection[Any], table: Table) -> None:
    """Raise DefinitionError where the published table is stored in another way than its file says."""
    row = connection.execute(
        "select relkind from pg_class where oid = %s::regclass", [identifier(table.relation).as_string(connection)]
    ).fetchone()
    stored = {"p": "partitions", "v": "view"}.get(row[0] if row else "", "rows")
    if stored != table.header.storage:
        kind = "view" if stored == "view" else "table"
        raise DefinitionError(
            f"{table.path}: {table.relation} was published with storage: {stored}; to change it, "
            f"drop {kind} {table.relation} cascade, delete its rows from ops.publishes, and backfill."
        )


def _ensure_key(connection: Connection[Any], table: Table) -> None:
    """The unique index of a table stored as rows: what keeps a load_date's key unique, and finds its rows."""
    wanted = [LOAD_DATE, *table.header.grain]
    name = identifier(table.relation).as_string(connection)
    indexes = connection.execute(
        "select i.indexrelid::regclass::text, (select array_agg(a.attname::text order by k.n) "
        "from unnest(i.indkey) with ordinality as k (attnum, n) "
        "inner join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum) "
        "from pg_index as i where i.indrelid = %s::regclass and i.indisunique",
        [name],
    ).fetchall()
    if [columns for _, columns in indexes] == [wanted]:
        return
    for index, _ in indexes:
        connection.execute(sql.SQL("drop index {}").format(sql.SQL(index)))
    key = sql.SQL(", ").join(sql.Identifier(column) for column in wanted)
    try:
        connection.execute(sql.SQL("create unique index on {} ({})").format(identifier(table.relation), key))
    except psycopg.errors.UniqueViolation:
        raise DefinitionError(
            f"{table.path}: load_dates of {table.relation} that are published already have rows that share the new "
            f"grain ({', '.join(table.header.grain)}): keep the old grain, or drop the table and backfill."
        ) from None


def _alter(connection: Connection[Any], table: Table, found: dict[str, str], declared: dict[str, str]) -> None:
    changes = [sql.SQL("drop column {}").format(sql.Identifier(name)) for name in found if name not in declared]
    for name, type_ in declared.items():
        column, known_type = sql.Identifier(name), sql.SQL(type_)
        if name not in found:
            changes.append(sql.SQL("add column {} {}").format(column, known_type))
        elif found[name] != type_:
            changes.append(sql.SQL("alter column {0} type {1} using {0}::{1}").format(column, known_type))
    try:
        if table.header.kpi:
            connection.execute(sql.SQL("drop view if exists {}").format(identifier(latest_view(table))))
        connection.execute(sql.SQL("alter table {} {}").format(identifier(table.relation), sql.SQL(", ").join(changes)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported, psycopg.DataError) as error:
        detail = excerpt.cut(str(error).strip().replace("\n", " "), excerpt.MESSAGE)
        raise DefinitionError(
            f"{table.path}: {table.relation} cannot be altered to the header's columns ({detail}): "
            "drop what depends on it, or keep the column."
        ) from None


def _create_latest_view(connection: Connection[Any], table: Table) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in (LOAD_DATE, *table.header.selected))
    connection.execute(
        sql.SQL(
            "create or replace view {view} as select {columns} from {table} where {for_readers} and {date} = "
            "(select max(p.load_date) from ops.published as p where p.asset = {asset})"
        ).format(
            for_readers=for_readers(table),
            view=identifier(latest_view(table)),
            columns=columns,
            table=identifier(table.relation),
            date=sql.Identifier(LOAD_DATE),
            asset=sql.Literal(str(table.relation)),
        )
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


def put_in(connection: Connection[Any], candidate: Candidate) -> None:
    """Replace what readers see of the candidate's load_date by the candidate, also by one without rows.

    Inside the caller's transaction, which has a lock_timeout.
    """
    if candidate.table.header.storage == "partitions":
        _attach(connection, candidate)
    elif candidate.table.header.storage == "rows":
        _replace_rows(connection, candidate)


def take_out(connection: Connection[Any], table: Table, load_date: date) -> None:
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


def _attach(connection: Connection[Any], candidate: Candidate) -> None:
    take_out(connection, candidate.table, candidate.load_date)
    for leaf in candidates.leaves(connection, candidate):
        connection.execute(sql.SQL("alter table {} reset (autovacuum_enabled)").format(identifier(leaf)))
    connection.execute(
        sql.SQL("alter table {} attach partition {} for values in ({})").format(
            identifier(candidate.table.relation), candidate.name, sql.Literal(candidate.load_date)
        )
    )


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
    take_out(connection, candidate.table, candidate.load_date)
    connection.execute(
        sql.SQL("insert into {} ({columns}) select {columns} from {}").format(name, candidate.name, columns=columns)
    )
    connection.execute(sql.SQL("drop table {}").format(candidate.name))
