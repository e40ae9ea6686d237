"""A server that cannot be used is reported in one sentence without the password; sessions have the same settings."""

import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import settings
from kpi_assets.warehouse import connection as connection_module
from kpi_assets.warehouse.connection import SESSION, WarehouseError, connect, is_lost, own_database, url_of

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


def test_a_wrong_password_is_named(server: SecretStr) -> None:
    parts = conninfo_to_dict(server.get_secret_value())
    assert refusal(changed(server, password=SECRET)) == (
        f"The warehouse server at 127.0.0.1:{parts['port']} cannot be used as user 'kpi' on database 'postgres' "
        '(password authentication failed for user "kpi"): correct user and password in KPI_POSTGRES_URL.'
    )


def test_an_unknown_user_is_named(server: SecretStr) -> None:
    assert "cannot be used as user 'nobody' on database 'postgres' (password authentication failed" in refusal(
        changed(server, user="nobody", password=SECRET)
    )


def test_a_role_at_its_session_limit_is_a_transient_error(server: SecretStr) -> None:
    with connect(server, "postgres", "test") as session:
        session.execute(f"drop role if exists busy; create role busy login connection limit 0 password '{SECRET}'")
    port = conninfo_to_dict(server.get_secret_value())["port"]
    busy = changed(server, user="busy", password=SECRET)
    assert refusal(busy) == (
        f"The warehouse server at 127.0.0.1:{port} accepts no more sessions of user 'busy' on database 'postgres' "
        '(too many connections for role "busy"): end sessions that nobody needs (pg_stat_activity lists them), or '
        "raise max_connections, or the limit of that role or database."
    )
    with pytest.raises(WarehouseError) as caught, connect(busy, "postgres", "test"):
        pass
    assert caught.value.transient, "another session may end soon"


def test_an_unknown_database_is_named(server: SecretStr) -> None:
    sentence = refusal(server, "nowhere")
    assert (
        "on database 'nowhere' (database \"nowhere\" does not exist): correct the name in KPI_POSTGRES_URL, or have an "
        "administrator create it." in sentence
    )


def test_a_port_without_a_listener_is_named(server: SecretStr) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        sentence = refusal(changed(server, port=port, password=SECRET))
    assert sentence.startswith(f"The warehouse server at 127.0.0.1:{port} cannot be used as user 'kpi' on database")
    assert "Connection refused" in sentence
    assert sentence.endswith(": start it, or correct host and port in KPI_POSTGRES_URL.")


@pytest.mark.usefixtures("server")
def test_a_host_without_an_address_is_named() -> None:
    sentence = refusal(SecretStr(f"postgresql://kpi:{SECRET}@no-such-host.invalid:5432/postgres"))
    assert sentence.startswith("The warehouse server at no-such-host.invalid:5432 cannot be used as user 'kpi'")
    assert sentence.endswith(": correct the host in KPI_POSTGRES_URL, or the DNS of this machine.")


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
def test_an_invalid_url_is_refused_without_quoting_it(stack: Stack, url: str) -> None:
    assert refusal(SecretStr(url)) == (
        "KPI_POSTGRES_URL is not a Postgres URL: write postgresql://user:password@host:port/database."
    )


def test_a_port_that_is_not_a_number_is_refused(stack: Stack) -> None:
    sentence = refusal(SecretStr(f"postgresql://kpi:{SECRET}@localhost:port/kpi"))
    assert sentence.startswith("The warehouse server at localhost:port cannot be used as user 'kpi' on database")
    assert sentence.endswith(": correct KPI_POSTGRES_URL.")


