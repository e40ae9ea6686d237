"""The locks of runs, builds and publishes: rows of ops.locks, which only the roles that build may write.

A session lock is a row that names the session and a token. The token is an advisory lock on a random number, which the
session takes first. PostgreSQL releases it when the session ends, so a killed process leaves no lock behind. A session
that may not write ops cannot block a build: it does not know the number before it is taken, and no row names it as the
holder of a number that it takes later.
A transaction lock is the row itself, locked for update.
Not here: how long a build waits (materialize/retry.py).
"""

import secrets
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from kpi_assets.model.names import Relation

# Whether a row of ops.locks is held: its session lives and holds the token. Every role can read both views.
HELD = """
exists (
    select 1
    from pg_locks as held
    inner join pg_stat_activity as activity on activity.pid = held.pid
    where held.locktype = 'advisory' and held.objsubid = 1 and held.granted
    and held.database = (select oid from pg_database where datname = current_database())
    and (held.classid::bigint << 32 | held.objid::bigint) = locks.token
    and held.pid = locks.pid and activity.usesysid = locks.login
)
"""
_TAKE = f"""
insert into ops.locks (name, share, token, pid, login, holder)
select
    %(name)s, case when %(shared)s then %(token)s::bigint else 0 end, %(token)s, pg_backend_pid(),
    to_regrole(quote_ident(session_user))::oid, current_setting('application_name')
from pg_advisory_lock(%(token)s)  -- a random number, which nobody else holds: before any row names it
on conflict (name, share) do update
set token = excluded.token, pid = excluded.pid, login = excluded.login, holder = excluded.holder,
    since = clock_timestamp()
where not {HELD}
returning {{then}}
"""  # noqa: S608
# The commit of a lock does not wait for the disk: a server that crashes ends the session that has the lock, too.
_WITHOUT_WAITING = "set_config('synchronous_commit', 'off', true)"
_HOLDERS = f"""
select locks.name, locks.pid, coalesce(pg_get_userbyid(locks.login), '') as login, locks.holder, locks.since
from ops.locks
where {{which}} and {HELD}
order by locks.since
"""  # noqa: S608

_UP_TO = " up to "  # in the name of a lock that blocks publishes of the load_dates up to one


