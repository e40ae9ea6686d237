"""This machine: the disk below KPI_HOME, and the program of the embedded S3."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from kpi_assets.doctor.finding import Finding, advice, broken, ok
from kpi_assets.embedded import rclone_home, weed

GB = 1 << 30
NEEDED = {True: (1 * GB, 10 * GB), False: (GB // 10, GB)}  # by holds_data: broken below, advice below


def disk(home: Path, *, holds_data: bool) -> Iterator[Finding]:
    """Examine the free space where the embedded servers keep their data or the Dagster instance its output."""
    folder = next(path for path in (home.resolve(), *home.resolve().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    least, enough = NEEDED[holds_data]
    text = f"{free / GB:,.1f} GB free in {folder}"
    if free >= enough:
        yield ok("disk", text)
        return
    text += f": free at least {enough / GB:.0f} GB, or set KPI_HOME to another disk"
    yield advice("disk", text) if free >= least else broken("disk", text)


def object_store(home: Path, chosen: Path | None) -> Iterator[Finding]:
    """Examine the program of the embedded S3, and what an earlier version left in the home.

    Raises UserError if the program is missing.
    """
    program = weed.program(chosen)
    version = weed.version(program)
    text = f"SeaweedFS {version or 'of an unknown release'}, {program}"
    if version == weed.TRIED:
        yield ok("embedded S3", text)
    else:
        yield advice("embedded S3", f"{text}: this kpi_assets was tried with {weed.TRIED}, so take that release")
    for folder in rclone_home.set_aside(home):
        yield advice("embedded S3", f"{folder} holds files of objects that are in the object store now: remove it")
