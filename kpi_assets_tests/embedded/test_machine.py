"""The settings of PostgreSQL that follow from the machine."""

import re
from pathlib import Path

import pytest

from kpi_assets.embedded.machine import GB, MB, Machine, cgroup_limits, postgres_conf


def settings(memory: int = 8 * GB, cores: int = 2, disk: int = 100 * GB, shm: int | None = 64 * MB) -> dict[str, str]:
    text = postgres_conf(Machine(memory, cores, disk, shm), 20001, "kpi-name")
    return dict(re.findall(r"^(\w+) = '(.*)'  # ", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("memory", "buffers"),
    [(512 * MB, "128MB"), (1 * GB, "128MB"), (1536 * MB, "192MB"), (2 * GB, "256MB"), (64 * GB, "256MB")],
)
def test_shared_buffers_are_an_eighth_of_the_memory_within_bounds(memory: int, buffers: str):
    assert settings(memory=memory)["shared_buffers"] == buffers


@pytest.mark.parametrize(
    ("disk", "wal"), [(100 * GB, "8192MB"), (32 * GB, "8192MB"), (4 * GB, "1024MB"), (100 * MB, "256MB")]
)
def test_the_size_of_the_wal_follows_the_disk(disk: int, wal: str):
    assert settings(disk=disk)["max_wal_size"] == wal


@pytest.mark.parametrize(("shm", "kind"), [(64 * MB, "mmap"), (0, "mmap"), (GB, "posix"), (None, "posix")])
def test_the_kind_of_shared_memory_follows_its_size(shm: int | None, kind: str):
    assert settings(shm=shm)["dynamic_shared_memory_type"] == kind


def test_the_number_of_workers_follows_the_cores():
    assert (settings(cores=2)["max_parallel_workers"], settings(cores=2)["max_worker_processes"]) == ("2", "8")
    assert (settings(cores=24)["max_parallel_workers"], settings(cores=24)["max_worker_processes"]) == ("24", "24")


def test_memory_limits_of_control_groups_are_read(tmp_path: Path):
    membership, mount = tmp_path / "membership", tmp_path / "cgroup"
    for file, text in {
        "memory.max": "max\n",
        "slice/memory.max": f"{2 * GB}\n",
        "slice/unit/memory.max": "max\n",
        "elsewhere/memory.max": "1\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/docker/memory.limit_in_bytes": f"{3 * GB}\n",
    }.items():
        (mount / file).parent.mkdir(parents=True, exist_ok=True)
        (mount / file).write_text(text)
    membership.write_text("0::/slice/unit\n")
    assert list(cgroup_limits(membership, mount)) == [2 * GB]
    membership.write_text("9:name=systemd:/x\n4:cpu,memory:/docker\n3:cpuset:/\n")
    assert list(cgroup_limits(membership, mount)) == [3 * GB, 9223372036854771712]
    membership.write_text("4:memory:/not/visible/in/here\n")
    assert list(cgroup_limits(membership, mount)) == [9223372036854771712]
    assert list(cgroup_limits(tmp_path / "no such file", mount)) == []
