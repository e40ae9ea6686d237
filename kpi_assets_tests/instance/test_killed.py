"""After kill -9 of any of its processes `kpi up` ends with a sentence, and the next one cleans up and goes on.

The worst case, a run under way, is tested with Dagster's own services in e2e/.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from kpi_assets.embedded.stack import status, stop
from kpi_assets_tests.cli.command import plain_environment
from kpi_assets_tests.examples import few
from kpi_assets_tests.instance.stand_in import UNGUARDED
from kpi_assets_tests.machine import PATIENCE, eventually, free_port, is_alive

pytestmark = pytest.mark.process
AGAIN = "exited unexpectedly: run `kpi up` again"


def kill(process: psutil.Process) -> None:
    """Kill a process with SIGKILL and wait until it is gone."""
    process.kill()
    eventually(lambda: not is_alive(process))


@dataclass
class Up:
    """A running `kpi up`, and every process that belongs to it."""

    process: "subprocess.Popen[str]"
    parts: dict[str, psutil.Process]

    def ended(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and last line."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said.strip().splitlines()[-1]


class Home:
    """The home of all tests of this module; each test finds it as the one before left it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "home", free_port()
        self.environment = {**plain_environment(), "KPI_HOME": str(self.folder), "KPI_SERVE_PORT": str(free_port())}
        self.started: list[Up] = []

    def up(self) -> Up:
        """Start it, and wait until it says that it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "kpi_assets_tests.instance.up", "up", "--port", str(self.port)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"http://127.0.0.1:{self.port}"), process.communicate(timeout=PATIENCE)
        found = Up(process, self.parts(process.pid))
        self.started.append(found)
        return found

    def parts(self, supervisor: int) -> dict[str, psutil.Process]:
        """Return each process by name: the services with their children, and the servers."""
        parts = {"supervisor": psutil.Process(supervisor)}
        parts.update({server.name: psutil.Process(server.pid) for server in status(self.folder)})

        def all_there() -> bool:
            for process in filter(is_alive, parts["supervisor"].children()):
                words = process.cmdline()
                if words[1].endswith("stand_in.py"):
                    below = zip(("", " grpc", " worker"), [process, *process.children(recursive=True)], strict=False)
                    parts.update({words[2] + kind: each for kind, each in below})
            return len(parts) == 13

        eventually(all_there)
        return parts

    def kpi(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "kpi_assets_tests.instance.up", *words]
        place = {**self.environment, **environment}
        return subprocess.run(command, env=place, capture_output=True, text=True, check=False, timeout=PATIENCE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    found = Home(tmp_path_factory.mktemp("killed"))
    try:
        yield found
    finally:
        for each in found.started:
            for part in each.parts.values():
                if is_alive(part):
                    part.kill()
            each.process.communicate()
        stop(found.folder)


@pytest.fixture
def up(home: Home) -> Up:
    """The `kpi up` that runs in the home: the one that the test before left, or a new one."""
    last = home.started[-1] if home.started else None
    return last if last and last.process.poll() is None else home.up()


@pytest.mark.parametrize(
    ("killed", "says"),
    few(
        1,
        [
            ("web", rf"The web UI {AGAIN}; its log \S+/web_ui\.log ends with: "),
            ("daemon", rf"The daemon {AGAIN}; its log \S+/daemon\.log ends with: "),
            ("pages", rf"The pages {AGAIN}; its log \S+/pages\.log ends with: "),
            ("postgres", rf"The embedded PostgreSQL {AGAIN}; its log \S+/postgres\.log says: "),
            ("broker", rf"The embedded broker {AGAIN}; its log \S+/broker\.log says: "),
            ("s3", rf"The embedded S3 {AGAIN}; its log \S+/s3\.log says: "),
            ("apis", rf"The program of the simulated APIs {AGAIN}; its log \S+/apis\.log says: "),
        ],
    ),
)
def test_kpi_up_ends_without_leftovers_if_one_of_its_processes_is_killed(
    home: Home, up: Up, killed: str, says: str
) -> None:
    kill(up.parts[killed])
    code, last = up.ended()
    assert code == 1
    assert re.match(f"error: {says}", last), last
    assert [name for name, part in up.parts.items() if is_alive(part)] == []
    home.up()


def test_a_landing_that_is_killed_is_started_again(home: Home, up: Up) -> None:
    before = up.parts["landing"]
    kill(before)
    eventually(lambda: home.parts(up.process.pid)["landing"] != before)
    up.parts["landing"] = home.parts(up.process.pid)["landing"]
    assert up.process.poll() is None
    records = json.loads((home.folder / "run" / "services.json").read_text())
    assert [each["pid"] for each in records if each["name"] == "landing shop"] == [up.parts["landing"].pid]


def test_the_code_server_of_the_web_ui_is_restarted(home: Home, up: Up) -> None:
    parts = up.parts
    kill(parts["web grpc"])

    def is_there() -> bool:
        return any(is_alive(child) and "grpc" in child.cmdline() for child in parts["web"].children())

    eventually(is_there)
    kill(parts["web worker"])  # it outlived its code server
    assert [name for name, part in parts.items() if not is_alive(part)] == ["web grpc", "web worker"]
    up.parts = home.parts(up.process.pid)


@pytest.mark.parametrize("also", few(1, [[], ["web"], ["daemon", "daemon grpc"], ["postgres", "s3"], ["apis"]]))
def test_processes_that_a_killed_supervisor_left_are_ended_by_the_next(home: Home, up: Up, also: list[str]) -> None:
    for name in ("supervisor", *also):
        kill(up.parts[name])
    assert up.process.wait(PATIENCE) == -signal.SIGKILL
    left = {name for name in up.parts if name not in {"supervisor", *also}}
    assert {name for name, part in up.parts.items() if is_alive(part)} == left, "the other processes are still alive"

    parts = home.up().parts

    servers = {"postgres", "broker", "s3", "apis"} - set(also)  # the next `kpi up` takes over the running servers
    assert {name for name, part in up.parts.items() if is_alive(part)} == servers
    assert {parts[name].pid for name in servers} == {up.parts[name].pid for name in servers}


@pytest.mark.nightly
def test_kpi_down_ends_what_a_killed_supervisor_and_web_ui_left(home: Home, up: Up) -> None:
    for name in ("supervisor", "web"):
        kill(up.parts[name])
    up.process.wait(PATIENCE)
    assert home.kpi("down").stdout == "Stopped: daemon, pages, landing shop, postgres, broker, s3, apis.\n"
    assert [name for name, part in up.parts.items() if is_alive(part)] == []
    assert home.kpi("down").stdout == f"Nothing was running in {home.folder}.\n"
    home.up()


def test_a_second_kpi_up_is_refused_while_the_first_runs(home: Home, up: Up) -> None:
    said = home.kpi("up")
    assert (said.returncode, said.stdout) == (1, "")
    supervisor = up.process.pid
    assert (
        f"`kpi up` already runs in {home.folder} (process {supervisor}): `kpi url` prints its address, `kpi down` "
        in said.stderr
    )


def test_a_web_ui_without_its_guard_is_ended_before_its_address_is_printed(home: Home, up: Up) -> None:
    """This happens after an upgrade of Dagster that no longer calls the function that the guard replaces."""
    up.process.send_signal(signal.SIGTERM)
    assert up.ended()[0] == 0
    said = home.kpi("up", "--port", str(home.port), **{UNGUARDED: "1"})
    assert (said.returncode, said.stdout) == (1, "")
    place = f"http://127.0.0.1:{home.port}"
    assert said.stderr.splitlines()[-1].startswith(
        f"error: The web UI at {place} answers to any host name, so the guard"
    )
    assert home.kpi("down").stdout.startswith("Nothing was running in ")


@pytest.mark.nightly
def test_another_process_with_the_number_of_a_killed_service_is_left_alone(home: Home, up: Up) -> None:
    up.process.send_signal(signal.SIGTERM)
    assert up.ended()[0] == 0
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        record = {"name": "web UI", "pid": stranger.pid, "since": psutil.Process(stranger.pid).create_time() - 100}
        (home.folder / "run" / "services.json").write_text(json.dumps([record]))
        try:
            home.up()
            assert stranger.poll() is None
        finally:
            stranger.kill()
