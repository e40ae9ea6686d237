"""The key of a table with `storage: rows`: a primary key of load_date and grain, which also finds the rows of a day.

A new table has it from the beginning. An older one has a unique index, which becomes the primary key at a publish. It
is proven before, while others read and write, that its columns have no NULL, so that readers wait for a moment only.
Load_dates that were published with another grain may have NULL or duplicates in the key. Then the table has a unique
index, or one that is not unique, until they are built again. The audit proves the key of every build anyway.
Not here: the index of a candidate (candidates.py), and the keys of a history (kinds/history.py).
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import digest
from kpi_assets.model.table import Table
from kpi_assets.warehouse import references
from kpi_assets.warehouse.ddl import DefinitionError, identifier, lock_if_free, types_of
from kpi_assets.warehouse.error_reasons import one_line

LOCK_TIMEOUT = "2s"  # of the proof, for which others wait as they do for a publish
# The indexes of a relation: (name, whether it is unique, its columns, the constraint that it belongs to).
_INDEXES = """
select c.relname, i.indisunique, (
    select array_agg(a.attname::text order by k.n) from unnest(i.indkey) with ordinality as k (attnum, n)
    inner join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum
), k.conname
from pg_index as i inner join pg_class as c on i.indexrelid = c.oid
left join pg_constraint as k on k.conindid = c.oid and k.conrelid = i.indrelid and k.contype in ('p', 'u')
where i.indrelid = %s::regclass
"""
_NOT_NULL = "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 and attnotnull"
_PROOFS = """
select conname::text, convalidated from pg_constraint
where conrelid = %s::regclass and contype = 'c' and conname ~ ' [0-9a-f]{16} known$'
"""
_CREATE_INDEX = sql.SQL("create {unique} index {name} on {table} ({columns})")


class _Index(NamedTuple):
    name: str
    is_unique: bool
    columns: list[str]
    constraint: str | None


def create(connection: Connection[Any], table: Table) -> None:
    """Add the primary key of a table that has no rows yet."""
    connection.execute(_adding(table, "constraint {name} primary key ({columns})"))


def ensure(connection: Connection[Any], table: Table) -> None:
    """Give a table the best key that its rows allow, if its grain has changed.

    Call this before the rows are put in. Raises DefinitionError if other objects depend on the key.
    """
    wanted, found = _columns(table), _indexes(connection, table.relation)
    if [index.columns for index in found if index.is_unique] == [wanted]:
        return
    references.drop_incoming(connection, table.relation)  # they depend on the unique index
    try:
        for index in found:
            if index.constraint and index.is_unique:
                _alter(connection, table, sql.SQL("drop constraint {}").format(sql.Identifier(index.constraint)))
            elif index.is_unique or index.columns == wanted:
                name = sql.Identifier(table.relation.schema, index.name)
                connection.execute(sql.SQL("drop index {}").format(name))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DefinitionError(
            f"{table.path}: {table.relation} cannot get another key ({one_line(error, table.pii)}): drop what depends "
            "on it, or keep the grain."
        ) from None
    _allow_nulls(connection, table, wanted)
    for statement in (
        _adding(table, "constraint {name} primary key ({columns})"),
        _CREATE_INDEX.format(unique=sql.SQL("unique"), **_words(table)),
        _CREATE_INDEX.format(unique=sql.SQL(""), **_words(table)),
    ):
        with suppress(psycopg.errors.NotNullViolation, psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute(statement)
            return


def prove(connection: Connection[Any], table: Table) -> None:
    """Prove that the unique index of an older table could be a primary key, in transactions of their own.

    Nothing is proven if a column of the key has a NULL, or if the table is in use at this moment.
    """
    if not types_of(connection, table.relation) or not _could_be_primary(connection, table):
        return
    name, proof = identifier(table.relation), sql.Identifier(_proof(table))
    if dict(connection.execute(_PROOFS, [name.as_string(connection)]).fetchall()).get(_proof(table)):
        return
    known = sql.SQL(" and ").join(sql.SQL("{} is not null").format(sql.Identifier(each)) for each in _columns(table))
    (has_nulls,) = connection.execute(
        sql.SQL("select exists (select from {} where not ({}))").format(name, known)
    ).fetchone() or (True,)
    if has_nulls:
        return
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.CheckViolation):
        with connection.transaction():
            if not lock_if_free(connection, table.relation):
                return
            _alter(connection, table, sql.SQL("drop constraint if exists {}").format(proof))
            _alter(connection, table, sql.SQL("add constraint {} check ({}) not valid").format(proof, known))
        with connection.transaction():
            connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            _alter(connection, table, sql.SQL("validate constraint {}").format(proof))


def declare(connection: Connection[Any], table: Table) -> None:
    """Turn the unique index of an older table into its primary key, if that is proven and nobody uses the table.

    Call this at the end of a publish: the lock keeps readers out until the transaction ends.
    """
    proofs = connection.execute(_PROOFS, [identifier(table.relation).as_string(connection)]).fetchall()
    if not dict(proofs).get(_proof(table)) or not _could_be_primary(connection, table):
        return
    if not lock_if_free(connection, table.relation):
        return
    [index] = [each.name for each in _indexes(connection, table.relation) if each.is_unique]
    _alter(connection, table, sql.SQL("add constraint {0} primary key using index {0}").format(sql.Identifier(index)))
    # Afterwards, or else the columns would be read for NULL.
    _alter(connection, table, sql.SQL("drop constraint {}").format(sql.Identifier(_proof(table))))


def relax(connection: Connection[Any], table: Table) -> None:
    """Turn the primary key into a unique index, for rows that no build would publish, as a fixture may have."""
    for index in _indexes(connection, table.relation):
        if index.constraint and index.columns == _columns(table):
            references.drop_incoming(connection, table.relation)
            _alter(connection, table, sql.SQL("drop constraint {}").format(sql.Identifier(index.constraint)))
            _allow_nulls(connection, table, [])
            connection.execute(_CREATE_INDEX.format(unique=sql.SQL("unique"), **_words(table)))


def _could_be_primary(connection: Connection[Any], table: Table) -> bool:
    unique = [index for index in _indexes(connection, table.relation) if index.is_unique]
    return [(index.columns, index.constraint) for index in unique] == [(_columns(table), None)]


def _indexes(connection: Connection[Any], relation: Relation) -> list[_Index]:
    return [_Index(*row) for row in connection.execute(_INDEXES, [identifier(relation).as_string(connection)])]


def _allow_nulls(connection: Connection[Any], table: Table, wanted: Sequence[str]) -> None:
    """Let columns be NULL that are no longer in the key."""
    name = [identifier(table.relation).as_string(connection)]
    for proof, _ in connection.execute(_PROOFS, name).fetchall():
        _alter(connection, table, sql.SQL("drop constraint {}").format(sql.Identifier(proof)))
    for (column,) in connection.execute(_NOT_NULL, name).fetchall():
        if column not in wanted:
            _alter(connection, table, sql.SQL("alter column {} drop not null").format(sql.Identifier(column)))


def _columns(table: Table) -> list[str]:
    return [LOAD_DATE, *table.header.grain]


def _words(table: Table) -> dict[str, sql.Composable]:
    """Return the parts of a statement that makes the key; its name has a blank, so that no table can have it."""
    return {
        "name": sql.Identifier(f"{table.relation.table} {digest(*_columns(table))}"),
        "table": identifier(table.relation),
        "columns": sql.SQL(", ").join(map(sql.Identifier, _columns(table))),
    }


def _proof(table: Table) -> str:
    return f"{table.relation.table} {digest(*_columns(table))} known"


def _adding(table: Table, what: str) -> sql.Composed:
    return sql.SQL("alter table {table} add " + what).format(**_words(table))


def _alter(connection: Connection[Any], table: Table, what: sql.Composable) -> None:
    connection.execute(sql.SQL("alter table {} {}").format(identifier(table.relation), what))