def test_a_server_that_is_too_old_is_refused(server: SecretStr, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(server, "postgres", "test") as session:
        running = session.info.server_version // 10000
    monkeypatch.setattr(connection_module, "OLDEST_SERVER", 990000)
    assert refusal(server) == (
        f"The warehouse server runs PostgreSQL {running}, which is too old: kpi_assets needs 99 or later."
    )


def test_url_of_changes_only_the_database(server: SecretStr) -> None:
    parts = conninfo_to_dict(server.get_secret_value())
    assert conninfo_to_dict(url_of(server, "shop")) == {**parts, "dbname": "shop"}


# setting -> (a value that a role may have set, the value in sessions of kpi_assets)
SETTINGS = {
    "search_path": ("public", "pg_catalog"),
    "timezone": ("Asia/Tokyo", "UTC"),
    "datestyle": ("German, DMY", "ISO, YMD"),
    "client_encoding": ("LATIN1", "UTF8"),
    "standard_conforming_strings": ("off", "on"),
    "extra_float_digits": ("-3", "1"),
    "transform_null_equals": ("on", "off"),
    "default_transaction_isolation": ("serializable", "read committed"),
    "statement_timeout": ("1min", "6h"),
    "client_min_messages": ("error", "warning"),
    "jit": ("on", "off"),
    "work_mem": ("64kB", "256MB"),
    "maintenance_work_mem": ("1MB", "512MB"),
    "hash_mem_multiplier": ("1", "2"),
    "max_parallel_workers_per_gather": ("0", "2"),
    "max_parallel_maintenance_workers": ("0", "2"),
    "idle_in_transaction_session_timeout": ("1min", "1h"),
    "tcp_keepalives_idle": ("7200", "30"),
    "tcp_keepalives_interval": ("75", "10"),
    "tcp_keepalives_count": ("9", "3"),
    "client_connection_check_interval": ("0", "5s"),
}


@pytest.fixture
def hostile(server: SecretStr) -> Iterator[SecretStr]:
    """A login whose defaults all differ from the settings of kpi_assets."""
    with connect(server, "postgres", "test") as session:
        session.execute(f"create role hostile login superuser password '{SECRET}'")
        for name, (theirs, _) in SETTINGS.items():
            session.execute(f"alter role hostile set {name} = {theirs if name == 'search_path' else repr(theirs)}")
        yield changed(server, user="hostile", password=SECRET)
        session.execute("drop role hostile")


def test_a_session_overrides_the_settings_of_its_role(hostile: SecretStr) -> None:
    with connect(hostile, "postgres", "run raw.things") as session:
        found = {name: session.execute("select current_setting(%s)", [name]).fetchone() for name in SETTINGS}
        assert found == {name: (ours,) for name, (_, ours) in SETTINGS.items()}
        assert session.execute("select date '2025-02-03'::text, current_setting('application_name')").fetchall() == [
            ("2025-02-03", "kpi run raw.things")
        ]
    assert SETTINGS.keys() == SESSION.keys() | {"client_connection_check_interval"}, "add each new setting to SETTINGS"


def test_keepalives_detect_a_lost_server_within_about_a_minute(server: SecretStr) -> None:
    with connect(server, "postgres", "test") as session:
        found = session.info.get_parameters()
    names = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count")
    assert [found[name] for name in names] == ["10", "30", "10", "3"]


def test_additional_settings_override_those_of_every_session(hostile: SecretStr) -> None:
    with connect(hostile, "postgres", "test", more={"work_mem": "1MB", "enable_nestloop": "off"}) as session:
        names = ("work_mem", "enable_nestloop", "maintenance_work_mem")
        found = session.execute("select current_setting(%s), current_setting(%s), current_setting(%s)", names)
        assert found.fetchall() == [("1MB", "off", "512MB")]


def test_a_name_without_a_schema_finds_no_table_or_function_of_users(server: SecretStr) -> None:
    with connect(server, "postgres", "test") as session, session.transaction(force_rollback=True):
        session.execute("create table public.things as select 1 as id")
        session.execute("create function public.median(integer) returns integer language sql return 0")
        with pytest.raises(psycopg.errors.UndefinedTable), session.transaction():
            session.execute("select * from things")
        with pytest.raises(psycopg.errors.UndefinedFunction), session.transaction():
            session.execute("select median(1)")
        assert session.execute("select id from public.things").fetchall() == [(1,)]


def test_a_long_session_name_is_cut_before_the_server_would_warn(server: SecretStr) -> None:
    with connect(server, "postgres", "x" * 100) as session:
        assert session.execute("select current_setting('application_name')").fetchall() == [("kpi " + "x" * 59,)]


@pytest.fixture
def roles(server: SecretStr) -> Iterator[SecretStr]:
    """A login `clerk` that may act as the role `deputy` but not as `owner`."""
    with connect(server, "postgres", "test") as session:
        session.execute(f"create role clerk login password '{SECRET}'; create role deputy; create role owner")
        session.execute("grant deputy to clerk; grant connect on database postgres to clerk")
        yield changed(server, user="clerk", password=SECRET)
        session.execute("drop owned by clerk; drop role clerk, deputy, owner")


@pytest.mark.parametrize(
    ("role", "acts_as"), [(None, "clerk"), ("deputy", "deputy"), ("owner", "clerk"), ("nobody_at_all", "clerk")]
)
def test_a_session_acts_as_a_role_only_if_its_login_may(roles: SecretStr, role: str | None, acts_as: str) -> None:
    with connect(roles, "postgres", "test", role=role) as session:
        assert session.execute("select current_user::text, session_user::text").fetchall() == [(acts_as, "clerk")]


@pytest.mark.parametrize(("database", "own"), [("shop", "shop"), (None, "postgres")], ids=["named", "none"])
def test_own_database_is_the_database_of_the_url_or_postgres(database: str | None, own: str) -> None:
    assert own_database(SecretStr(make_conninfo("host=localhost", dbname=database))) == own


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.OperationalError("FATAL:  the database system is starting up"), True),
        (psycopg.OperationalError("FATAL:  the database system is shutting down"), True),
        (psycopg.OperationalError("FATAL:  sorry, too many clients already"), True),
        (psycopg.OperationalError("FATAL:  password authentication failed"), False),
        (psycopg.errors.ConnectionFailure("08006"), True),
        (psycopg.errors.AdminShutdown("57P01"), True),
        (psycopg.errors.CrashShutdown("57P02"), True),
        (psycopg.errors.CannotConnectNow("57P03"), True),
        (psycopg.errors.QueryCanceled("57014"), False),
        (psycopg.errors.DiskFull("53100"), False),
        (psycopg.errors.UniqueViolation("23505"), False),
        (psycopg.InterfaceError("the connection is closed"), False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_is_lost_separates_transient_from_permanent_errors(error: psycopg.Error, lost: bool) -> None:
    assert is_lost(error) is lost


def test_a_server_that_is_away_is_transient_and_one_that_refuses_is_not(server: SecretStr) -> None:
    """The error has the attribute `transient`, by which a step is retried."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        away = changed(server, port=reserved.getsockname()[1])
        for url, transient in ((away, True), (changed(server, password=SECRET), False)):
            with pytest.raises(WarehouseError) as failure, connect(url, "postgres", "test"):
                pass
            assert failure.value.transient is transient


def test_a_session_is_closed_at_the_end_of_its_block(server: SecretStr) -> None:
    with connect(server, "postgres", "test") as session:
        pass
    assert session.closed
    with pytest.raises(RuntimeError), connect(server, "postgres", "test") as session:
        raise RuntimeError
    assert session.closed
