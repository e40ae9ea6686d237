"""What tests ask of the machine: a free port, whether a process lives, and patience."""

import itertools
import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

# True of every order, and hours of a server's work to find out.
HOURS = "(select count(*) from generate_series(1, 1000000) as a, generate_series(1, 1000000 + order_id) as b) > 0"


# Below those that embedded servers take, and those that systems hand out to connections. Each worker of a session has
# a thousand of its own, and each session begins elsewhere among them.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_PORTS = itertools.count(random.randrange(1000))


def free_port() -> int:
    """A port on which nothing listens now, and which no other test is given."""
    while True:
        port = 10_000 + 1000 * _WORKER + next(_PORTS) % 1000
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def is_alive(process: psutil.Process) -> bool:
    """Not ended; one that nobody has reaped yet has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_all_in(folder: Path) -> None:
    """Kill every process whose command line or home lies in a folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [*process.cmdline(), process.environ().get("KPI_HOME", "")]
            if process.pid != os.getpid() and any(str(folder) in word for word in words):
                process.kill()


def eventually(fact: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
