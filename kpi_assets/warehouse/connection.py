"""Connections: one short one for each build, configured the same on every server.

Belongs here: reaching a server and saying in one sentence why not. Not here: what is executed.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.warehouse import pooler
from kpi_assets.warehouse.refusal import CHANGING_STATE, NO_SESSION_LEFT, place_of, why_not

# Of an error that follows another it prints more than people should see, the server's host and values among it; the
# first one is raised, and says it all.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)
OLDEST_SERVER = 150000  # partitioned tables as we use them and COPY ... HEADER MATCH
# Set in every session, so that a server or role with other defaults gives the same tables at the same speed.
SESSION = {
    "search_path": "pg_catalog",  # every table is written with its schema
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",  # a publish must see what was published while it waited
    "statement_timeout": "6h",  # as long as a run may take
    "client_min_messages": "warning",
    "jit": "off",  # compiling costs more than it saves on these statements
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
    "hash_mem_multiplier": "2",
    "max_parallel_workers_per_gather": "2",
    "max_parallel_maintenance_workers": "2",
    "idle_in_transaction_session_timeout": "1h",
    # A client that vanished, with its machine or alone, is noticed within about a minute, and lets go of its locks.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Set as well where tables are built. Whole load_dates are joined: by hash, each table is read once. A nested loop that
# was chosen because a partitioned table has no statistics of its own reads it a million times, a merge join sorts it.
# Where nothing else can, they still do.
BULK = {"enable_nestloop": "off", "enable_mergejoin": "off"}
NOTHING: Mapping[str, str] = {}
LOOK = {"default_transaction_read_only": "on"}  # of who only reads, so that nothing is written by mistake
# By where default_transaction_read_only was set: whose it is, and what takes it away. It is never overridden.
_BRAKES = {
    "database": ("for the database", "`alter database {database} reset default_transaction_read_only`"),
    "user": ("for the user", "`alter role {user} reset default_transaction_read_only`"),
    "database user": (
        "for the user in this database",
        "`alter role {user} in database {database} reset default_transaction_read_only`",
    ),
    "client": ("by KPI_POSTGRES_URL or PGOPTIONS", "take it out of there"),
}
_BRAKE_OF_SERVER = ("for the whole server", "set it off in the server's settings")
_keep_sessions: set[str] = set()  # URLs of this process behind which a pooler was found to keep a client's session


class WarehouseError(UserError):
    """The warehouse cannot be used: unreachable, refused, too old or read-only."""


def url_of(server: SecretStr, database: str) -> str:
    """The server's URL with another database: with the password in it, so for people and clients, never for a log."""
    return make_conninfo(server.get_secret_value(), dbname=database)


def own_database(server: SecretStr) -> str:
    """The database that the server's URL itself names: where what concerns the whole server is said."""
    return str(conninfo_to_dict(server.get_secret_value()).get("dbname") or "postgres")


@contextmanager
def connect(
    server: SecretStr,
    database: str,
    name: str,
    *,
    role: str | None = None,
    more: Mapping[str, str] = NOTHING,
    reads: bool = False,
) -> Iterator[Connection[Any]]:
    """A session on `database`, closed at the end; `name` is what pg_stat_activity calls it.

    With a `role`, what it makes belongs to that role, and it may do no more than the role: where the login has it.
    `more` are settings beside SESSION. A session that `reads` can write nothing, and is there on a standby too.
    Raises WarehouseError when the server cannot be used, and where it takes no writes and the session does not `reads`.
    """
    with open_session(server, database, name, role=role, more=more, reads=reads) as connection:
        yield connection


