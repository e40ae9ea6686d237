"""This machine: the disk below KPI_HOME."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from kpi_assets.doctor.finding import Finding, advice, broken, ok

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
