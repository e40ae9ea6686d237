"""Explains why a server refuses a session or a statement, and what to do about it.

Belongs here: the mapping from errors of PostgreSQL and libpq to remedies. Not here: connecting (connection.py).
"""

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

# Messages of a server that accepts no more sessions: at all, or for this role or database.
NO_SESSION_LEFT = ("too many clients", "too many connections", "remaining connection slots")
CHANGING_STATE = ("starting up", "shutting down", "not yet accepting connections", "recovery state")
# (fragments of libpq's message, remedy); the first entry that matches counts.
_REMEDIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        NO_SESSION_LEFT,
        "end sessions that nobody needs (pg_stat_activity lists them), or raise max_connections, or the limit of that "
        "role or database",
    ),
    (("shutting down",), "wait until it is back, or start it again"),
    (CHANGING_STATE, "wait until it has started, and try again"),
    (
        ("password authentication failed", "no password supplied", "authentication failed"),
        "correct user and password in KPI_POSTGRES_URL",
    ),
    (("is not permitted to log in",), "name a role that may log in in KPI_POSTGRES_URL, or `alter role ... login`"),
    (
        ("no encryption", "requires SSL", "SSL required", "SSL connection is required"),
        "it wants TLS: add sslmode=require to KPI_POSTGRES_URL",
    ),
    (("does not support SSL",), "it has no TLS: turn that on there, or take sslmode out of KPI_POSTGRES_URL"),
    (
        ("certificate",),
        "name the file of the authority that signed its certificate as sslrootcert in KPI_POSTGRES_URL",
    ),
    (("pg_hba.conf",), "have an administrator let this user in from here, in the server's pg_hba.conf"),
    (("permission denied for database",), "have an administrator grant this user connect on it"),
    (("does not exist",), "correct the name in KPI_POSTGRES_URL, or have an administrator create it"),
    (
        ("Servname not supported", "invalid integer value", "invalid port", "invalid sslmode"),
        "correct KPI_POSTGRES_URL",
    ),
    (
        ("translate host name", "resolve host", "Name or service not known", "nodename nor servname"),
        "correct the host in KPI_POSTGRES_URL, or the DNS of this machine",
    ),
    (
        ("timeout expired", "timed out", "No route to host", "Network is unreachable"),
        "look at the network and the firewalls between, or correct the host in KPI_POSTGRES_URL",
    ),
    (("Connection refused", "No such file or directory"), "start it, or correct host and port in KPI_POSTGRES_URL"),
    (("No space left on device",), "make room on its disk"),
)
_DEFAULT_REMEDY = "look at its log, and at KPI_POSTGRES_URL"
# SQLSTATE of a failed statement -> remedy.
_REMEDIES_BY_STATE = {
    "53100": "make room on the server's disk",
    "53200": "give the server more memory, or end what uses it",
    "25006": "name a server that takes writes in KPI_POSTGRES_URL, or take default_transaction_read_only away",
    "57014": "something ended the statement: try again, or raise statement_timeout",
    "55P03": "end the session that holds the lock (pg_stat_activity lists them), and try again",
}


def place_of(server: SecretStr) -> str:
    """Return the server of a URL as host:port. Raises psycopg.Error if it is not a Postgres URL."""
    parts = conninfo_to_dict(server.get_secret_value())
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def explain_connection_error(server: SecretStr, database: str, error: psycopg.Error) -> str:
    """Explain why a session could not be opened and what to do, in one sentence without the URL's password."""
    try:
        parts = conninfo_to_dict(server.get_secret_value())
        place = place_of(server)
    except psycopg.Error:
        return "KPI_POSTGRES_URL is not a Postgres URL: write postgresql://user:password@host:port/database."
    reason = " ".join(str(error).split()).split("FATAL:")[-1].strip()
    password = str(parts.get("password") or "")
    reason = reason.replace(password, "***") if password else reason
    does = "accepts no more sessions" if any(word in reason for word in NO_SESSION_LEFT) else "cannot be used"
    by = "of" if does.startswith("accepts") else "as"
    remedy = next((remedy for words, remedy in _REMEDIES if any(word in reason for word in words)), _DEFAULT_REMEDY)
    return (
        f"The warehouse server at {place} {does} {by} user {parts.get('user')!r} on database {database!r} "
        f"({reason}): {remedy}."
    )


def find_remedy(error: psycopg.Error) -> str | None:
    """Return what to do about the error of a statement; None if its SQLSTATE does not tell."""
    return _REMEDIES_BY_STATE.get(error.sqlstate or "")
