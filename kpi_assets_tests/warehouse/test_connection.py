"""A server that cannot be used is one sentence without the password; a session is the same on every server."""

import socket
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from kpi_assets.local.stack import Stack
from kpi_assets.settings import settings
from kpi_assets.warehouse import connection as connection_module
from kpi_assets.warehouse.connection import SESSION, WarehouseError, connect, url_of

SECRET = "hunter2-never-shown"


@pytest.fixture
def server(stack: Stack) -> SecretStr:
    found = settings().postgres_url
    assert found is not None
    return found


def changed(server: SecretStr, **parts: Any) -> SecretStr:
    return SecretStr(make_conninfo(server.get_secret_value(), **parts))


def refusal(server: SecretStr, database: str = "postgres") -> str:
    with pytest.raises(WarehouseError) as caught, connect(server, database, "test"):
        pass
    sentence = str(caught.value)
    assert "\n" not in sentence
    for secret in (SECRET, str(conninfo_to_dict(settings().postgres_url.get_secret_value())["password"])):  # type: ignore[union-attr]
        assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None
    return sentence


def test_a_wrong_password(server: SecretStr) -> None:
    parts = conninfo_to_dict(server.get_secret_value())
    assert refusal(changed(server, password=SECRET)) == (
        f"The warehouse server at 127.0.0.1:{parts['port']} cannot be used as user 'kpi' on database 'postgres' "
        '(password authentication failed for user "kpi"): start it, or correct KPI_POSTGRES_URL.'
    )


def test_an_unknown_user(server: SecretStr) -> None:
    assert "cannot be used as user 'nobody' on database 'postgres' (password authentication failed" in refusal(
        changed(server, user="nobody", password=SECRET)
    )


def test_a_role_that_may_have_no_further_session(server: SecretStr) -> None:
    with connect(server, "postgres", "test") as session:
        session.execute(f"drop role if exists busy; create role busy login connection limit 0 password '{SECRET}'")
    port = conninfo_to_dict(server.get_secret_value())["port"]
    busy = changed(server, user="busy", password=SECRET)
    assert refusal(busy) == (
        f"The warehouse server at 127.0.0.1:{port} takes no further session of user 'busy' on database 'postgres' "
        '(too many connections for role "busy"): end sessions that nobody needs (pg_stat_activity lists them), or '
        "raise max_connections, or the limit of that role or database."
    )
    with pytest.raises(WarehouseError) as caught, connect(busy, "postgres", "test"):
        pass
    assert caught.value.passing, "in a moment somebody may have ended one"


def test_an_unknown_database(server: SecretStr) -> None:
    sentence = refusal(server, "nowhere")
    assert (
        "on database 'nowhere' (database \"nowhere\" does not exist): start it, or correct KPI_POSTGRES_URL."
        in sentence
    )


def test_a_port_where_nobody_listens(server: SecretStr) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        sentence = refusal(changed(server, port=port, password=SECRET))
    assert sentence.startswith(f"The warehouse server at 127.0.0.1:{port} cannot be used as user 'kpi' on database")
    assert "Connection refused" in sentence


def test_a_host_that_has_no_address() -> None:
    sentence = refusal(SecretStr(f"postgresql://kpi:{SECRET}@no-such-host.invalid:5432/postgres"))
    assert sentence.startswith("The warehouse server at no-such-host.invalid:5432 cannot be used as user 'kpi'")


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://kpi:{SECRET}@localhost/kpi",
        f"kpi:{SECRET}@localhost",
        f"postgresql://kpi:{SECRET}%zz@localhost/kpi",
        f"host=localhost password='{SECRET}",
        SECRET,
    ],
)
def test_what_is_no_url(stack: Stack, url: str) -> None:
    assert refusal(SecretStr(url)) == (
        "KPI_POSTGRES_URL is not a Postgres URL: write postgresql://user:password@host:port/database."
    )


def test_a_port_that_is_no_number(stack: Stack) -> None:
    sentence = refusal(SecretStr(f"postgresql://kpi:{SECRET}@localhost:port/kpi"))
    assert sentence.startswith("The warehouse server at localhost:port cannot be used as user 'kpi' on database")
    assert sentence.endswith(": start it, or correct KPI_POSTGRES_URL.")


def test_a_server_that_is_too_old(server: SecretStr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "OLDEST_SERVER", 990000)
    assert refusal(server) == (
        "The warehouse server runs PostgreSQL 18, which is too old: kpi_assets needs 99 or later."
    )


def test_the_url_of_another_database(server: SecretStr) -> None:
    parts = conninfo_to_dict(server.get_secret_value())
    assert conninfo_to_dict(url_of(server, "shop")) == {**parts, "dbname": "shop"}


def test_a_session_has_our_settings_whatever_the_role_s_are(server: SecretStr) -> None:
    hostile = {
        "search_path": "public",
        "datestyle": "German",
        "timezone": "Asia/Tokyo",
        "jit": "on",
        "work_mem": "64kB",
    }
    options = " ".join(f"-c {name}={value}" for name, value in hostile.items())
    with connect(changed(server, options=options), "postgres", "run raw.things") as session:
        for name, value in SESSION.items():
            [(found,)] = session.execute("select current_setting(%s)", [name]).fetchall()
            assert found == value, name
        assert session.execute("select date '2025-02-03'::text, current_setting('application_name')").fetchall() == [
            ("2025-02-03", "kpi run raw.things")
        ]


def test_a_session_is_closed_at_the_end(server: SecretStr) -> None:
    with connect(server, "postgres", "test") as session:
        pass
    assert session.closed
    with pytest.raises(RuntimeError), connect(server, "postgres", "test") as session:
        raise RuntimeError
    assert session.closed
