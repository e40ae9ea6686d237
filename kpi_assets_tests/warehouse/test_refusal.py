"""Messages of the server and of libpq are reported with their cause and with the remedy for it."""

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets.warehouse.refusal import explain_connection_error, find_remedy

URL = SecretStr("postgresql://clerk:sesame@db.example:5433/postgres")
SESSIONS = (
    "end sessions that nobody needs (pg_stat_activity lists them), or raise max_connections, or the limit of that role "
    "or database"
)
CREDENTIALS = "correct user and password in KPI_POSTGRES_URL"
NETWORK = "look at the network and the firewalls between, or correct the host in KPI_POSTGRES_URL"
TLS = "it wants TLS: add sslmode=require to KPI_POSTGRES_URL"
WAIT = "wait until it has started, and try again"


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("FATAL:  sorry, too many clients already", SESSIONS),
        ('FATAL:  too many connections for database "shop"', SESSIONS),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", SESSIONS),
        ("FATAL:  the database system is starting up", WAIT),
        ("FATAL:  the database system is not yet accepting connections", WAIT),
        ("FATAL:  the database system is shutting down", "wait until it is back, or start it again"),
        ('FATAL:  password authentication failed for user "clerk"', CREDENTIALS),
        ("connection failed: fe_sendauth: no password supplied", CREDENTIALS),
        (
            'FATAL:  role "clerk" is not permitted to log in',
            "name a role that may log in in KPI_POSTGRES_URL, or `alter role ... login`",
        ),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "clerk", database "shop", no encryption', TLS),
        (
            'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "clerk", database "shop", SSL encryption',
            "have an administrator let this user in from here, in the server's pg_hba.conf",
        ),
        (
            "server does not support SSL, but SSL was required",
            "it has no TLS: turn that on there, or take sslmode out of KPI_POSTGRES_URL",
        ),
        (
            "SSL error: certificate verify failed",
            "name the file of the authority that signed its certificate as sslrootcert in KPI_POSTGRES_URL",
        ),
        (
            'FATAL:  database "shop" does not exist',
            "correct the name in KPI_POSTGRES_URL, or have an administrator create it",
        ),
        (
            'FATAL:  permission denied for database "shop"',
            "have an administrator grant this user connect on it",
        ),
        (
            "failed to resolve host 'db.example': [Errno -2] Name or service not known",
            "correct the host in KPI_POSTGRES_URL, or the DNS of this machine",
        ),
        ("connection timeout expired", NETWORK),
        ("connection to server failed: No route to host", NETWORK),
        ("connection to server failed: Connection refused", "start it, or correct host and port in KPI_POSTGRES_URL"),
        ("FATAL:  could not write init file: No space left on device", "make room on its disk"),
        ("something else", "look at its log, and at KPI_POSTGRES_URL"),
    ],
)
def test_a_refused_session_is_reported_with_its_remedy(said: str, cure: str) -> None:
    sentence = explain_connection_error(URL, "shop", psycopg.OperationalError(said))
    assert sentence.startswith("The warehouse server at db.example:5433 ")
    assert sentence.endswith(f" on database 'shop' ({said.removeprefix('FATAL:  ')}): {cure}.")


def test_a_server_without_tls_is_named(stack: Stack) -> None:
    url = settings().postgres_url
    assert url
    with pytest.raises(WarehouseError, match=r"SSL was required\): it has no TLS: turn that on there, or take sslmode"):
        connect(SecretStr(make_conninfo(url.get_secret_value(), sslmode="require")), "postgres", "test").__enter__()


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (errors.DiskFull("full"), "make room on the server's disk"),
        (errors.OutOfMemory("out"), "give the server more memory, or end what uses it"),
        (errors.QueryCanceled("late"), "something ended the statement: try again, or raise statement_timeout"),
        (errors.UndefinedTable("away"), None),
    ],
)
def test_a_failed_statement_has_the_remedy_of_its_cause(error: psycopg.Error, cure: str | None) -> None:
    assert find_remedy(error) == cure
