"""Homes for tests, processes that use them, and a check that no process is left behind."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from kpi_assets.embedded.stack import ServerStatus, Stack, status, stop
from kpi_assets.settings import Settings
from kpi_assets_tests.machine import no_named_servers


class User:
    """Another process that uses the servers of a home."""

    def __init__(self, home: Path, *options: str, prefix: tuple[str, ...] = ()):
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "kpi_assets_tests.embedded.user", str(home), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> dict[str, str]:
        """Wait until its servers answer; return its environment."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)

    def leave(self) -> int:
        self.process.communicate()
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(autouse=True)
def _no_named_servers() -> Iterator[None]:
    with no_named_servers():
        yield


@pytest.fixture(autouse=True)
def _no_clusters_kept(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path)  # 60 MB each


@pytest.fixture(scope="package", autouse=True)
def _nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before, children = command_lines(), psutil.Process().children(recursive=True)  # processes of other tests
    yield
    base = str(tmp_path_factory.getbasetemp().resolve())
    assert [line for line in command_lines() if base in " ".join(line) and line not in before] == []
    assert [process for process in psutil.Process().children(recursive=True) if process not in children] == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A folder for servers that were never started; whatever runs in it at the end is stopped."""
    yield tmp_path / "fresh"
    stop(tmp_path / "fresh")


@pytest.fixture(scope="session")
def _started_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("once") / "home"
    with Stack(home):
        pass
    yield home
    shutil.rmtree(home)


@pytest.fixture
def home(_started_once: Path) -> Iterator[Path]:
    """The folder of servers that many tests start and stop one after another, which saves each an initdb."""
    yield _started_once
    stop(_started_once)


@pytest.fixture
def named(home: Path) -> Settings:
    """Settings that name only the home."""
    return Settings(home=home)


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    """Yield a function that starts users of a home; all are killed at the end of the test."""
    users = []

    def start(home: Path, *options: str, prefix: tuple[str, ...] = ()) -> User:
        users.append(User(home, *options, prefix=prefix))
        return users[-1]

    yield start
    for each in users:
        each.kill()


def states(home: Path) -> dict[str, ServerStatus]:
    return {each.name: each for each in status(home)}


def are_running(home: Path) -> dict[str, bool]:
    return {each.name: each.running for each in status(home)}


def command_lines() -> list[list[str]]:
    """Return the command line of every process but this one."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                lines.append(process.cmdline())
    return lines


def ask(url: str, query: str, *values: object) -> list[tuple[object, ...]]:
    """Run a query in its own connection and commit; return its rows."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query, values or None)
        return cursor.fetchall() if cursor.description else []
