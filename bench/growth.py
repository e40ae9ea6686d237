"""`python -m bench.growth`: how the cost of `kpi run` grows with the rows of a load_date and with the load_dates.

Told are the time of twice the rows, the time of a late load_date beside an early one, the most memory of the command
and of the server's sessions, and the most disk while a load_date is built beside what its published tables take. With
the cores it is measured by running this, or the whole bench, under `taskset --cpu-list 0`: the servers inherit it.
Tables that look back are left out, as in the bench: what they read grows until their window is full.
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
from bench.place import LOAD_DATE, Place
from kpi_assets.embedded.stack import Stack

EVERY = 0.1  # seconds between two looks at memory and disk
out = Console(highlight=False)


def main() -> None:
    """Measure, and tell the ratios."""
    asked = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    asked.add_argument("--orders", type=int, default=1_710_000, help="orders of the larger sample; the other has half")
    asked.add_argument("--load-dates", type=int, default=40)
    asked.add_argument("--orders-a-day", type=int, default=50_000, help="orders of each of many load_dates")
    asked.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers and samples")
    asked.add_argument("--json", type=Path, help="where the figures go as JSON")
    options = asked.parse_args()
    home = options.home.resolve()
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        environment = stack.environment()
        stack.make_bucket("kpi-instacart")

        def place(orders: int) -> Place:
            return Place(sample(home, orders), Path(scratch), environment["KPI_POSTGRES_URL"], environment, home)

        report = {
            "machine": machine(),
            "rows": rows(place(options.orders // 2), place(options.orders), home),
            "load_dates": load_dates(place(options.orders_a_day), options.load_dates),
        }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def rows(half: Place, whole: Place, home: Path) -> dict[str, Any]:
    """Twice the rows."""
    figures: dict[str, Any] = {}
    for name, place in (("half", half), ("whole", whole)):
        ours.prepare(place)
        with watched(home / "home" / "postgres") as peaks:
            begun = time.perf_counter()
            ours.run(place)
            figures[name] = {"seconds": round(time.perf_counter() - begun, 2), **peaks}
        with psycopg.connect(place.url("instacart")) as connection:
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
    """In MB, told at the end: the most memory of `kpi`, of Postgres' sessions together beside what they share, and the
    most that the data folder grew by.
    """
    peaks = {"client_mb": 0, "sessions_mb": 0, "disk_mb": 0}
    ended = threading.Event()
    before = size_of(data)

    def look() -> None:
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

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def size_of(folder: Path) -> int:
    """Bytes of the files below."""
    done = subprocess.run(["du", "--summarize", "--bytes", folder], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0])


def load_dates(place: Place, count: int) -> dict[str, Any]:
    """Many load_dates, one after the other."""
    ours.prepare(place)
    first = date.fromisoformat(LOAD_DATE)
    seconds = []
    for number in range(count):
        day = str(first + timedelta(days=number))
        place.call([ours.KPI, "land", "instacart", "--load-date", day, "--from", place.files, "--replace"])
        begun = time.perf_counter()
        place.call([ours.KPI, "run", "instacart", "--load-date", day, "--select", ours.TABLES])
        seconds.append(round(time.perf_counter() - begun, 2))
    # The first makes the tables; single runs differ by a tenth.
    early, late = statistics.median(seconds[1:6]), statistics.median(seconds[-5:])
    found = {"seconds": seconds, "early": early, "late": late, "ratio": round(late / early, 2)}
    out.print(f"load_dates 2 to 6 take {early} s, the last five of {count} {late} s: {found['ratio']} times as long")
    return found


if __name__ == "__main__":
    main()
