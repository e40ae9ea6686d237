"""Identifies a process by its number and its start time: the number alone may belong to another program later.

Belongs here: recognizing a process, and whether it is alive. Not here: files with identities (embedded/server.py,
instance/services.py, instance/processes.py), and ending a process.
"""

import os
from dataclasses import dataclass

import psutil

CLOCK = 1.0  # seconds by which two readings of one start may differ, since the system's clock may be adjusted


def living(pid: int) -> psutil.Process | None:
    """Return the process of that number, or None if it has ended; a zombie has ended.

    Raises ValueError or OverflowError if the number cannot be that of a process.
    """
    try:
        process = psutil.Process(pid)
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, by its number and its start time in seconds since 1970."""

    pid: int
    since: float

    @classmethod
    def of(cls, pid: int | None = None) -> "ProcessIdentity":
        """Return the identity of a live process, by default this one. Raises psutil.NoSuchProcess."""
        number = os.getpid() if pid is None else pid
        return cls(number, psutil.Process(number).create_time())

    @classmethod
    def parse(cls, text: str) -> "ProcessIdentity":
        """Read the text that str() gives. Raises ValueError on anything else."""
        pid, _, since = text.partition(" ")
        return cls(int(pid), float(since))

    def __str__(self) -> str:
        return f"{self.pid} {self.since:.2f}"

    def process(self) -> psutil.Process | None:
        """Return the process, or None if it has ended."""
        process = living(self.pid)
        try:
            return process if process and abs(process.create_time() - self.since) < CLOCK else None
        except psutil.NoSuchProcess:
            return None
