"""Snapshots of readers: which transactions still see the database as it was, and would find a swapped table empty.

The rows of a build are newer than such a snapshot, and the swap removes the partition that the snapshot can see: a
transaction with `repeatable read` would read no rows of a load_date that was there all the time. So a swap waits for
these transactions, as Postgres' own `create index concurrently` does.
Not here: for how long somebody waits (materialize/retry.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

OURS = "kpi "  # how the names of our sessions begin; each of their statements has a snapshot of its own

# Every transaction holds a lock on an id of its own, which all users see, and by which it is told from the next one.
_SNAPSHOTS = """
select a.pid, l.virtualtransaction as transaction, a.backend_xmin::text as xmin,
    coalesce(a.usename, '') as login, coalesce(a.application_name, '') as application
from pg_stat_activity as a
inner join pg_locks as l on l.pid = a.pid and l.locktype = 'virtualxid' and l.granted and l.mode = 'ExclusiveLock'
where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_xmin is not null
and a.usename is not null and not starts_with(coalesce(a.application_name, ''), %s)
"""


@dataclass(frozen=True)
class Snapshot:
    """A transaction of somebody else, with the oldest transaction that it may not see yet."""

    pid: int
    transaction: str
    xmin: str
    login: str
    application: str

    def __str__(self) -> str:
        named = f", {self.application}" if self.application else ""
        return f"process {self.pid} of {self.login}{named}"


def open_snapshots(connection: Connection[Any]) -> set[Snapshot]:
    """The snapshots of this database that transactions other than ours hold now."""
    with connection.cursor(row_factory=class_row(Snapshot)) as cursor:
        return set(cursor.execute(_SNAPSHOTS, [OURS]).fetchall())


def still_open(connection: Connection[Any], then: Collection[Snapshot]) -> list[Snapshot]:
    """Those of `then` that the same transactions still hold."""
    return sorted(set(then) & open_snapshots(connection), key=lambda snapshot: snapshot.pid) if then else []
