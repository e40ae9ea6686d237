"""What this machine offers, and the PostgreSQL settings that follow from it.

Belongs here: memory (with a container's limit), cores, disk and /dev/shm, and one settings file made of them. Not here:
starting the server. Memory of single sessions (work_mem, maintenance_work_mem) is left to those who load (warehouse/).
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
    """What there is: memory, free disk and shared memory in bytes; `shm` is None where the system does not bound it."""

    memory: int
    cores: int
    disk: int
    shm: int | None


def survey(folder: Path) -> Machine:
    """This machine, with the free disk of the file system that holds the folder."""
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        memory=min([psutil.virtual_memory().total, *cgroup_limits()]),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        disk=shutil.disk_usage(folder).free,
        shm=_shm_size() if sys.platform == "linux" else None,
    )


def cgroup_limits(membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Memory limits in bytes on this process, of its control groups (version 1 or 2) and of those above them."""
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
    """The text of the settings file, one comment a setting."""
    buffers = min(max(machine.memory // 8, 128 * MB), 256 * MB)
    wal = min(max(machine.disk // 4, 256 * MB), 8 * GB)
    roomy = machine.shm is None or machine.shm >= GB
    settings = [
        ("listen_addresses", "127.0.0.1", "this machine only"),
        ("port", str(port), "kept from start to start while it is free"),
        ("unix_socket_directories", "", "a socket's path may not be long, and that of this folder may be"),
        ("max_connections", "100", "the writers of a build, the Dagster instance's pools, people"),
        ("cluster_name", cluster_name, "shown by ps, so that each process can be told from other clusters'"),
        ("fsync", "on", "what was published survives a power cut"),
        ("wal_level", "minimal", "a COPY into a new table writes no log: nothing is replicated from here"),
        ("max_wal_senders", "0", "required by wal_level = minimal"),
        (
            "max_wal_size",
            f"{wal // MB}MB",
            "a whole load between two checkpoints: up to 8 GB, a quarter of the free disk",
        ),
        ("checkpoint_timeout", "30min", "checkpoints come from the amount written, not from the clock"),
        (
            "shared_buffers",
            f"{buffers // MB}MB",
            "128 to 256 MB: loads pass by it, the kernel caches the rest, and each new session maps it page by page",
        ),
        ("dynamic_shared_memory_type", "posix" if roomy else "mmap", "mmap where /dev/shm is below 1 GB"),
        ("max_worker_processes", str(max(8, machine.cores)), "room for the parallel workers and the server's own"),
        ("max_parallel_workers", str(machine.cores), "one a core"),
        (
            "io_method",
            "sync",
            "most reads are of the kernel's cache: handing one to a worker takes longer",
        ),
        ("jit", "off", "compiling costs more than it saves on these queries"),
        ("timezone", "UTC", "the same results everywhere"),
        ("log_timezone", "UTC", "as above"),
        ("lc_messages", "C", "messages are recognised by their text"),
        ("log_destination", "stderr", "into the log file that kpi opens and keeps within bounds"),
        ("logging_collector", "off", "as above"),
        ("log_line_prefix", "%m [%p] %a ", "when, which process, which run and asset"),
        ("log_min_messages", "warning", "errors and warnings of every session"),
        ("log_min_error_statement", "panic", "no statement is logged: some set passwords"),
        ("log_checkpoints", "off", "a line for each would only hide the errors"),
    ]
    lines = [f"{name} = '{value}'  # {why}" for name, value, why in settings]
    return "\n".join(
        [
            "# Written by kpi at each start, for this machine. What you set by ALTER SYSTEM goes before these lines.",
            "include 'postgres/postgresql.conf'",
            *lines,
            "",
        ]
    )
