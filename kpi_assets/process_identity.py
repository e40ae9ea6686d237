"""Which process is meant: a number alone may belong to another program later.

Belongs here: knowing a process again by its number and its start, and whether it lives. Not here: what is written down
of it (embedded/server.py, instance/services.py, instance/processes.py), and ending it.
"""

import os
from dataclasses import dataclass

import psutil

CLOCK = 1.0  # seconds by which two readings of one start may differ: the system's clock is set now and then


def living(pid: int) -> psutil.Process | None:
    """The process of that number, unless it has ended; one that nobody has reaped yet has.

    Raises ValueError or OverflowError for what is no number of a process.
    """
    try:
        process = psutil.Process(pid)
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


@dataclass(frozen=True)
class ProcessIdentity:
    """A process by its number and when it started, in seconds since 1970."""

    pid: int
    since: float

    @classmethod
    def of(cls, pid: int | None = None) -> "ProcessIdentity":
        """That of a process which lives; this one by default. Raises psutil.NoSuchProcess."""
        number = os.getpid() if pid is None else pid
        return cls(number, psutil.Process(number).create_time())

    @classmethod
    def parse(cls, text: str) -> "ProcessIdentity":
        """Read what str() gives. Raises ValueError on anything else."""
        pid, _, since = text.partition(" ")
        return cls(int(pid), float(since))

    def __str__(self) -> str:
        return f"{self.pid} {self.since:.2f}"

    def process(self) -> psutil.Process | None:
        """The process itself, while it lives."""
        process = living(self.pid)
        try:
            return process if process and abs(process.create_time() - self.since) < CLOCK else None
        except psutil.NoSuchProcess:
            return None
