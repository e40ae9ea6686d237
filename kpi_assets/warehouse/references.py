"""Foreign keys in the catalog of Postgres, for tools that read it: what the check `foreign_key` proves of each build.

They are NOT ENFORCED, which servers have since 18. An enforced one would contradict audit before publish: the rows that
a table refers to could not be replaced before its own. They are declared only if nobody has to wait for it, and dropped
as soon as they are in the way of a change; the next publish of the table that refers declares them again.

A partitioned table has none: with one, attaching a partition takes a lock on the table that it refers to, for which
publishes of that table would wait (and the partition for them, while it keeps readers out).
Not here: the check itself (model/checks/keys.py).
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.checks.keys import ForeignKey
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import identifier, lock_if_free, relkind_of

SINCE = 180_000  # the server_version that knows NOT ENFORCED
_SUFFIX = " by foreign_key"  # of the names of the constraints that are made here: `customer_sk by foreign_key`
_COLUMNS_OF = """array(
    select a.attname::text from unnest({1}) with ordinality as u (attnum, n)
    inner join pg_attribute as a on a.attrelid = {0} and u.attnum = a.attnum order by u.n
)"""
# The constraints that are made here: (name, schema, table, owner, columns, schema, table, columns).
_DECLARED = f"""
select k.conname::text, n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text,
    {_COLUMNS_OF.format("k.conrelid", "k.conkey")}, rn.nspname::text, r.relname::text,
    {_COLUMNS_OF.format("k.confrelid", "k.confkey")}
from pg_constraint as k
inner join pg_class as c on k.conrelid = c.oid inner join pg_namespace as n on c.relnamespace = n.oid
inner join pg_class as r on k.confrelid = r.oid inner join pg_namespace as rn on r.relnamespace = rn.oid
where k.contype = 'f' and not k.conenforced and right(k.conname, {len(_SUFFIX)}) = '{_SUFFIX}'
"""  # noqa: S608
# The keys of a table to which a constraint can refer, if the same role owns it as the table that refers.
_KEYS = f"""
select {_COLUMNS_OF.format("i.indrelid", "i.indkey")}
from pg_index as i inner join pg_class as r on i.indrelid = r.oid
where r.oid = %s::regclass and r.relkind = 'r' and i.indisunique and i.indisvalid and i.indimmediate
and i.indpred is null and i.indexprs is null
and r.relowner = (select c.relowner from pg_class as c where c.oid = %s::regclass)
"""  # noqa: S608


class _Reference(NamedTuple):
    """Columns of a table, and the columns of another one of which their values are."""

    columns: list[str]
    to: Relation
    to_columns: list[str]


def declare(connection: Connection[Any], table: Table) -> None:
    """Declare what the checks of a published table say, and drop what they no longer say; wait for nobody.

    Call this at the end of a publish, because of the locks. What cannot be declared is left out: the table that is
    referred to has no unique index of the columns, belongs to another role, or has columns of other types.
    """
    if connection.info.server_version < SINCE or table.storage.sliceable:
        return
    wanted = _wanted(connection, table)
    found = {
        name: _Reference(columns, Relation(*to), to_columns)
        for name, _, _, _, columns, *to, to_columns in _find(connection, "conrelid", table.relation)
    }
    for name, reference in found.items():
        if wanted.get(name) == reference:
            del wanted[name]
        elif lock_if_free(connection, table.relation, reference.to):
            _drop(connection, table.relation, name)
        else:
            wanted.pop(name, None)
    for name, reference in wanted.items():
        # The types may not fit. That is no reason to hold a publish.
        with suppress(psycopg.errors.LockNotAvailable, psycopg.ProgrammingError), connection.transaction():
            _add(connection, table.relation, name, reference)


def drop_incoming(connection: Connection[Any], relation: Relation, columns: Collection[str] | None = None) -> None:
    """Drop the constraints that refer to a table, or to these columns of it, since they depend on it."""
    for name, schema, table, owner, *_, to_columns in _find(connection, "confrelid", relation):
        if columns is None or {*columns} & {*to_columns}:
            _drop_as(connection, owner, Relation(schema, table), name)


def drop_outgoing(connection: Connection[Any], relation: Relation, columns: Collection[str]) -> None:
    """Drop the constraints of these columns of a table."""
    for name, _, _, _, own, *_ in _find(connection, "conrelid", relation):
        if {*columns} & {*own}:
            _drop(connection, relation, name)


def _wanted(connection: Connection[Any], table: Table) -> dict[str, _Reference]:
    """Return what the gating checks say: a column, and the key of the other table that has its values.

    The key has load_date too if the other table has rows of each load_date.
    """
    found = {}
    for check in table.checks:
        if not isinstance(check, ForeignKey) or not check.blocking:
            continue
        names = [identifier(each).as_string(connection) for each in (check.refers, table.relation)]
        if relkind_of(connection, check.refers) is None:
            continue
        keys = [key for (key,) in connection.execute(_KEYS, names).fetchall()]
        by_day = [LOAD_DATE, check.to]
        if [check.to] in keys:
            found[check.column + _SUFFIX] = _Reference([check.column], check.refers, [check.to])
        elif by_day in keys and not table.storage.keeps_versions:
            found[check.column + _SUFFIX] = _Reference([LOAD_DATE, check.column], check.refers, by_day)
    return found


def _find(connection: Connection[Any], end: str, relation: Relation) -> list[tuple[Any, ...]]:
    if connection.info.server_version < SINCE:
        return []
    query = sql.SQL(_DECLARED + " and k.{} = to_regclass(%s)").format(sql.Identifier(end))
    return connection.execute(query, [identifier(relation).as_string(connection)]).fetchall()


def _add(connection: Connection[Any], relation: Relation, name: str, reference: _Reference) -> None:
    words: Mapping[str, sql.Composable] = {
        "table": identifier(relation),
        "name": sql.Identifier(name),
        "columns": sql.SQL(", ").join(map(sql.Identifier, reference.columns)),
        "to": identifier(reference.to),
        "to_columns": sql.SQL(", ").join(map(sql.Identifier, reference.to_columns)),
    }
    connection.execute(sql.SQL("lock table {table}, {to} in share row exclusive mode nowait").format(**words))
    connection.execute(
        sql.SQL(
            "alter table {table} add constraint {name} foreign key ({columns}) references {to} ({to_columns}) "
            "not enforced"
        ).format(**words)
    )


def _drop(connection: Connection[Any], relation: Relation, name: str) -> None:
    connection.execute(sql.SQL("alter table {} drop constraint {}").format(identifier(relation), sql.Identifier(name)))


def _drop_as(connection: Connection[Any], owner: str, relation: Relation, name: str) -> None:
    """Drop a constraint as the owner of its table, which need not be the role of this session."""
    [(me,)] = connection.execute("select current_user::text").fetchall()
    set_role = sql.SQL("set local role {}")
    if owner != me:
        connection.execute(set_role.format(sql.Identifier(owner)))
    _drop(connection, relation, name)
    if owner != me:
        connection.execute(set_role.format(sql.Identifier(me)))
