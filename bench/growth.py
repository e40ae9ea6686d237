"""`python -m bench.growth`: measure how the cost of `kpi run` grows with rows and with load_dates.

It prints how much longer twice the rows take, how much longer a late load_date takes than an early one, the peak memory
of the command and of the server's sessions, and the peak disk usage of a build relative to its published tables. To
measure the effect of cores, run it under `taskset --cpu-list 0`; the servers inherit that. Tables with `lookback` are
left out, because what they read grows until their window is full.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
from rich.console import Console

from bench import ours
from bench.__main__ import machine, sample
from bench.context import LOAD_DATE, BenchContext
from kpi_assets.embedded.stack import Stack

EVERY = 0.1  # seconds between two measurements of memory and disk
out = Console(highlight=False)


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_710_000, help="orders of the larger sample; the other has half")
    parser.add_argument("--load-dates", type=int, default=40)
    parser.add_argument("--orders-a-day", type=int, default=50_000, help="orders of each of many load_dates")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers and samples")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve()
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        environment = stack.environment()
        stack.make_bucket("kpi-instacart")

        def context_of(orders: int) -> BenchContext:
            return BenchContext(sample(home, orders), Path(scratch), environment["KPI_POSTGRES_URL"], environment, home)

        report = {
            "machine": machine(),
            "rows": measure_rows(context_of(options.orders // 2), context_of(options.orders), home),
            "load_dates": measure_load_dates(context_of(options.orders_a_day), options.load_dates),
        }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure_rows(half: BenchContext, whole: BenchContext, home: Path) -> dict[str, Any]:
    """Build one load_date of a sample, and one of a sample of twice the size."""
    figures: dict[str, Any] = {}
    for name, context in (("half", half), ("whole", whole)):
        ours.prepare(context)
        with watched(home / "home" / "postgres") as peaks:
            begun = time.perf_counter()
            ours.run(context)
            figures[name] = {"seconds": round(time.perf_counter() - begun, 2), **peaks}
        with psycopg.connect(context.url("instacart")) as connection:
            row = connection.execute("select sum(size_bytes)::bigint, sum(rows)::bigint from ops.published").fetchone()
        assert row
        figures[name] |= {"published_mb": row[0] >> 20, "rows": row[1]}
        figures[name]["disk_of_published"] = round(figures[name]["disk_mb"] / figures[name]["published_mb"], 2)
        out.print(name, figures[name])
    figures["ratio"] = round(figures["whole"]["seconds"] / figures["half"]["seconds"], 2)
    out.print(f"twice the rows take {figures['ratio']} times as long")
    return figures


@contextmanager
def watched(data: Path) -> Iterator[dict[str, int]]:
    """Yield peaks in MB, which are complete when the context ends: memory, and the growth of the data folder.

    The memory is that of `kpi`, and that of all Postgres sessions together without what they share.
    """
    peaks = {"client_mb": 0, "sessions_mb": 0, "disk_mb": 0}
    ended = threading.Event()
    before = size_of(data)

    def measure() -> None:
        while not ended.wait(EVERY):
            sessions = 0
            for process in psutil.process_iter(["name", "memory_info"]):
                used = process.info["memory_info"]
                if process.info["name"] == "kpi":
                    peaks["client_mb"] = max(peaks["client_mb"], used.rss >> 20)
                elif process.info["name"] == "postgres" and used:
                    sessions += used.rss - used.shared
            peaks["sessions_mb"] = max(peaks["sessions_mb"], sessions >> 20)
            peaks["disk_mb"] = max(peaks["disk_mb"], (size_of(data) - before) >> 20)

    watcher = threading.Thread(target=measure)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    done = subprocess.run(["du", "--summarize", "--bytes", folder], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0])


def measure_load_dates(context: BenchContext, count: int) -> dict[str, Any]:
    """Run many load_dates, one after the other."""
    ours.prepare(context)
    first = date.fromisoformat(LOAD_DATE)
    seconds = []
    for number in range(count):
        day = str(first + timedelta(days=number))
        context.call([ours.KPI, "land", "instacart", "--load-date", day, "--from", context.files, "--replace"])
        begun = time.perf_counter()
        context.call([ours.KPI, "run", "instacart", "--load-date", day, "--select", ours.TABLES])
        seconds.append(round(time.perf_counter() - begun, 2))
    # The first run is left out, because it makes the tables. Medians, because single runs differ by a tenth.
    early, late = statistics.median(seconds[1:6]), statistics.median(seconds[-5:])
    found = {"seconds": seconds, "early": early, "late": late, "ratio": round(late / early, 2)}
    out.print(f"load_dates 2 to 6 take {early} s, the last five of {count} {late} s: {found['ratio']} times as long")
    return found


if __name__ == "__main__":
    main()
