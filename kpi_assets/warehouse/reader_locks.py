"""Locks with which a reader keeps the rows of tables as the ledger has them in its one snapshot.

A swap of a partition is seen by every transaction as soon as it is committed, whatever its snapshot, and the ledger is
seen as of the snapshot. So a reader whose snapshot is a moment older than the commit would read the old row of the
ledger and the new rows. A reader who locks the tables first, `in access share mode`, and takes the snapshot then, sees
both from before the swap, which waits for the lock, or both from after it. `lock table` takes no snapshot.

A right on single columns does not suffice for `lock table`. A table with personal columns is locked by a SELECT of no
rows instead, which takes the snapshot before the lock. If the table was swapped in between, the reader begins again.

Belongs here: the locks of readers. Not here: the snapshot (connection.py), and locks of publishes (ledger/locks.py).
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.rows import class_row

from kpi_assets.errors import UserError
from kpi_assets.model.names import Relation

NAMED = 3  # tables that the sentence names
PATIENCE = 5.0  # seconds that a reader waits for a table, which a publish locks for much less
# The tables that the relations `names` are, or show as views, each once for each of them. `ops` is as of the snapshot.
_TABLES = """
with recursive shown as (
    select n.nspname::text as schema, c.relname::text as name, c.oid as named, c.oid, c.relkind
    from unnest(%(schemas)s::text[], %(tables)s::text[]) as w (schema, name)
    inner join pg_namespace as n on n.nspname = w.schema
    inner join pg_class as c on c.relnamespace = n.oid and c.relname = w.name
    union
    select s.schema, s.name, s.named, c.oid, c.relkind
    from shown as s
    inner join pg_rewrite as r on r.ev_class = s.oid
    inner join pg_depend as d on
        d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
    inner join pg_class as c on c.oid = d.refobjid and c.oid <> s.oid
    where s.relkind = 'v'
)
select
    s.schema as named_schema, s.name as named_name, n.nspname::text as schema, c.relname::text as name, c.oid::bigint,
    has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as may_lock,
    has_schema_privilege(s.schema, 'usage') and has_any_column_privilege(s.named, 'select') as may_read,
    current_setting('lock_timeout') as lock_timeout
from shown as s
inner join pg_class as c on c.oid = s.oid
inner join pg_namespace as n on n.oid = c.relnamespace
where s.relkind in ('r', 'p') and n.nspname not in ('ops', 'pg_catalog')
order by n.nspname, c.relname
"""
# Whether tables are now as the snapshot has them. A query of a catalog is of the snapshot, and these functions of now.
_UNCHANGED = """
select not exists (
    select 1 from pg_class as c
    where c.oid = any(%(oids)s::oid[]) and (
        c.relkind = 'r' and pg_relation_filenode(c.oid) is distinct from c.relfilenode
        or exists (
            select 1 from pg_inherits as i
            where i.inhparent = c.oid and pg_partition_root(i.inhrelid) is distinct from c.oid
        )
    )
)
"""
# Dropped since it was looked up, swapped since the snapshot, or locked the other way round by a rollback.
_AGAIN = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.DeadlockDetected)


class BeingReplacedError(UserError):
    """A table is locked by what replaces its rows, for longer than a reader waits."""


class _SwappedError(Exception):
    """A table was swapped between the snapshot and the lock."""


@dataclass(frozen=True)
class _Table:
    """A table to be locked, which a relation is or shows; by LOCK, or by reading the relation."""

    named_schema: str
    named_name: str
    schema: str
    name: str
    oid: int
    may_lock: bool
    may_read: bool
    lock_timeout: str


@contextmanager
def locked(
    connection: Connection[Any], reads: Collection[Relation], begin: Callable[[], AbstractContextManager[Any]]
) -> Iterator[None]:
    """Open the transaction `begin`, which has taken no snapshot yet, and lock the tables that these relations show.

    Relations that do not exist, those of ops, and those that this session may not read are left out. Raises
    BeingReplacedError.
    """
    with _opened(connection, reads, begin):
        yield


def _opened(
    connection: Connection[Any], reads: Collection[Relation], begin: Callable[[], AbstractContextManager[Any]]
) -> ExitStack:
    deadline = time.monotonic() + PATIENCE
    while True:
        tables = _find(connection, reads) if reads else []
        try:
            with ExitStack() as opened:
                opened.enter_context(begin())
                if tables:
                    _lock(connection, tables, max(deadline - time.monotonic(), 0.001))
                return opened.pop_all()
        except psycopg.errors.LockNotAvailable:
            raise _being_replaced(reads) from None
        except (*_AGAIN, _SwappedError):
            if time.monotonic() >= deadline:
                raise _being_replaced(reads) from None


def _find(connection: Connection[Any], reads: Collection[Relation]) -> list[_Table]:
    names = {"schemas": [each.schema for each in reads], "tables": [each.table for each in reads]}
    with connection.cursor(row_factory=class_row(_Table)) as cursor:
        return cursor.execute(_TABLES, names).fetchall()


def _lock(connection: Connection[Any], tables: Collection[_Table], seconds: float) -> None:
    """Lock tables, but not their partitions, of which there may be thousands: a swap locks the table itself."""
    timeout = sql.SQL("set local lock_timeout = {}")
    connection.execute(timeout.format(sql.Literal(f"{seconds * 1000:.0f}ms")))
    lockable = dict.fromkeys((each.schema, each.name) for each in tables if each.may_lock)
    if lockable:
        names = sql.SQL(", ").join(sql.SQL("only {}").format(sql.Identifier(*each)) for each in lockable)
        connection.execute(sql.SQL("lock table {} in access share mode").format(names))
    others = [each for each in tables if not each.may_lock and each.may_read]
    if others:
        _lock_by_reading(connection, others)
    [before] = {each.lock_timeout for each in tables}
    connection.execute(timeout.format(sql.Literal(before)))


def _lock_by_reading(connection: Connection[Any], tables: Collection[_Table]) -> None:
    """Lock tables by SELECTs of no rows. Raises _SwappedError if one was swapped between the snapshot and its lock."""
    for named in dict.fromkeys((each.named_schema, each.named_name) for each in tables):
        connection.execute(sql.SQL("select 1 from {} where false").format(sql.Identifier(*named)))
    [(is_unchanged,)] = connection.execute(_UNCHANGED, {"oids": [each.oid for each in tables]}).fetchall()
    if not is_unchanged:
        raise _SwappedError


def _being_replaced(reads: Collection[Relation]) -> BeingReplacedError:
    names = sorted(map(str, reads))
    shown = ", ".join(names[:NAMED]) + (" or others" if len(names) > NAMED else "")
    return BeingReplacedError(
        f"The rows of {shown} are being replaced, and could not be read for {PATIENCE:.0f} seconds: ask again in a "
        "moment.",
        transient=True,
    )
