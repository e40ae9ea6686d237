"""A disk of the server that is full: the build fails with the remedy, nothing changes, and with room it succeeds.

The disks are small file systems in memory, which only root may mount: elsewhere these tests are skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.embedded.postgres import installation
from kpi_assets.materialize.build import build
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.materialize.crash_points import COUNTS, GOOD_ROWS, THINGS, WIDE, WIDE_COUNTS, WIDE_ROWS, at
from kpi_assets_tests.other_server import Cluster
from kpi_assets_tests.pipeline_harness import DAY, GOOD, RAW_THINGS, PipelineHarness

MB = 1 << 20
SIZES = {"data": 256, "pg_wal": 40}  # MB of the disk


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mount a disk of so many MB."""
    place.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(place)]
    with suppress(FileNotFoundError):
        if os.geteuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0:
            try:
                yield place
            finally:
                subprocess.run(["umount", "--lazy", str(place)], check=True)
            return
    pytest.skip("nobody but root may mount a small disk")


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte; return the file that takes the room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(MB))
    return filler


@pytest.fixture(params=SIZES)
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cluster, Path]]:
    """A server whose data, or whose log of changes, lie on a small disk; and that disk."""
    with small_disk(tmp_path / "disk", SIZES[request.param]) as disk:
        place = (disk if request.param == "data" else tmp_path) / "server"
        with Cluster(place, installation() / "bin") as server:
            server.configure(max_wal_size="32MB", min_wal_size="32MB")
            if request.param == "pg_wal":
                server.stop()
                log = place / "cluster" / "pg_wal"
                owner = log.stat()
                shutil.move(log, disk / "pg_wal")
                log.symlink_to(disk / "pg_wal")
                for path in [disk, *disk.rglob("*")]:
                    os.chown(path, owner.st_uid, owner.st_gid)
                server.start()
            yield server, disk


def test_a_build_on_a_full_disk_fails_and_succeeds_once_there_is_room(
    lab: PipelineHarness, full: tuple[Cluster, Path]
) -> None:
    server, disk = full
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    context = replace(lab.context(), server=SecretStr(server.url))
    table = context.pipeline.table("raw.things")
    prepare(context.pipeline, context.server)
    lab.put_things(GOOD)
    verify(context, table, DAY)
    first = build(context, table, DAY)
    lab.put_things(WIDE)
    verify(context, table, DAY)

    with pytest.raises(WarehouseError, match=r"raw/things\.sql: building raw\.things failed \(") as failure:
        build(replace(context, on_progress=at("copying", lambda: fill(disk) and None)), table, DAY)

    (disk / "filler").unlink()
    server.start_if_it_ended()
    if disk in server.path.parents:
        assert "No space left on device" in str(failure.value)
        assert "make room on the server's disk" in str(failure.value)
    with psycopg.connect(make_conninfo(server.url, dbname=lab.name), autocommit=True) as after:
        assert after.execute(THINGS).fetchall() == GOOD_ROWS
        assert after.execute("select publish_id from ops.published").fetchall() == [(first.publish_id,)]
        assert build(context, table, DAY).rows == WIDE_ROWS
        assert after.execute(COUNTS).fetchall() == WIDE_COUNTS
        assert after.execute(
            "select count(*) from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'"
        ).fetchall() == [(1,)]
