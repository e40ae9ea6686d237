"""Access to the web UI, the environment of the services, and the self-test."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kpi_assets.errors import UserError
from kpi_assets.instance import access, folder, probe
from kpi_assets.settings import Settings
from kpi_assets_tests.cli.command import plain_environment
from kpi_assets_tests.machine import PATIENCE, free_port

GIVEN = "given-by-a-person_0123456789"


def token_file(home: Path) -> Path:
    return home / "run" / "ui_token"


def test_a_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    config = Settings(home=tmp_path)
    token = access.make_token(config)
    assert token
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    assert (access.make_token(config), access.token_of(config)) == (token, token)
    assert token_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert access.make_token(Settings(home=tmp_path / "other")) != token
    assert access.link("http://127.0.0.1:3000", token) == f"http://127.0.0.1:3000/?token={token}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_token_that_others_could_read_is_made_anew(tmp_path: Path, mode: int) -> None:
    config = Settings(home=tmp_path)
    token = access.make_token(config)
    token_file(tmp_path).chmod(mode)
    assert access.make_token(config) not in {token, None}
    assert token_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_token_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    config = Settings(home=tmp_path)
    access.make_token(config)
    token_file(tmp_path).write_text("")
    assert len(access.make_token(config) or "") == 32


@pytest.mark.parametrize(("given", "token"), [(GIVEN, GIVEN), ("", None)])
def test_the_setting_overrides_the_file_and_an_empty_one_switches_the_token_off(
    tmp_path: Path, given: str, token: str | None
) -> None:
    config = Settings(home=tmp_path, ui_token=given)  # type: ignore[arg-type]
    assert (access.make_token(config), access.token_of(config)) == (token, token)
    assert not token_file(tmp_path).exists()
    assert access.link("http://x", None) == "http://x"


@pytest.mark.process
def test_without_a_token_the_web_ui_does_not_start(tmp_path: Path) -> None:
    """A web UI that `kpi up` did not start has no token by default: it refuses to start instead of being open."""
    sentence = (
        f"error: The web UI has no token (No such file or directory: {tmp_path}/run/ui_token): set KPI_UI_TOKEN to a "
        "long random text, or to nothing where a proxy before it asks who comes.\n"
    )
    assert web(tmp_path, "-p", str(free_port())) == (1, sentence)


@pytest.mark.nightly
@pytest.mark.process
def test_a_web_ui_without_a_port_or_below_a_path_does_not_start(tmp_path: Path) -> None:
    set_ = {"KPI_UI_TOKEN": GIVEN}
    assert web(tmp_path, **set_) == (1, "error: The web UI needs a port of its own: pass --port.\n")
    sentence = "error: The web UI cannot be served below a path: remove --path-prefix.\n"
    assert web(tmp_path, "-p", "3999", "--path-prefix", "/x", **set_) == (1, sentence)
    assert web(tmp_path, "-p", "3999", **set_, DAGSTER_WEBSERVER_PATH_PREFIX="/x") == (1, sentence)


def web(home: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Run the module, which ends at once; return its exit code and output."""
    command = [sys.executable, "-m", "kpi_assets.instance.web", *words]
    place = {**plain_environment(), "KPI_HOME": str(home), **environment}
    done = subprocess.run(command, env=place, cwd=home, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.returncode, done.stderr


def test_the_hosts_are_this_machine_s_and_those_of_the_setting() -> None:
    config = Settings(ui_hosts=" Dagster.Example.com ,10.0.0.5:8443,[fe80::1]:3000")
    assert access.allowed_hosts(config, 3705) == {
        "127.0.0.1:3705",
        "localhost:3705",
        "[::1]:3705",
        "dagster.example.com",
        "10.0.0.5:8443",
        "[fe80::1]:3000",
    }
    assert len(access.allowed_hosts(Settings(), 3705)) == 3


# ---- what is started with `kpi up`


def test_the_working_folder_is_closed_to_others(tmp_path: Path) -> None:
    place = folder.working_folder(tmp_path)
    assert (place, place.stat().st_mode & 0o777) == (tmp_path / "run", 0o700)
    place.chmod(0o777)
    assert folder.working_folder(tmp_path).stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_working_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    place = folder.working_folder(tmp_path)
    os.chown(place, 12345, 12345)
    with pytest.raises(UserError, match=rf"^{place} belongs to another user, .*: set KPI_HOME to a folder of yours\.$"):
        folder.working_folder(tmp_path)


def test_relative_paths_name_the_same_files_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secrets").mkdir()
    for name in folder.FILES:
        monkeypatch.setenv(name, f"files/{name}")
    monkeypatch.setenv("PGPASSFILE", "/abs/pgpass")
    monkeypatch.setenv("PGSSLKEY", "")
    found = folder.environment(Settings(home=Path("h"), sql_dir=Path("tree"), secrets_dir=Path("secrets")))
    assert [found[name] for name in ("KPI_HOME", "KPI_SQL_DIR", "KPI_SECRETS_DIR")] == [
        f"{tmp_path}/h",
        f"{tmp_path}/tree",
        f"{tmp_path}/secrets",
    ]
    assert found["AWS_SHARED_CREDENTIALS_FILE"] == f"{tmp_path}/files/AWS_SHARED_CREDENTIALS_FILE"
    assert (found["PGPASSFILE"], found["PGSSLKEY"]) == ("/abs/pgpass", "")
    assert [name for name in folder.FILES if found[name] and not Path(found[name]).is_absolute()] == []
    assert found["PYTHONSAFEPATH"] == "1"
    assert "KPI_SECRETS_DIR" not in folder.environment(Settings(home=Path("h")))


# ---- the self-test


class Unguarded(BaseHTTPRequestHandler):
    """Answers under any host name, as Dagster's own web UI does; `refusal` is its status for a foreign one."""

    refusal = 200
    asked: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        self.send_response(self.refusal if self.headers["Host"] == probe.FOREIGN else 200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Unguarded, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Unguarded) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("refusal", [200, 204, 302, 400, 401, 403, 404, 500])
def test_a_web_ui_that_answers_a_foreign_host_name_fails_the_self_test(
    unguarded: str, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unguarded, "refusal", refusal)
    with pytest.raises(UserError, match=rf"^The web UI at {unguarded} answers to any host name, .*: install the ver"):
        probe.check(unguarded)


def test_a_guarded_web_ui_passes_the_self_test(unguarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unguarded, "refusal", 421)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    probe.check(unguarded)
    own = unguarded.removeprefix("http://")
    assert Unguarded.asked == [("/server_info", own), ("/server_info", "self-test.invalid")]


def test_a_web_ui_that_does_not_answer_yet_raises_an_error_that_is_retried() -> None:
    with pytest.raises(OSError, match="refused"):
        probe.check(f"http://127.0.0.1:{free_port()}")


@pytest.mark.process
def test_the_health_check_says_what_it_found(unguarded: str) -> None:
    def check(address: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "kpi_assets.instance.probe", address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        return done.returncode, done.stderr

    code, said = check(unguarded)
    assert (code, said.startswith(f"error: The web UI at {unguarded} answers to any host name")) == (1, True)
    code, said = check(f"http://127.0.0.1:{free_port()}")
    assert (code, "refused" in said) == (1, True)
