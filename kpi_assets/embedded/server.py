"""One server process of a home: how it is started, found by other processes, waited for and stopped.

Belongs here: what they have in common. Not here: how each of them is started (postgres.py, s3.py, apis.py).
A server and its children hold a lock (run/<name>.lock) for as long as they live. So every process can tell whether the
server is alive, also across containers that share the folder. run/<name>.json records its process and port.
"""

import json
import logging
import os
import random
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import IO, Any, ClassVar, NoReturn

import psutil

from kpi_assets.embedded import home, locks
from kpi_assets.embedded.accounts import Account
from kpi_assets.embedded.home import Home
from kpi_assets.errors import UserError
from kpi_assets.process_identity import living
from kpi_assets.waiting import Waits

logger = logging.getLogger(__name__)

PORTS = range(20000, 32000)  # below the ports that systems assign to outgoing connections
ATTEMPTS = 3
GRACE = 5  # seconds until a killed process has released its files
PAUSE = 0.02

_children: list[subprocess.Popen[bytes]] = []  # kept until they have ended, so that each is reaped


class Answer(Enum):
    """A server's answer to a probe. The value is the number of seconds for which this answer may last at a start."""

    READY = 0
    SILENT = 60
    REFUSED = 1
    BUSY = 1800


@dataclass(frozen=True)
class Launch:
    """How to start a server. The command line holds no secret; the environment may."""

    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    account: Account | None = None
    inner_ports: Sequence[int] = ()  # the ports that it takes besides its own


@dataclass(frozen=True)
class ServerStatus:
    """What `kpi status` shows about a server; port and pid are None if there is none."""

    name: str
    running: bool
    port: int | None
    pid: int | None


