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
    "default_transaction_read_only": "off",
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
# What a server says that takes no further session: of anybody, or of this role or database.
NO_SESSION_LEFT = ("too many clients", "too many connections", "remaining connection slots")


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
    server: SecretStr, database: str, name: str, *, role: str | None = None, more: Mapping[str, str] = NOTHING
) -> Iterator[Connection[Any]]:
    """A session on `database`, closed at the end; `name` is what pg_stat_activity calls it.

    With a `role`, what it makes belongs to that role, and it may do no more than the role: where the login has it.
    `more` are settings beside SESSION. Raises WarehouseError when the server cannot be used.
    """
    with open_session(server, database, name, role=role, more=more) as connection:
        yield connection


def open_session(
    server: SecretStr, database: str, name: str, *, role: str | None = None, more: Mapping[str, str] = NOTHING
) -> Connection[Any]:
    """The same, for a caller that closes it itself."""
    try:
        connection: Connection[Any] = psycopg.connect(
            url_of(server, database),
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
        raise WarehouseError(_why_not(server, database, error), passing=is_lost(error)) from None
    try:
        if connection.info.server_version < OLDEST_SERVER:
            raise WarehouseError(
                f"The warehouse server runs PostgreSQL {connection.info.server_version // 10000}, "
                f"which is too old: kpi_assets needs {OLDEST_SERVER // 10000} or later."
            )
        settings = sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, false)").format(sql.Literal(key), sql.Literal(value))
            for key, value in {**SESSION, **more}.items()
        )
        connection.execute(sql.SQL("select {}").format(settings))
        with suppress(psycopg.errors.InvalidParameterValue):  # servers on some systems cannot look
            connection.execute("set client_connection_check_interval = '5s'")  # while a statement runs
        if role and may_act_as(connection, role):
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    except BaseException:
        connection.close()
        raise
    return connection


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
    return "FATAL" not in said or any(word in said for word in ("starting up", "shutting down", *NO_SESSION_LEFT))


def _why_not(server: SecretStr, database: str, error: psycopg.Error) -> str:
    """libpq's reason as a sentence; the URL's password is never part of it."""
    try:
        parts = conninfo_to_dict(server.get_secret_value())
    except psycopg.Error:
        return "KPI_POSTGRES_URL is not a Postgres URL: write postgresql://user:password@host:port/database."
    place = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
    reason = " ".join(str(error).split()).split("FATAL:")[-1].strip()
    password = str(parts.get("password") or "")
    reason = reason.replace(password, "***") if password else reason
    if any(words in reason for words in NO_SESSION_LEFT):
        return (
            f"The warehouse server at {place} takes no further session of user {parts.get('user')!r} on database "
            f"{database!r} ({reason}): end sessions that nobody needs (pg_stat_activity lists them), or raise "
            "max_connections, or the limit of that role or database."
        )
    return (
        f"The warehouse server at {place} cannot be used as user {parts.get('user')!r} on database {database!r} "
        f"({reason}): start it, or correct KPI_POSTGRES_URL."
    )
