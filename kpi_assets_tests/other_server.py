"""A PostgreSQL of another version instead of the embedded one, for tests of code that talks to a warehouse.

KPI_TEST_POSTGRES_BIN names the folder of its programs. Its settings are the defaults of initdb, as a managed
server may have. For the product it is a server that KPI_POSTGRES_URL names, like any other.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from kpi_assets.embedded import accounts
from kpi_assets.embedded.postgres import SUPERUSER
from kpi_assets_tests.machine import PATIENCE, eventually, free_port

NAMED = os.environ.get("KPI_TEST_POSTGRES_BIN", "")
PASSWORD = "of-another-server"


def problem() -> str:
    """Return what is wrong with the named folder; an empty text if nothing is, or if none is named."""
    lacking = [name for name in ("postgres", "initdb") if NAMED and not (Path(NAMED) / name).is_file()]
    return f"KPI_TEST_POSTGRES_BIN={NAMED} holds no {' and no '.join(lacking)}" if lacking else ""


def version() -> str:
    """Return the version of the programs, such as `postgres (PostgreSQL) 15.18`."""
    return subprocess.run([f"{NAMED}/postgres", "--version"], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def other_server(folder: Path) -> Iterator[str]:
    """Start a server in a new folder; yield the URL of its superuser."""
    with Cluster(folder, Path(NAMED).resolve()) as server:
        yield server.url


class Cluster:
    """A server in a new folder, started from a folder of programs; it ends with the context."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs, self.path = folder, programs, folder / "cluster"
        self.port = free_port()
        self.url = f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self._account = accounts.for_cluster(self.path)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Cluster":
        self.folder.mkdir(parents=True)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._account:
            accounts.grant_traversal(self._account, [self.path, self.programs / "postgres"])
            for path in (self.folder, password):
                os.chown(path, self._account.uid, self._account.gid)
        words = (f"--pgdata={self.path}", f"--username={SUPERUSER}", f"--pwfile={password}", "--auth=scram-sha-256")
        made = self._begin(self.programs / "initdb", *words, "--encoding=UTF8", "--locale=C")
        assert made.wait(PATIENCE) == 0, (self.folder / "log").read_text()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "fsync=off")
        words = [word for each in settings for word in ("-c", each)]
        server = self._process = self._begin(self.programs / "postgres", "-D", self.path, *words)
        eventually(lambda: server.poll() is not None or _answers(self.url))
        assert server.poll() is None, (self.folder / "log").read_text()

    def start_if_it_ended(self) -> None:
        """Wait until the server answers; start it again whenever it has ended by itself, which may take a while."""

        def answers() -> bool:
            if self._process is None or self._process.poll() is not None:
                self.start()
            return _answers(self.url)

        eventually(answers)

    def stop(self) -> None:
        """Shut the server down cleanly."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None

    def crash(self) -> None:
        """Shut the server down without a checkpoint, so that the next start recovers."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)
            self._process = None

    def configure(self, **changes: str) -> None:
        """Restart the server with other settings."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in changes.items():
                connection.execute(f"alter system set {name} = '{value}'".encode())
        self.stop()
        self.start()

    def become_standby(self) -> None:
        """Restart the server as a standby whose primary is not there."""
        self.stop()
        (self.path / "standby.signal").touch()
        self.start()

    def _begin(self, *command: object) -> "subprocess.Popen[bytes]":
        words: Sequence[str] = [str(word) for word in command]
        as_account = self._account.for_popen() if self._account else {}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                words, cwd="/", env={"LC_ALL": "C"}, stdout=log, stderr=log, start_new_session=True, **as_account
            )


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
