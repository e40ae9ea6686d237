"""Finds the transactions with an older snapshot, for which the load_date of a swapped partition would look empty.

The rows of a build are newer than such a snapshot, and the swap removes the partition that the snapshot can see. So a
transaction with `repeatable read` would read no rows of a load_date that was published all the time. A swap waits for
these transactions, as `create index concurrently` of Postgres does.
Not here: waiting, and its timeout (materialize/retry.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

OURS = "kpi "  # prefix of the application_name of our sessions while each of their statements takes a new snapshot

# Every transaction holds a lock on its own virtual id. All users can see it, and it differs for the next transaction.
_SNAPSHOTS = """
select a.pid, l.virtualtransaction as transaction, a.backend_xmin::text as xmin,
    coalesce(a.usename, '') as login, coalesce(a.application_name, '') as application
from pg_stat_activity as a
inner join pg_locks as l on l.pid = a.pid and l.locktype = 'virtualxid' and l.granted and l.mode = 'ExclusiveLock'
where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_xmin is not null
and a.usename is not null and (%(ours)s or not starts_with(coalesce(a.application_name, ''), %(name)s))
"""


@dataclass(frozen=True)
class Snapshot:
    """A transaction of another client, with its xmin: the oldest transaction whose rows it may not see yet."""

    pid: int
    transaction: str
    xmin: str
    login: str
    application: str

    def __str__(self) -> str:
        named = f", {self.application}" if self.application else ""
        return f"process {self.pid} of {self.login}{named}"


def as_others(application: str) -> str:
    """Return the name for one of our sessions while it keeps a snapshot, so that a swap waits for it too."""
    return application.replace(OURS, "kpi_", 1) if application.startswith(OURS) else application


def open_snapshots(connection: Connection[Any], *, ours: bool = False) -> set[Snapshot]:
    """Return the snapshots that transactions of other clients, and `ours`, hold in this database."""
    with connection.cursor(row_factory=class_row(Snapshot)) as cursor:
        return set(cursor.execute(_SNAPSHOTS, {"ours": ours, "name": OURS}).fetchall())


def still_open(connection: Connection[Any], then: Collection[Snapshot]) -> list[Snapshot]:
    """Return those of the snapshots `then` that the same transactions still hold."""
    found = set(then) & open_snapshots(connection, ours=True) if then else set()
    return sorted(found, key=lambda snapshot: snapshot.pid)