@dataclass(frozen=True)
class Holder:
    """The session that holds a lock; `holder` is its application_name at the time when it took the lock."""

    name: str
    pid: int
    login: str
    holder: str
    since: datetime

    def __str__(self) -> str:
        return (
            f"process {self.pid} of {self.login} ({self.holder or 'unnamed'}) since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        )


def run_lock(load_date: date) -> str:
    """The name of the lock of all builds of one load_date."""
    return f"run {load_date.isoformat()}"


def live_lock(load_date: date) -> str:
    """The name of the lock of the one live run of a load_date."""
    return f"live {load_date.isoformat()}"


def build_lock(relation: Relation, load_date: date) -> str:
    """The name of the lock of one (table, load_date)."""
    return f"build {relation} {load_date.isoformat()}"


def repeats_lock(relation: Relation) -> str:
    """The name of the lock of all builds of a table that leaves repeats out: each must see what the others publish."""
    return f"repeats {relation}"


def lake_lock(relation: Relation) -> str:
    """The name of the lock of what a table on the lake has besides snapshots: its branches, its tags and `main`."""
    return f"lake {relation}"


def _publish_lock(relation: Relation) -> str:
    return f"publish {relation}"


def try_lock(connection: Connection[Any], name: str, *, shared: bool = False) -> bool:
    """Take a lock for this session; False while another session has it. Shared locks of one name do not conflict.

    The session must not be in a transaction, because others would not see the lock before the commit.
    """
    token = secrets.randbits(64) - 2**63
    is_alone = connection.info.transaction_status == TransactionStatus.IDLE  # and not part of a transaction
    take = _TAKE.format(then=_WITHOUT_WAITING if is_alone else "1")
    taken = connection.execute(take, {"name": name, "token": token, "shared": shared}).fetchone()
    if taken is None:
        connection.execute("select pg_advisory_unlock(%s)", [token])
    return taken is not None


def unlock(connection: Connection[Any], name: str) -> None:
    """Release a lock if this session holds it; the lock of another session stays.

    The locks of a session that has ended are gone. Then nothing is raised, so that what ended it is told.
    """
    try:
        connection.execute(
            "with gone as (delete from ops.locks where name = %s and pid = pg_backend_pid() returning token) "
            "select pg_advisory_unlock(token) from gone",
            [name],
        )
    except psycopg.OperationalError:
        if not connection.closed:
            raise


def release_all(connection: Connection[Any]) -> None:
    """Release every lock that this session holds, as its end would."""
    connection.execute(
        "delete from ops.locks where pid = pg_backend_pid() and token is not null; select pg_advisory_unlock_all()"
    )


def holder(connection: Connection[Any], name: str) -> Holder | None:
    """The session that holds a lock; None if nobody does."""
    with connection.cursor(row_factory=class_row(Holder)) as cursor:
        return cursor.execute(_HOLDERS.format(which="locks.name = %s"), [name]).fetchone()


def holders(connection: Connection[Any]) -> list[Holder]:
    """Every lock that a session holds, the oldest first."""
    with connection.cursor(row_factory=class_row(Holder)) as cursor:
        return cursor.execute(_HOLDERS.format(which="locks.token is not null")).fetchall()


def idle_holders(connection: Connection[Any], seconds: float) -> list[Holder]:
    """The sessions that hold locks and have been idle for so long, together with all other sessions of their run.

    Such a session may have lost its client, behind a pooler or a network that drops connections without notice.
    """
    which = """
        locks.token is not null and not exists (
            select 1 from pg_stat_activity as own
            inner join pg_stat_activity as other
            on split_part(other.application_name, ' ', 2) = split_part(own.application_name, ' ', 2)
            and other.datname = own.datname
            where own.pid = locks.pid and (
                other.state is distinct from 'idle' or clock_timestamp() - other.state_change < %s * interval '1 second'
            )
        )
    """
    with connection.cursor(row_factory=class_row(Holder)) as cursor:
        return cursor.execute(_HOLDERS.format(which=which), [seconds]).fetchall()


def sweep(connection: Connection[Any]) -> None:
    """Delete the rows whose sessions are gone; they block nobody."""
    connection.execute(f"delete from ops.locks where token is not null and not {HELD}")  # noqa: S608


def await_turn(connection: Connection[Any], name: str) -> None:
    """Take a lock that is released when the transaction ends; `lock_timeout` limits the wait."""
    connection.execute("insert into ops.locks (name) values (%s) on conflict do nothing", [name])
    connection.execute("select 1 from ops.locks where (name, share) = (%s, 0) for update", [name])


def lock_publish(connection: Connection[Any], relation: Relation, load_date: date | None = None) -> None:
    """Wait for this transaction's turn to publish into a table; without turns, two first load_dates both create it.

    With a `load_date`, only that of a history is published, which does not matter to who reads it up to an earlier one.
    Raises LockNotAvailable if other builds read a window of the table, or a history, which may take long.
    """
    await_turn(connection, _publish_lock(relation))
    which = (
        "(locks.name = %s or starts_with(locks.name, %s) and right(locks.name, 10) >= %s) "
        "and locks.share <> 0 and locks.pid <> pg_backend_pid()"
    )
    names = [_publish_lock(relation), f"{_publish_lock(relation)}{_UP_TO}", load_date.isoformat() if load_date else ""]
    with connection.cursor(row_factory=class_row(Holder)) as cursor:
        found = cursor.execute(_HOLDERS.format(which=which), names).fetchone()
    if found is not None:
        raise psycopg.errors.LockNotAvailable(f"{found} builds from {relation}")


def lock_against_publishes(connection: Connection[Any], relation: Relation, up_to: date | None = None) -> None:
    """Keep every session from publishing into a table until this session ends; of a history, load_dates `up_to` one.

    Raises LockNotAvailable if a publish into the table is under way and takes longer than a second.
    """
    name = _publish_lock(relation)
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', '1s', true)")
        await_turn(connection, name)
        try_lock(connection, f"{name}{_UP_TO}{up_to.isoformat()}" if up_to else name, shared=True)
