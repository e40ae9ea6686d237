"""Locks between processes: flock on files in $KPI_HOME/run. A lock ends with the process that holds it.

Belongs here: taking a lock. Not here: what the locks protect (server.py, stack.py).
"""

import fcntl
import os
import time
from pathlib import Path

from kpi_assets.waiting import Waits

SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX
PAUSE = 0.01


def take(path: Path, mode: int, patience: float = 0) -> int | None:
    """Lock the file and return its descriptor, or None if another process still holds it after `patience` seconds.

    The lock lasts until every copy of the descriptor is closed. A child process gets a copy only through `pass_fds`.
    """
    deadline, waits = time.monotonic() + patience, Waits(f"waiting for another kpi command, which holds {path}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(fd, mode | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    return None
            waits()
            time.sleep(PAUSE)
    except BaseException:
        os.close(fd)
        raise