class Server(ABC):
    """One of the servers of a home: PostgreSQL, S3 or the simulated APIs."""

    name: ClassVar[str]
    title: ClassVar[str]
    stop_signals: ClassVar[Sequence[tuple[signal.Signals, float]]]  # sent in turn, each with the seconds it may take

    def __init__(self, place: Home):
        self.home = place
        self.log = place.log(self.name)
        self.secrets_file = place.credentials_file
        self.child_title: str | None = None  # how the command lines of the server's children begin
        self._lock = place.run / f"{self.name}.lock"
        self._record_file = place.run / f"{self.name}.json"
        self._record: dict[str, Any] = {}
        self._log_start = 0

    @abstractmethod
    def check_installed(self) -> None:
        """Raise UserError if the server's program is not installed."""

    @abstractmethod
    def prepare(self, port: int) -> Launch:
        """Write the files that the server reads at its start, and return how to start it. It does not run yet."""

    @abstractmethod
    def probe(self) -> Answer:
        """Send the server a request as a client does."""

    def may_use(self, port: int) -> bool:
        """Return whether the server may listen on this port."""
        return is_free(port)

    def sweep(self, ports: Sequence[int]) -> None:  # noqa: B027  most leave nothing
        """Remove what a server that ran on these ports, and runs no longer, has left outside of the home."""

    @abstractmethod
    def is_main(self, arguments: Sequence[str]) -> bool:
        """Return whether a process with these arguments is this home's server."""

    @property
    def port(self) -> int | None:
        """The port that the server listens on, or that it used last if it is down."""
        port = self._read_record().get("port")
        return port if isinstance(port, int) else None

    @property
    def was_started(self) -> bool:
        """Whether the server has ever been started in this home."""
        return self._record_file.exists()

    def process(self) -> psutil.Process | None:
        """Return the running server, or None if it does not run or its pid belongs to another program by now."""
        pid = self._read_record().get("pid")
        if not isinstance(pid, int):
            return None
        _reap()
        try:
            process = living(pid)
            return process if process and self.is_main(process.cmdline()) else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def check_alive(self) -> None:
        """Raise UserError if the server has exited, with the error from its log. Keep the log within bounds."""
        if self.process() is None:
            self._fail("exited unexpectedly: run `kpi up` again")
        home.trim_log(self.log)

    def status(self) -> ServerStatus:
        """Return whether the server runs, and where. Takes no lock and changes nothing."""
        process = self.process()
        return ServerStatus(self.name, process is not None, self.port, process.pid if process else None)

    def launch(self) -> None:
        """Start the server unless it runs, without waiting for it. The caller holds the start lock.

        Raises UserError if a process that is not visible from here holds the server's lock.
        """
        home.trim_log(self.log)
        self._log_start = home.log_size(self.log)
        lock = locks.take(self._lock, locks.EXCLUSIVE)
        if lock is None:
            if self.process() or self._find_unrecorded():
                return
            self._kill_leftovers()
            lock = locks.take(self._lock, locks.EXCLUSIVE, patience=GRACE)
        if lock is None:
            self._fail_invisible()
        try:
            self._spawn(lock)
        finally:
            os.close(lock)

    def await_ready(self) -> None:
        """Wait until the server answers. If it dies meanwhile, start it again, on another port if its own was taken.

        Raises UserError with the error from its log if it does not come up.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self.launch()
            if self._wait_for_answer():
                return
        self._fail("did not start")

    def stop(self) -> bool:
        """Stop the server, whoever started it. Return False if it was not running."""
        running = self.process()
        if running is None:
            if not self._alive():
                return False
            running = self._find_unrecorded()
        self._log_start = home.log_size(self.log)
        for stop_signal, patience in self.stop_signals:
            try:
                if running is not None:
                    running.send_signal(stop_signal)
            except psutil.NoSuchProcess:
                running = None
            except psutil.AccessDenied:
                raise UserError(
                    f"{self.title} of {self.home.root} belongs to {running and running.username()}: "
                    "stop it as that user."
                ) from None
            if self._wait_until_gone(patience if running is not None else 0):
                break
        else:
            self._kill_leftovers()
            if not self._wait_until_gone(GRACE):
                self._fail_invisible()
        self.sweep(self._ports)
        return True

    @property
    def _ports(self) -> list[int]:
        """All ports that the server took when it was last started."""
        record = self._read_record()
        ports = [record.get("port"), *record.get("inner_ports", [])]
        return [port for port in ports if isinstance(port, int)]

    def _read_record(self) -> dict[str, Any]:
        try:
            self._record = json.loads(self._record_file.read_text())
        except FileNotFoundError:
            pass  # never started, or the home was removed under a running server: keep the last known record
        except ValueError:
            self._record = {}
        return self._record

    def _spawn(self, lock: int) -> None:
        self.sweep(self._ports)
        port = self.port if self.port is not None and self.may_use(self.port) else self._free_port()
        launch = self.prepare(port)
        record = {"port": port, "inner_ports": [*launch.inner_ports]}
        account: dict[str, Any] = launch.account.for_popen() if launch.account else {}
        self._write_record({**record, "pid": None})
        with self.open_log() as log:
            child = subprocess.Popen(  # noqa: S603
                launch.command,
                env=launch.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches only the command, which stops the server in order
                pass_fds=[lock],
                umask=0o077,
                **account,
            )
        _children.append(child)
        self._write_record({**record, "pid": child.pid})

    def _free_port(self) -> int:
        for port in random.sample(PORTS, 200):
            if self.may_use(port):
                return port
        raise UserError(
            f"No port from {PORTS[0]} to {PORTS[-1]} is free on 127.0.0.1: stop some of the programs that listen there."
        )

    def open_log(self) -> IO[bytes]:
        """Open the server's log for appending, and remember where the lines of this attempt begin."""
        log = os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
        self._log_start = home.log_size(self.log)
        return log

    def _write_record(self, record: dict[str, Any]) -> None:
        self._record = record
        home.replace_file(self._record_file, json.dumps(record) + "\n")

    def _wait_for_answer(self) -> bool:
        last = Answer.SILENT
        since = time.monotonic()
        waits = Waits(f"waiting for {self.title[0].lower()}{self.title[1:]} to answer")
        warned = False
        while (answer := self.probe()) is not Answer.READY:
            if self.process() is None:
                return False
            if answer is not last:
                last, since = answer, time.monotonic()
            waited = time.monotonic() - since
            if waited > answer.value and answer is Answer.REFUSED:
                raise UserError(
                    f"{self.title} refuses the keys in {self.secrets_file}: restore the original file, "
                    f"or remove {self.home.root} to start over."
                )
            if waited > answer.value:
                self._fail(f"is not ready after {waited:.0f} s")
            if answer is Answer.BUSY and waited > 5 and not warned:
                logger.warning("%s was not shut down cleanly and is recovering: this may take minutes.", self.title)
                warned = True
            waits()
            time.sleep(PAUSE)
        return True

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.title} {what}; its log {self.log} says: {home.error_line(self.log, self._log_start)}")

    def _fail_invisible(self) -> NoReturn:
        raise UserError(
            f"{self.title} in {self.home.root} is held by a process that is not visible from here, "
            "perhaps in another container: stop it there, or set KPI_HOME to another folder."
        )

    def _alive(self) -> bool:
        try:
            lock = locks.take(self._lock, locks.EXCLUSIVE)
        except FileNotFoundError:
            return False
        if lock is not None:
            os.close(lock)
        return lock is None

    def _wait_until_gone(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while self._alive() or self.process() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE)
        for child in _children:
            if child.pid == self._record.get("pid"):
                child.wait(GRACE)
        return True

    def _is_main(self, process: psutil.Process) -> bool:
        return living(process.pid) is not None and self.is_main(process.cmdline())

    def _find_unrecorded(self) -> psutil.Process | None:
        """Find and record a server whose starter was killed before it could record the process."""
        if self.port is not None:
            for process in self._visible():
                if self._is_main(process):
                    self._write_record({**self._record, "pid": process.pid})
                    return process
        return None

    def _kill_leftovers(self) -> None:
        """Kill the processes that a killed server left behind, because they hold the lock that the next one needs."""
        for process in self._visible():
            logger.warning("%s was killed and left process %d behind: killing it.", self.title, process.pid)
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _visible(self) -> Iterator[psutil.Process]:
        """Yield every visible process of this home's server, found by its command line."""
        for process in psutil.process_iter():
            try:
                title = " ".join(process.cmdline())
                if self._is_main(process) or (self.child_title and title.startswith(self.child_title)):
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def is_free(port: int) -> bool:
    """Return whether nobody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers themselves do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
