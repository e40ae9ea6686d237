"""Lands one file (`land`), or loads it and prints the seconds and the peak memory (`load`), for `bench.formats`
and `bench.json_orders`.

Each is a process of its own, as `kpi land` and `kpi run` are, so that the memory of one does not count for the other.
"""

import json
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from bench.context import LOAD_DATE
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.landing import land
from kpi_assets.sources.store import open_store


def main() -> None:
    """Do what the argument says."""
    config = settings()
    pipeline = load_pipelines(config.sql_dir)["bench_formats"]
    [table] = pipeline.tables.values()
    store, load_date = open_store(pipeline, config), date.fromisoformat(LOAD_DATE)
    if sys.argv[1] == "land":
        land(store, Path(os.environ["KPI_BENCH_FILE"]), table.object_key(load_date), replace=True)
        return
    assert config.postgres_url is not None
    prepare(pipeline, config.postgres_url)
    context = BuildContext(pipeline, config.postgres_url, store, "bench", writers=config.writers)
    print(json.dumps(load(context, table, load_date)))


def load(context: BuildContext, table: Table, load_date: date) -> dict[str, Any]:
    """Verify the object and build its table; the seconds are those of both."""
    begun = time.perf_counter()
    verified = verify(context, table, load_date)
    outcome = build(context, table, load_date)
    seconds = time.perf_counter() - begun
    problems = [result.message for result in (*verified.results, *outcome.results) if result.blocks_publish]
    if problems:
        sys.exit("; ".join(problems))
    return {
        "seconds": seconds,
        "memory_mb": peak_memory(),
        "checksum": outcome.checksum,
        "rows": outcome.rows,
        "phases": outcome.seconds,
    }


def peak_memory() -> int:
    """Return the most megabytes that this process had; getrusage would count those of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


if __name__ == "__main__":
    main()
