"""Connections to the warehouse: opened for one task each, with the same settings on every server.

Belongs here: opening a session, and one sentence for each reason why it cannot be used. Not here: the statements that
are executed in it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.model.names import Relation
from kpi_assets.warehouse import pooler, reader_locks, snapshots
from kpi_assets.warehouse.refusal import CHANGING_STATE, NO_SESSION_LEFT, explain_connection_error, place_of

# psycopg logs errors that follow another one, with the server's host and with values that must not be logged. The
# first error is raised, and it has all that people need.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)
OLDEST_SERVER = 150000  # the first version that has COPY ... HEADER MATCH
# Set in every session, so that the defaults of a server or role change neither the rows nor the speed.
SESSION = {
    "search_path": "pg_catalog",  # every table is written with its schema
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",  # so that the text of a float is exact
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",  # a publish must see what was committed while it waited
    "statement_timeout": "6h",  # as long as a run may take
    "client_min_messages": "warning",
    "jit": "off",  # compiling costs more than it saves on these statements
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
    "hash_mem_multiplier": "2",
    "max_parallel_workers_per_gather": "2",
    "max_parallel_maintenance_workers": "2",
    "idle_in_transaction_session_timeout": "1h",
    # The server notices within about a minute that a client has vanished, and releases its locks.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Also set in sessions that build tables. A build joins whole load_dates: a hash join reads each table once, while a
# merge join sorts it, and a nested loop, which the planner may choose because a partitioned table has no statistics of
# its own, reads it a million times. Postgres still uses these joins if no other plan is possible.
BULK = {"enable_nestloop": "off", "enable_mergejoin": "off"}
NOTHING: Mapping[str, str] = {}
# Set where values about a person are read: the server's log would quote those of failed statements. A login that may
# not set it works without it; `grant set on parameter log_min_messages to LOGIN` lets it.
_LOGGED = "log_min_messages"
UNLOGGED = {_LOGGED: "fatal"}
READ_ONLY = {"default_transaction_read_only": "on"}  # so that a session that only reads cannot write by mistake
# source of default_transaction_read_only -> (where it was set, how to remove it). It is never overridden.
_READ_ONLY_SOURCES = {
    "database": ("for the database", "`alter database {database} reset default_transaction_read_only`"),
    "user": ("for the user", "`alter role {user} reset default_transaction_read_only`"),
    "database user": (
        "for the user in this database",
        "`alter role {user} in database {database} reset default_transaction_read_only`",
    ),
    "client": ("by KPI_POSTGRES_URL or PGOPTIONS", "take it out of there"),
}
_READ_ONLY_SERVER = ("for the whole server", "turn it off in the server's settings")
LEDGER_ALONE: Collection[Relation] = ()  # what `one_snapshot` locks where no rows of tables are read beside the ledger
_keep_sessions: set[str] = set()  # URLs of poolers that this process found to keep one session for each client


class WarehouseError(UserError):
    """The warehouse cannot be used: it is unreachable, refuses the session, is too old, or is read-only."""


def url_of(server: SecretStr, database: str) -> str:
    """Return the server's URL with another database. It includes the password, so it must never be logged."""
    return make_conninfo(server.get_secret_value(), dbname=database)


def own_database(server: SecretStr) -> str:
    """Return the database that the server's URL names, for statements that concern the whole server."""
    return str(conninfo_to_dict(server.get_secret_value()).get("dbname") or "postgres")


@contextmanager
def connect(
    server: SecretStr,
    database: str,
    name: str,
    *,
    role: str | None = None,
    more: Mapping[str, str] = NOTHING,
    read_only: bool = False,
) -> Iterator[Connection[Any]]:
    """Open a session on `database` and close it at the end; `name` is shown in pg_stat_activity.

    If the login has `role`, the session acts as that role: it has only the role's rights, and its
    tables belong to the role. `more` are settings besides SESSION. A `read_only` session cannot write, and
    works on a standby too. Raises WarehouseError if the server cannot be used, or if it takes no writes and the session
    is not `read_only`.
    """
    with open_session(server, database, name, role=role, more=more, read_only=read_only) as connection:
        yield connection


