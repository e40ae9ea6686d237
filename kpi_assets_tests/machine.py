"""What tests ask of the machine: a free port, whether a process lives, and patience."""

import socket
import time
from collections.abc import Callable

import psutil

# True of every order, and hours of a server's work to find out.
HOURS = "(select count(*) from generate_series(1, 1000000) as a, generate_series(1, 1000000 + order_id) as b) > 0"


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_alive(process: psutil.Process) -> bool:
    """Not ended; one that nobody has reaped yet has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(fact: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
