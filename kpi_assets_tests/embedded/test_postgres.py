"""The embedded PostgreSQL: how it is set up, and how it recovers from what machines and people do to it."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from kpi_assets.embedded import accounts, server
from kpi_assets.embedded.postgres import installation
from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.errors import UserError
from kpi_assets_tests.embedded.conftest import User, are_running, ask, command_lines, states
from kpi_assets_tests.machine import eventually


def postgres(home: Path) -> Stack:
    return Stack(home, s3=False)


def url(stack: Stack) -> str:
    return stack.environment()["KPI_POSTGRES_URL"]


def postmaster(home: Path) -> psutil.Process:
    pid = states(home)["postgres"].pid
    assert pid
    return psutil.Process(pid)


@contextmanager
def as_the_servers_account(cluster: Path, *command: object) -> Iterator[subprocess.Popen[Any]]:
    """Yield a process under the account that owns the cluster: the one of root's server, otherwise ours."""
    account = accounts.for_cluster(cluster)
    options = account.for_popen() if account else {}
    process = subprocess.Popen([*map(str, command)], cwd="/", stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def test_the_server_runs_with_the_chosen_settings(home: Path):
    with postgres(home) as stack:
        shown = dict(ask(url(stack), "select name, current_setting(name) from pg_settings"))
        assert ask(url(stack), "select name from pg_file_settings where error is not null") == []
        assert are_running(home) == {"postgres": True, "s3": False}
    expected = {
        "listen_addresses": "127.0.0.1",
        "port": str(states(home)["postgres"].port),
        "unix_socket_directories": "",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "wal_recycle": "off",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "off",
        "jit": "off",
        "max_connections": "100",
        "checkpoint_timeout": "30min",
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "password_encryption": "scram-sha-256",
        "log_min_error_statement": "panic",
        "server_encoding": "UTF8",
        "default_text_search_config": "pg_catalog.english",  # a setting of the cluster's own file, which is included
    }
    assert {name: shown[name] for name in expected} == expected
    assert shown["server_version"].startswith("18")


def test_the_order_of_text_does_not_depend_on_the_machine(home: Path):
    with postgres(home) as stack:
        databases = "select datname, datlocprovider::text, datlocale from pg_database where datname = 'postgres'"
        assert ask(url(stack), databases) == [("postgres", "b", "C.UTF-8")]
        assert ask(url(stack), "select string_agg(w, '' order by w) from unnest(array['b','a','B','ä','z']) w") == [
            ("Babzä",)
        ]
        assert ask(url(stack), "select upper('ä')") == [("Ä",)]


def test_settings_made_with_alter_system_remain(fresh: Path):
    with postgres(fresh) as stack, psycopg.connect(url(stack), autocommit=True) as connection:
        connection.execute("alter system set max_connections = 20")
    with postgres(fresh) as stack:
        assert ask(url(stack), "show max_connections") == [("20",)]


def test_a_login_without_the_password_is_refused(home: Path):
    with postgres(home) as stack:
        right = url(stack)
        password = stack.credentials.postgres_password.get_secret_value()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(right.replace(password, "0" * len(password)))
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(right.replace(f":{password}", ""), passfile="/dev/null")
        methods = ask(right, "select distinct type, auth_method from pg_hba_file_rules order by 1")
        assert methods == [("host", "scram-sha-256"), ("local", "scram-sha-256")]
        assert ask(right, "select rolname from pg_roles where rolcanlogin") == [("kpi",)]


def test_no_statement_is_written_to_the_log(home: Path):
    with postgres(home) as stack:
        with pytest.raises(psycopg.errors.UndefinedObject):
            ask(url(stack), "alter role nobody_of_that_name password 'canary-4711'")
        log = (home / "logs" / "postgres.log").read_text()
        assert 'ERROR:  role "nobody_of_that_name" does not exist' in log
        assert "canary-4711" not in log


def test_a_killed_postmaster_loses_nothing_that_was_committed(home: Path, caplog: pytest.LogCaptureFixture):
    with postgres(home) as stack:
        before = postmaster(home)
        ask(url(stack), "create table fact (n int)")
        ask(url(stack), "insert into fact select generate_series(1, 5000)")
        busy = psycopg.connect(url(stack), autocommit=True)
        stray = busy.info.backend_pid
        thread = threading.Thread(target=lambda: _ends(busy, "do $$ begin loop end loop; end $$"), daemon=True)
        thread.start()
        with psycopg.connect(url(stack)) as connection:
            connection.execute("insert into fact select generate_series(1, 777)")
            eventually(
                lambda: ask(url(stack), "select state from pg_stat_activity where pid = %s", stray) == [("active",)]
            )
            before.kill()
            eventually(lambda: not are_running(home)["postgres"])
            connection.close()  # uncommitted
        assert psutil.pid_exists(stray)  # it does not react during its loop
        with postgres(home) as again:
            assert ask(url(again), "select count(*), sum(n) from fact") == [(5000, 12502500)]
            assert postmaster(home) != before
            assert url(again) == url(stack)
        thread.join()
        busy.close()
    assert f"left process {stray} behind" in caplog.text
    assert are_running(home)["postgres"] is False


def _ends(connection: psycopg.Connection[Any], statement: str) -> None:
    with suppress(psycopg.OperationalError):
        connection.execute(statement)


def test_committed_rows_survive_a_kill_of_all_processes(home: Path):
    with postgres(home) as stack:
        ask(url(stack), "create table survivor as select 1 as n")
        for process in [postmaster(home), *postmaster(home).children()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        eventually(lambda: not are_running(home)["postgres"])
        with postgres(home) as again:
            assert ask(url(again), "select n from survivor") == [(1,)]


def test_pid_files_whose_numbers_belong_to_other_programs_are_ignored(home: Path):
    with postgres(home) as stack:
        first = url(stack)
    with as_the_servers_account(home / "postgres", "sleep", "600") as other:
        (home / "postgres" / "postmaster.pid").write_text(f"{other.pid}\n{home / 'postgres'}\n1700000000\n1\n\n\n")
        record = home / "run" / "postgres.json"
        record.write_text(record.read_text().replace("}", f', "pid": {other.pid}}}'))
        assert are_running(home)["postgres"] is False
        assert stop(home) == []
        with postgres(home) as stack:
            assert url(stack) == first
            assert postmaster(home).pid != other.pid
        assert other.poll() is None


def test_a_server_started_by_hand_is_left_alone(home: Path):
    with postgres(home):
        pass
    program = installation() / "bin" / "postgres"
    options = ("-c", f"port={states(home)['postgres'].port}", "-c", "unix_socket_directories=")
    with as_the_servers_account(home / "postgres", program, "-D", home / "postgres", *options) as by_hand:
        pid_file = home / "postgres" / "postmaster.pid"
        eventually(lambda: pid_file.exists() and "ready" in pid_file.read_text())
        with pytest.raises(UserError) as error, postgres(home):
            pass
        assert str(error.value) == (
            f"A PostgreSQL that kpi did not start (process {by_hand.pid}) runs on {home / 'postgres'}: "
            "stop it, then try again."
        )
        assert by_hand.poll() is None
        assert pid_file.exists()


def test_a_server_in_another_container_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "GRACE", 0.1)
    with postgres(home):
        # As seen from another container: the lock is held, and no process with that number exists.
        (home / "run" / "postgres.json").write_text("{}")
        monkeypatch.setattr(psutil, "process_iter", lambda: iter(()))
        with pytest.raises(UserError, match="held by a process that is not visible from here, perhaps in another"):
            postgres(home).__enter__()
        monkeypatch.undo()


@pytest.mark.nightly
def test_a_port_that_was_taken_meanwhile_is_replaced(home: Path):
    with Stack(home) as stack:
        before = {name: state.port for name, state in states(home).items()}
        ask(url(stack), "create table moved as select 1 as n")
    with (
        socket.create_server(("127.0.0.1", before["postgres"] or 0)),
        socket.create_server(("127.0.0.1", before["s3"] or 0)),
        Stack(home) as stack,
    ):
        after = {name: state.port for name, state in states(home).items()}
        assert ask(url(stack), "select n from moved") == [(1,)]
        assert len({*before.values(), *after.values()}) == 4
    with Stack(home):
        assert {name: state.port for name, state in states(home).items()} == after


def test_a_killed_initdb_is_repeated(fresh: Path, user: Callable[..., User]):
    killed = user(fresh)
    eventually(lambda: any((folder / "cluster" / "base").exists() for folder in fresh.glob("initdb-*")))
    killed.kill()
    assert not (fresh / "postgres").exists()
    with postgres(fresh) as stack:
        assert ask(url(stack), "select 1") == [(1,)]
    eventually(lambda: not any("initdb" in word for line in command_lines() for word in line if str(fresh) in word))
    with postgres(fresh):
        pass
    for leftover in fresh.glob("initdb-*"):  # after the removal the orphan wrote only empty folders
        assert [path for path in leftover.rglob("*") if path.is_file()] == []


def test_a_damaged_cluster_is_one_sentence(fresh: Path):
    with postgres(fresh):
        pass
    (fresh / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(UserError) as error, postgres(fresh):
        pass
    begin, end = str(error.value).split(" says: ")
    assert begin == f"The embedded PostgreSQL did not start; its log {fresh / 'logs' / 'postgres.log'}"
    assert end.startswith(f'but could not open file "{fresh}/postgres/global/pg_control"')


def test_lost_or_changed_credentials_are_one_sentence(home: Path):
    credentials = home / "credentials.json"
    original = credentials.read_text()
    credentials.unlink()
    with pytest.raises(
        UserError, match=r"credentials.json is missing, and the database in .* needs the password in it"
    ):
        postgres(home).__enter__()
    credentials.write_text("{}")
    with pytest.raises(
        UserError, match=r"credentials.json is damaged: restore the original, or remove .* to start over\."
    ):
        postgres(home).__enter__()
    credentials.write_text(original.replace('"postgres_password": "', '"postgres_password": "0'))
    with pytest.raises(
        UserError, match=r"The embedded PostgreSQL refuses the keys in .*credentials.json: restore the original"
    ):
        postgres(home).__enter__()
    assert are_running(home)["postgres"] is False
    credentials.write_text(original)
    with postgres(home) as stack:
        assert ask(url(stack), "select 1") == [(1,)]


def test_programs_that_only_root_may_run_are_one_sentence(tmp_path: Path):
    sample, program, tree = tmp_path / "tree" / "share" / "sample", tmp_path / "tree" / "program", tmp_path / "tree"
    sample.parent.mkdir(parents=True)
    sample.write_text("")
    program.write_text("")
    for path, mode in ((sample, 0o600), (program, 0o700), (sample.parent, 0o700), (tree, 0o700)):
        path.chmod(mode)
    other = accounts.Account("other", os.getuid() + 1, os.getgid() + 1)
    accounts.grant_read(other, sample, [tree])
    assert [oct(path.stat().st_mode & 0o777) for path in (sample, program, sample.parent, tree)] == [
        "0o604",
        "0o705",
        "0o705",
        "0o705",
    ]
    assert accounts.Account("owner", os.getuid(), os.getgid()).missing_bits(sample, 4) == 0
    assert accounts.Account("fellow", os.getuid() + 1, os.getgid()).missing_bits(sample, 4) == 0o040