def open_session(
    server: SecretStr,
    database: str,
    name: str,
    *,
    role: str | None = None,
    more: Mapping[str, str] = NOTHING,
    reads: bool = False,
) -> Connection[Any]:
    """The same, for a caller that closes it itself."""
    try:
        url = url_of(server, database)
        connection: Connection[Any] = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=10,
            application_name=f"kpi {name}"[:63],
            cursor_factory=psycopg.ClientCursor,  # CREATE TABLE AS takes no parameters on the server's side
            # A peer that vanished is noticed within about a minute, however long a statement runs.
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
    except psycopg.Error as error:
        raise WarehouseError(why_not(server, database, error), transient=is_lost(error)) from None
    try:
        _settle(connection, server, url, {**SESSION, **more, **(LOOK if reads else NOTHING)}, reads=reads)
        if role and may_act_as(connection, role):
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    except psycopg.OperationalError as error:
        connection.close()
        raise WarehouseError(why_not(server, database, error), transient=is_lost(error)) from None
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def one_snapshot(connection: Connection[Any]) -> Iterator[None]:
    """A read-only transaction in which every query sees the state of the database at the time of the first one."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        yield


def _settle(
    connection: Connection[Any], server: SecretStr, url: str, values: Mapping[str, str], *, reads: bool
) -> None:
    """Give the session its settings. Raises WarehouseError where it is of no use."""
    if connection.info.server_version < OLDEST_SERVER:
        raise WarehouseError(
            f"The warehouse server runs PostgreSQL {connection.info.server_version // 10000}, "
            f"which is too old: kpi_assets needs {OLDEST_SERVER // 10000} or later."
        )
    settings = sql.SQL(", ").join(
        sql.SQL("set_config({}, {}, false)").format(sql.Literal(key), sql.Literal(value))
        for key, value in values.items()
    )
    facts = "select pg_backend_pid(), pg_is_in_recovery(), current_setting('transaction_read_only'), {}"
    row = connection.execute(sql.SQL(facts).format(settings)).fetchone()
    assert row is not None
    pid, standby, read_only = row[:3]
    now = pid
    with suppress(psycopg.errors.InvalidParameterValue):  # servers on some systems cannot look while a statement runs
        interval = "select pg_backend_pid(), set_config('client_connection_check_interval', '5s', false)"
        now = connection.execute(interval).fetchall()[0][0]
    if now != pid or (pooler.is_pooled(connection, pid) and not _keeps_sessions(connection, pid, url)):
        raise WarehouseError(
            f"The warehouse server at {place_of(server)} is behind a pooler that gives each transaction another "
            f"session of database {connection.info.dbname!r}, without our locks and settings: set pool_mode = session "
            "for that database in the pooler, or name the server itself in KPI_POSTGRES_URL."
        )
    if (standby or read_only == "on") and not reads:
        raise WarehouseError(_takes_no_writes(connection, server, standby=standby))


def _keeps_sessions(connection: Connection[Any], pid: int, url: str) -> bool:
    """Whether a pooler keeps a session for each client; asked once in a process."""
    if url not in _keep_sessions and not pooler.shares_sessions(connection, pid, url, application_name="kpi probe"):
        _keep_sessions.add(url)
    return url in _keep_sessions


def _takes_no_writes(connection: Connection[Any], server: SecretStr, *, standby: bool) -> str:
    """Why nothing can be written there, and whose decision that is."""
    database, place = connection.info.dbname, place_of(server)
    if standby:
        return (
            f"The warehouse server at {place} is a standby and takes no writes: name the primary in KPI_POSTGRES_URL."
        )
    query = "select source from pg_settings where name = 'default_transaction_read_only'"
    [(source,)] = connection.execute(query).fetchall()
    whose, cure = _BRAKES.get(source, _BRAKE_OF_SERVER)
    cure = cure.format(database=database, user=connection.info.user)
    return (
        f"The warehouse server at {place} takes no writes on database {database!r}, where "
        f"default_transaction_read_only is on {whose}, and nothing was written: {cure} when work may go on."
    )


def may_act_as(connection: Connection[Any], role: str) -> bool:
    """Whether the role exists and this session's user may take it; an owner of everything may."""
    membership = "set" if connection.info.server_version >= 160000 else "member"  # 16 tells the two apart
    found = connection.execute(
        "select 1 from pg_roles where rolname = %s and pg_has_role(oid, %s)", [role, membership]
    ).fetchone()
    return found is not None


def is_lost(error: psycopg.Error) -> bool:
    """Whether the server could not be reached or went away, so that the same may work in a moment."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    if error.sqlstate is not None:
        return error.sqlstate.startswith("08") or error.sqlstate in {"57P01", "57P02", "57P03"}
    # A server that answers, and refuses, says FATAL; only these refusals end by themselves.
    said = str(error)
    return "FATAL" not in said or any(word in said for word in (*CHANGING_STATE, *NO_SESSION_LEFT))
