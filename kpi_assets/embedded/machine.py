"""The resources of this machine, and the PostgreSQL settings that follow from them.

Belongs here: memory (with a container's limit), cores, disk and /dev/shm, and the settings file. Not here: starting the
server, and the memory of single sessions (work_mem, maintenance_work_mem), which each load sets (warehouse/).
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MB, GB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Machine:
    """The resources of a machine; memory, disk and shm in bytes. `shm` is None where the system sets no limit."""

    memory: int
    cores: int
    disk: int
    shm: int | None


def survey(folder: Path) -> Machine:
    """Return the resources of this machine, with the free disk of the file system that holds the folder."""
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        memory=min([psutil.virtual_memory().total, *cgroup_limits()]),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        disk=shutil.disk_usage(folder).free,
        shm=_shm_size() if sys.platform == "linux" else None,
    )


def cgroup_limits(membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yield the memory limits of this process in bytes: of its control groups (version 1 or 2) and their parents."""
    lines = membership.read_text().splitlines() if membership.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "":
            base, name = mount, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            limit = folder / name
            if folder.is_relative_to(base) and limit.is_file() and (text := limit.read_text().strip()) != "max":
                yield int(text)


def _shm_size() -> int:
    try:
        size = os.statvfs("/dev/shm")  # noqa: S108  (the mount itself, no file in it)
    except FileNotFoundError:
        return 0
    return size.f_blocks * size.f_frsize


def postgres_conf(machine: Machine, port: int, cluster_name: str) -> str:
    """Return the text of the settings file, with one comment for each setting."""
    buffers = min(max(machine.memory // 8, 128 * MB), 256 * MB)
    wal = min(max(machine.disk // 4, 256 * MB), 8 * GB)
    enough_shm = machine.shm is None or machine.shm >= GB
    settings = [
        ("listen_addresses", "127.0.0.1", "this machine only"),
        ("port", str(port), "the same at each start while it is free"),
        ("unix_socket_directories", "", "no socket: its path has a length limit, which this folder's path may exceed"),
        ("max_connections", "100", "the writers of a build, the Dagster instance's pools, people"),
        ("cluster_name", cluster_name, "shown by ps, to tell these processes from those of other clusters"),
        ("fsync", "on", "published rows survive a power failure"),
        ("wal_level", "minimal", "a COPY into a new table writes no WAL, because nothing is replicated"),
        ("max_wal_senders", "0", "required by wal_level = minimal"),
        (
            "max_wal_size",
            f"{wal // MB}MB",
            "a load fits between two checkpoints: a quarter of the free disk, at most 8 GB",
        ),
        ("wal_recycle", "off", "old segments are deleted, and not kept with what is in them: a person may be erased"),
        ("checkpoint_timeout", "30min", "checkpoints are triggered by the amount written, not by time"),
        (
            "shared_buffers",
            f"{buffers // MB}MB",
            "128 to 256 MB: loads bypass it, the kernel caches the rest, and each new session maps it page by page",
        ),
        ("dynamic_shared_memory_type", "posix" if enough_shm else "mmap", "mmap where /dev/shm is below 1 GB"),
        ("max_worker_processes", str(max(8, machine.cores)), "enough for the parallel workers and the server's own"),
        ("max_parallel_workers", str(machine.cores), "one for each core"),
        (
            "io_method",
            "sync",
            "most reads hit the kernel's cache, so a worker would be slower",
        ),
        ("jit", "off", "compilation costs more than it saves for these queries"),
        ("timezone", "UTC", "the same results on every machine"),
        ("log_timezone", "UTC", "as above"),
        ("lc_messages", "C", "messages are recognized by their text"),
        ("log_destination", "stderr", "to the log file that kpi opens and trims"),
        ("logging_collector", "off", "as above"),
        ("log_line_prefix", "%m [%p] %a ", "time, process, run and asset"),
        ("log_min_messages", "warning", "errors and warnings of every session"),
        ("log_min_error_statement", "panic", "no statement is logged, because some contain passwords"),
        ("log_checkpoints", "off", "a line for each checkpoint would hide the errors"),
    ]
    lines = [f"{name} = '{value}'  # {why}" for name, value, why in settings]
    return "\n".join(
        [
            "# Written by kpi at each start, for this machine. Settings made with ALTER SYSTEM override these lines.",
            "include 'postgres/postgresql.conf'",
            *lines,
            "",
        ]
    )
