"""Locks between processes that die with their holder: flock on files in $KPI_HOME/run.

Belongs here: taking them. Not here: what they guard (server.py, stack.py).
"""

import fcntl
import os
import time
from pathlib import Path

from kpi_assets.waiting import Waits

SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX
PAUSE = 0.01


def take(path: Path, mode: int, patience: float = 0) -> int | None:
    """Lock the file, waiting at most `patience` seconds; None when somebody else still holds it.

    The lock lasts until every copy of the returned descriptor is closed; programs started from here get no copy unless
    they are handed one.
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
