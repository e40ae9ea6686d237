"""Helpers for ports, processes and waiting."""

import itertools
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from kpi_assets.settings import settings

# Seconds after which a test takes what it waits for to hang. A deadline is against a hang: no machine is so slow, nor
# so busy with other tests. What must be quick is tested by its own, shorter limit.
PATIENCE = 400.0

# A condition that is true of every order, and takes a server hours to evaluate.
HOURS = "(select count(*) from generate_series(1, 1000000) as a, generate_series(1, 1000000 + order_id) as b) > 0"


# These are below the ports of embedded servers and of outgoing connections. Each worker of a session has
# a thousand ports of its own, and each session starts at another one of them.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_PORTS = itertools.count(random.randrange(1000))


def free_port() -> int:
    """Return a port on which nothing listens, and which no other test gets."""
    while True:
        port = 10_000 + 1000 * _WORKER + next(_PORTS) % 1000
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process has not ended; one that is not reaped yet has ended."""
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


@contextmanager
def no_named_servers() -> Iterator[None]:
    """Within it the environment names no server, as that of a person who has set nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("KPI_", "AWS_", "PG")):
                patch.delenv(name)
        settings.cache_clear()
        yield
    settings.cache_clear()


def eventually(fact: Callable[[], bool], seconds: float = PATIENCE, every: float = 0.01) -> None:
    """Wait until `fact` is true; one that starts a process is asked for less often, since it slows what it awaits."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(every)