def open_session(
    server: SecretStr,
    database: str,
    name: str,
    *,
    role: str | None = None,
    more: Mapping[str, str] = NOTHING,
    read_only: bool = False,
) -> Connection[Any]:
    """Open a session as `connect` does; the caller must close it."""
    try:
        url = url_of(server, database)
        connection: Connection[Any] = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=10,
            application_name=f"kpi {name}"[:63],
            cursor_factory=psycopg.ClientCursor,  # CREATE TABLE AS takes no server-side parameters
            # A server that has vanished is noticed within about a minute, however long a statement runs.
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
    except psycopg.Error as error:
        raise WarehouseError(explain_connection_error(server, database, error), transient=is_lost(error)) from None
    try:
        _configure(
            connection, server, url, {**SESSION, **more, **(READ_ONLY if read_only else NOTHING)}, read_only=read_only
        )
        if role and may_act_as(connection, role):
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    except psycopg.OperationalError as error:
        connection.close()
        raise WarehouseError(explain_connection_error(server, database, error), transient=is_lost(error)) from None
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def one_snapshot(connection: Connection[Any], reads: Collection[Relation]) -> Iterator[None]:
    """A read-only transaction in which every query sees the state of the database at the time of the first one.

    `reads` are the relations whose rows are read beside the ledger: they are locked before the snapshot is taken, so
    that their rows are those of the publishes that the ledger names. They are LEDGER_ALONE where no rows are.

    A publish waits for its end, as for that of other programs: within it the session has a name that is not ours.
    Raises BeingReplacedError.
    """
    name = connection.info.parameter_status("application_name") or ""
    named = sql.SQL("set local application_name = {}").format(sql.Literal(snapshots.as_others(name)))

    @contextmanager
    def begin() -> Iterator[None]:
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute(named)
            yield

    with reader_locks.locked(connection, reads, begin):
        yield


def _configure(
    connection: Connection[Any], server: SecretStr, url: str, values: Mapping[str, str], *, read_only: bool
) -> None:
    """Set the session's settings. Raises WarehouseError if the session cannot be used."""
    if connection.info.server_version < OLDEST_SERVER:
        raise WarehouseError(
            f"The warehouse server runs PostgreSQL {connection.info.server_version // 10000}, "
            f"which is too old: kpi_assets needs {OLDEST_SERVER // 10000} or later."
        )
    settings = sql.SQL(", ").join(
        sql.SQL("set_config({}, {}, false)").format(sql.Literal(key), sql.Literal(value))
        for key, value in values.items()
        if key != _LOGGED
    )
    facts = "select pg_backend_pid(), pg_is_in_recovery(), current_setting('transaction_read_only'), {}"
    row = connection.execute(sql.SQL(facts).format(settings)).fetchone()
    assert row is not None
    pid, standby, refuses_writes = row[:3]
    now = pid
    if _LOGGED in values:
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute("select set_config(%s, %s, false)", [_LOGGED, values[_LOGGED]])
    with suppress(psycopg.errors.InvalidParameterValue):  # not supported on every operating system
        interval = "select pg_backend_pid(), set_config('client_connection_check_interval', '5s', false)"
        now = connection.execute(interval).fetchall()[0][0]
    if now != pid or (pooler.is_pooled(connection, pid) and not _keeps_sessions(connection, pid, url)):
        raise WarehouseError(
            f"The warehouse server at {place_of(server)} is behind a pooler that gives each transaction another "
            f"session of database {connection.info.dbname!r}, without our locks and settings: set pool_mode = session "
            "for that database in the pooler, or name the server itself in KPI_POSTGRES_URL."
        )
    if (standby or refuses_writes == "on") and not read_only:
        raise WarehouseError(_explain_read_only(connection, server, standby=standby))


def _keeps_sessions(connection: Connection[Any], pid: int, url: str) -> bool:
    """Return whether a pooler keeps one session for each client; tested once in a process."""
    if url not in _keep_sessions and not pooler.shares_sessions(connection, pid, url, application_name="kpi probe"):
        _keep_sessions.add(url)
    return url in _keep_sessions


def _explain_read_only(connection: Connection[Any], server: SecretStr, *, standby: bool) -> str:
    """Explain why the server takes no writes, and how to change that."""
    database, place = connection.info.dbname, place_of(server)
    if standby:
        return (
            f"The warehouse server at {place} is a standby and takes no writes: name the primary in KPI_POSTGRES_URL."
        )
    query = "select source from pg_settings where name = 'default_transaction_read_only'"
    [(source,)] = connection.execute(query).fetchall()
    whose, remedy = _READ_ONLY_SOURCES.get(source, _READ_ONLY_SERVER)
    remedy = remedy.format(database=database, user=connection.info.user)
    return (
        f"The warehouse server at {place} takes no writes on database {database!r}, where "
        f"default_transaction_read_only is on {whose}, and nothing was written: {remedy} to allow writes."
    )


def may_act_as(connection: Connection[Any], role: str) -> bool:
    """Return whether the role exists and this session's user may act as it; a superuser may."""
    membership = "set" if connection.info.server_version >= 160000 else "member"  # 16 and later distinguish these
    found = connection.execute(
        "select 1 from pg_roles where rolname = %s and pg_has_role(oid, %s)", [role, membership]
    ).fetchone()
    return found is not None


def is_lost(error: psycopg.Error) -> bool:
    """Return whether the server was unreachable or the connection was lost, so that a retry may succeed."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    if error.sqlstate is not None:
        return error.sqlstate.startswith("08") or error.sqlstate in {"57P01", "57P02", "57P03"}
    # A server that refuses a session answers with FATAL. Only these refusals are temporary.
    said = str(error)
    return "FATAL" not in said or any(word in said for word in (*CHANGING_STATE, *NO_SESSION_LEFT))
