"""`kpi up` after kill -9 of any one of its processes: it ends with a sentence, and the next one cleans up and goes on.

With Dagster's own services the worst of it, a run under way, is tested in e2e/.
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

from kpi_assets.local.stack import status, stop
from kpi_assets_tests.build.points import eventually
from kpi_assets_tests.cli.command import plain_environment
from kpi_assets_tests.deploy.compose import free_port

AGAIN = "ended by itself: say `kpi up` again"


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Up:
    """A running `kpi up`, and every process that belongs to it."""

    process: "subprocess.Popen[str]"
    parts: dict[str, psutil.Process]

    def ended(self, *, patience: float = 30) -> tuple[int, str]:
        """Its exit code and last line, once it has ended."""
        _, said = self.process.communicate(timeout=patience)
        return self.process.returncode, said.strip().splitlines()[-1]


class Home:
    """The home of all tests of this module; each finds it as the one before left it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "home", free_port()
        self.environment = {**plain_environment(), "KPI_HOME": str(self.folder)}
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
        assert line.startswith(f"http://127.0.0.1:{self.port}"), process.communicate(timeout=30)
        found = Up(process, self._parts(process.pid))
        self.started.append(found)
        return found

    def _parts(self, supervisor: int) -> dict[str, psutil.Process]:
        """Each process by name: services with what they started, and the servers, whoever started those."""
        parts = {"supervisor": psutil.Process(supervisor)}
        parts.update({server.name: psutil.Process(server.pid) for server in status(self.folder)})

        def all_there() -> bool:
            for process in parts["supervisor"].children():
                words = process.cmdline()
                if "kpi_assets_tests.instance.stand_in" in words:
                    below = zip(("", " grpc", " worker"), [process, *process.children(recursive=True)], strict=False)
                    parts.update({words[3] + kind: each for kind, each in below})
            return len(parts) == 9

        eventually(all_there)
        return parts

    def kpi(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "kpi_assets_tests.instance.up", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


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


@pytest.fixture(scope="module")
def running(home: Home) -> list[Up]:
    """The one that runs: each test kills it and leaves the next in its place."""
    return [home.up()]


@pytest.mark.parametrize(
    ("killed", "says"),
    [
        ("web", rf"The web UI {AGAIN}; its log \S+/web_ui\.log ends with: "),
        ("daemon", rf"The daemon {AGAIN}; its log \S+/daemon\.log ends with: "),
        ("web grpc", rf"The code server of the web UI {AGAIN}\."),
        ("daemon grpc", rf"The code server of the daemon {AGAIN}\."),
        ("postgres", rf"The embedded PostgreSQL {AGAIN}; its log \S+/postgres\.log says: "),
        ("s3", rf"The embedded S3 {AGAIN}; its log \S+/s3\.log says: "),
    ],
)
def test_without_one_of_its_processes_it_ends_and_leaves_none(
    home: Home, running: list[Up], killed: str, says: str
) -> None:
    before = running.pop()
    before.parts[killed].kill()
    code, last = before.ended()
    assert code == 1
    assert re.match(f"error: {says}", last), last
    assert [name for name, part in before.parts.items() if is_alive(part)] == []
    running.append(home.up())


@pytest.mark.parametrize("also", [[], ["web"], ["daemon", "web grpc"], ["postgres", "s3"]])
def test_what_a_killed_supervisor_left_behind_is_ended_by_the_next(
    home: Home, running: list[Up], also: list[str]
) -> None:
    before = running.pop()
    for name in ("supervisor", *also):
        before.parts[name].kill()
    assert before.process.wait(30) == -signal.SIGKILL
    left = {name for name in before.parts if name not in {"supervisor", *also}}
    assert {name for name, part in before.parts.items() if is_alive(part)} == left, "they live on"

    running.append(home.up())

    servers = {"postgres", "s3"} - set(also)  # which the next one takes over as they are
    assert {name for name, part in before.parts.items() if is_alive(part)} == servers
    assert {running[0].parts[name].pid for name in servers} == {before.parts[name].pid for name in servers}


def test_down_ends_what_a_killed_supervisor_and_web_ui_left_behind(home: Home, running: list[Up]) -> None:
    before = running.pop()
    for name in ("supervisor", "web"):
        before.parts[name].kill()
    before.process.wait(30)
    assert home.kpi("down").stdout == "Stopped: daemon, postgres, s3.\n"
    assert [name for name, part in before.parts.items() if is_alive(part)] == []
    assert home.kpi("down").stdout == "Nothing was running.\n"
    running.append(home.up())


def test_a_second_one_is_refused_while_the_first_lives(home: Home, running: list[Up]) -> None:
    said = home.kpi("up")
    assert (said.returncode, said.stdout) == (1, "")
    supervisor = running[0].process.pid
    assert f"`kpi up` runs in {home.folder} already (process {supervisor}): use it, or stop it" in said.stderr


def test_a_stranger_with_the_number_of_a_killed_service_is_left_alone(home: Home, running: list[Up]) -> None:
    before = running.pop()
    before.process.send_signal(signal.SIGTERM)
    assert before.ended()[0] == 0
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        record = {"name": "web UI", "pid": stranger.pid, "since": psutil.Process(stranger.pid).create_time() - 100}
        (home.folder / "run" / "services.json").write_text(json.dumps([record]))
        try:
            running.append(home.up())
            assert stranger.poll() is None
        finally:
            stranger.kill()
