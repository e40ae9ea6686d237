"""One server process of a home: started, recognised again by other processes, waited for, ended.

Belongs here: what PostgreSQL and rclone have in common. Not here: what each is started with (postgres.py, s3.py).
A server holds a lock of its own (run/<name>.lock) for as long as it or any child of it lives, so that "is it alive" has
one answer for everybody, also across containers that share the folder; run/<name>.json says which process and port.
"""

import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any, ClassVar, NoReturn

import psutil

from kpi_assets.embedded import home, locks
from kpi_assets.embedded.accounts import Account
from kpi_assets.embedded.home import Home
from kpi_assets.errors import UserError
from kpi_assets.process_identity import living
from kpi_assets.waiting import Waits

logger = logging.getLogger(__name__)

PORTS = range(20000, 32000)  # below the ports that systems hand out to outgoing connections
ATTEMPTS = 3
GRACE = 5  # seconds in which a killed process lets go of its files
PAUSE = 0.02

_children: list[subprocess.Popen[bytes]] = []  # kept until they have ended, so that each is reaped


class Answer(Enum):
    """What a server says when asked; the value is for how many seconds on end that is acceptable."""

    READY = 0
    SILENT = 60
    REFUSED = 1
    BUSY = 1800


@dataclass(frozen=True)
class Launch:
    """How to start a server: its command line holds no secret, its environment may."""

    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    account: Account | None = None


@dataclass(frozen=True)
class ServerStatus:
    """What `kpi status` says of a server; port and pid are None where there are none."""

    name: str
    running: bool
    port: int | None
    pid: int | None


class Server(ABC):
    """One of the two servers of a home."""

    name: ClassVar[str]
    title: ClassVar[str]
    endings: ClassVar[Sequence[tuple[signal.Signals, float]]]  # what ends it, and how many seconds each may take

    def __init__(self, place: Home):
        self.home = place
        self.log = place.log(self.name)
        self.cache: Path | None = None  # what a second attempt does without
        self.child_title: str | None = None  # how the command lines of the server's children begin
        self._lock = place.run / f"{self.name}.lock"
        self._record_file = place.run / f"{self.name}.json"
        self._record: dict[str, Any] = {}
        self._log_start = 0

    @abstractmethod
    def check_installed(self) -> None:
        """Raise UserError when the server's program is not there."""

    @abstractmethod
    def prepare(self, port: int) -> Launch:
        """Write what the server reads at its start; it does not run meanwhile."""

    @abstractmethod
    def ask(self) -> Answer:
        """Talk to the server as a client does."""

    @abstractmethod
    def is_main(self, arguments: Sequence[str]) -> bool:
        """Whether a command line is that of this home's server."""

    @property
    def port(self) -> int | None:
        """The port the server listens on or, when it is down, listened on last."""
        port = self._recorded().get("port")
        return port if isinstance(port, int) else None

    def process(self) -> psutil.Process | None:
        """The running server, or None. A number that meanwhile belongs to another program is not mistaken for it."""
        pid = self._recorded().get("pid")
        if not isinstance(pid, int):
            return None
        _reap()
        try:
            process = living(pid)
            return process if process and self.is_main(process.cmdline()) else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def check_alive(self) -> None:
        """Raise UserError when the server has ended, with its last words."""
        if self.process() is None:
            self._fail("ended by itself: say `kpi up` again")

    def status(self) -> ServerStatus:
        """Whether it runs, and where; takes no lock and changes nothing."""
        process = self.process()
        return ServerStatus(self.name, process is not None, self.port, process.pid if process else None)

    def launch(self, attempt: int = 0) -> None:
        """Start the server unless it runs; does not wait for it. The caller holds the start lock.

        Raises UserError when processes keep the folder that cannot be seen from here.
        """
        home.trim(self.log)
        self._log_start = home.size(self.log)
        lock = locks.take(self._lock, locks.EXCLUSIVE)
        if lock is None:
            if self.process() or self._find_unrecorded():
                return
            self._end_strays()
            lock = locks.take(self._lock, locks.EXCLUSIVE, patience=GRACE)
        if lock is None:
            self._fail_unseen()
        try:
            self._spawn(lock, attempt)
        finally:
            os.close(lock)

    def await_ready(self) -> None:
        """Wait until the server answers; one that dies meanwhile is started again, elsewhere if its port was taken.

        Raises UserError, with the telling line of its log, when it does not come up.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self.launch(attempt)
            if self._answers():
                return
        self._fail("did not start")

    def stop(self) -> bool:
        """End the server, whoever started it; False when it was not running."""
        running = self.process()
        if running is None:
            if not self._alive():
                return False
            running = self._find_unrecorded()
        self._log_start = home.size(self.log)
        for ending, patience in self.endings:
            try:
                if running is not None:
                    running.send_signal(ending)
            except psutil.NoSuchProcess:
                running = None
            except psutil.AccessDenied:
                raise UserError(
                    f"{self.title} of {self.home.root} belongs to {running and running.username()}: "
                    "stop it as that user."
                ) from None
            if self._gone(patience if running is not None else 0):
                return True
        self._end_strays()
        if not self._gone(GRACE):
            self._fail_unseen()
        return True

    def _recorded(self) -> dict[str, Any]:
        try:
            self._record = json.loads(self._record_file.read_text())
        except FileNotFoundError:
            pass  # never started, or the home was removed under a running server: what was known remains
        except ValueError:
            self._record = {}
        return self._record

    def _spawn(self, lock: int, attempt: int) -> None:
        port = self.port if self.port is not None and _is_free(self.port) else _free_port()
        if attempt and self.cache:
            shutil.rmtree(self.cache, ignore_errors=True)
        launch = self.prepare(port)
        account: dict[str, Any] = launch.account.for_popen() if launch.account else {}
        self._keep({"port": port, "pid": None})
        with self.open_log() as log:
            child = subprocess.Popen(  # noqa: S603
                launch.command,
                env=launch.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the command, which ends the server in order
                pass_fds=[lock],
                umask=0o077,
                **account,
            )
        _children.append(child)
        self._keep({"port": port, "pid": child.pid})

    def open_log(self) -> IO[bytes]:
        """The server's log, to append to; from here on are the words of this attempt."""
        log = os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
        self._log_start = home.size(self.log)
        return log

    def _keep(self, record: dict[str, Any]) -> None:
        self._record = record
        home.replace(self._record_file, json.dumps(record) + "\n")

    def _answers(self) -> bool:
        last = Answer.SILENT
        since = time.monotonic()
        waits = Waits(f"waiting for {self.title[0].lower()}{self.title[1:]} to answer")
        said = False
        while (answer := self.ask()) is not Answer.READY:
            if self.process() is None:
                return False
            if answer is not last:
                last, since = answer, time.monotonic()
            waited = time.monotonic() - since
            if waited > answer.value and answer is Answer.REFUSED:
                raise UserError(
                    f"{self.title} refuses the keys in {self.home.credentials_file}: put the original file back, "
                    f"or remove {self.home.root} to begin anew."
                )
            if waited > answer.value:
                self._fail(f"is not ready after {waited:.0f} s")
            if answer is Answer.BUSY and waited > 5 and not said:
                logger.warning("%s was not stopped in order and recovers: this may take minutes.", self.title)
                said = True
            waits()
            time.sleep(PAUSE)
        return True

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.title} {what}; its log {self.log} says: {home.telling_line(self.log, self._log_start)}")

    def _fail_unseen(self) -> NoReturn:
        raise UserError(
            f"{self.title} in {self.home.root} is kept by a process that cannot be seen or ended from here, "
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

    def _gone(self, patience: float) -> bool:
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
        """The server whose starter was killed before it could write down the process; from now on it is recorded."""
        if self.port is not None:
            for process in self._visible():
                if self._is_main(process):
                    self._keep({"port": self.port, "pid": process.pid})
                    return process
        return None

    def _end_strays(self) -> None:
        """Kill what a server left behind that was itself killed: it can only hold up the next one."""
        for process in self._visible():
            logger.warning("%s was killed and left process %d behind, which is ended.", self.title, process.pid)
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _visible(self) -> Iterator[psutil.Process]:
        """Every process of this home's server, found by its command line."""
        for process in psutil.process_iter():
            try:
                title = " ".join(process.cmdline())
                if self._is_main(process) or (self.child_title and title.startswith(self.child_title)):
                    yield process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers themselves do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    for port in random.sample(PORTS, 200):
        if _is_free(port):
            return port
    raise UserError(
        f"No port from {PORTS[0]} to {PORTS[-1]} is free on 127.0.0.1: end some of the programs that listen there."
    )
