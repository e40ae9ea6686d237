"""`python -m bench.realtime`: how old the events of a stream are when readers see them, and what that costs.

It runs `kpi up` with the pipeline realtime, and sends events to its broker with `kpi sample realtime`:

1. for some minutes at a steady rate. For each publish of the tile `marts.kpi_revenue_by_minute`, the age of the newest
   event in it; the CPU of the landing, of the live run and of their sessions on the server, and the memory of both;
   and how much Dagster's database grows, which is extrapolated to a day.
2. for some minutes at many times that rate: the seconds from the end until everything is built.

A short run says little about Dagster's storage, since each run of Dagster begins with more events than it goes on with.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console

from bench.__main__ import machine
from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import CHECKOUT

PIPELINE, TILE = "realtime", "marts.kpi_revenue_by_minute"
KPI = Path(sys.executable).with_name("kpi")
EVERY = 1.0  # seconds between two measurements
PATIENCE = 600.0  # seconds
TILES = f"select publish_id, published_at from ops.publishes where asset = '{TILE}'"  # ops keeps the last ones only
# When each batch was published of the last table that the tile reads, by stream, and its newest event.
ROLLUPS = {"clicks": "stg.clicks_by_minute", "order_events": "stg.orders_by_minute"}
BATCHES = "select batch, published_at from ops.batches where asset = %s and superseded_at is null"
NEWEST = "select batch, max(received_at) from raw.{0} group by batch"
THROUGH = "select max(through) from ops.growth"
out = Console(highlight=False)


@dataclass
class Used:
    """CPU seconds and the most memory of the processes of one part, by sampling."""

    cpu: float = 0.0
    most_bytes: int = 0
    _seen: dict[tuple[int, float], float] = field(default_factory=dict)

    def sample(self, process: psutil.Process, *, is_first: bool) -> None:
        """Add what a process has used since its last sample; all that it used if it began meanwhile."""
        with suppress(psutil.Error):
            times = process.cpu_times()
            key, used = (process.pid, process.create_time()), times.user + times.system
            self.cpu += used - self._seen.get(key, used if is_first else 0.0)
            self._seen[key] = used
            self.most_bytes = max(self.most_bytes, process.memory_info().rss)


class Running:
    """A running `kpi up` with the pipeline, and how programs are called there."""

    def __init__(self, folder: Path) -> None:
        path = Path(shutil.copytree(CHECKOUT / "sql" / PIPELINE, folder / "sql" / PIPELINE), "pipeline.yaml")
        path.write_text(path.read_text() + "automation: {start: sensor}\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KPI_", "AWS_", "DAGSTER_"))}
        places = {"KPI_HOME": str(folder / "home"), "KPI_SQL_DIR": str(folder / "sql")}
        self.environment = {**kept, **places, "KPI_SERVE_PORT": str(free_port())}
        self.home, self.log = folder / "home", folder / "up.log"
        self.tiles: dict[int, datetime] = {}

    @contextmanager
    def up(self) -> Iterator[None]:
        """Run it until the end of the context."""
        command = [KPI, "up", "--port", str(free_port())]
        with (
            self.log.open("w") as said,
            subprocess.Popen(command, env=self.environment, stdout=said, stderr=said) as process,
        ):
            self.process = psutil.Process(process.pid)
            try:
                self.until("kpi up is ready", lambda: "http://" in self.log.read_text())
                self.url = Stack(self.home).environment()["KPI_POSTGRES_URL"]
                yield
            finally:
                process.send_signal(signal.SIGINT)

    def until(self, what: str, fact: Any) -> float:
        """Wait for a fact; return the seconds."""
        begun = time.monotonic()
        while not fact():
            if not self.process.is_running() or time.monotonic() - begun > PATIENCE:
                sys.exit(f"{what}: not within {PATIENCE:.0f} seconds. {self.log.read_text()[-2000:]}")
            time.sleep(0.1)
        return time.monotonic() - begun

    def rows(self, query: str, *values: object, database: str = PIPELINE) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        url = make_conninfo(self.url, dbname=database, application_name="bench")
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def is_built_through(self, instant: datetime) -> bool:
        """Whether all events that the broker took before an instant are built."""
        [[through]] = self.rows(THROUGH)
        return through is not None and through > instant

    def send(self, rate: float, minutes: float) -> datetime:
        """Send events at a rate for some minutes, while `note` collects publishes; return when that ended."""
        words = ["sample", PIPELINE, "--rate", str(rate), "--minutes", str(minutes)]
        with subprocess.Popen([KPI, *words], env=self.environment, stdout=subprocess.DEVNULL) as sending:
            while sending.poll() is None:
                self.note()
                time.sleep(EVERY)
        if sending.returncode:
            sys.exit(f"kpi {' '.join(words)} ended with {sending.returncode}.")
        return datetime.now(timezone.utc)

    def note(self) -> None:
        """Collect the publishes of the tile, before the ledger forgets them."""
        self.tiles |= dict(self.rows(TILES))

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes of the landing, of live runs, and of the sessions of both, other ones left out."""
        found: dict[str, list[psutil.Process]] = {"landing": [], "builder": [], "sessions": []}
        for process in self.process.children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                part = "landing" if words[-2:] == ["stream", PIPELINE] else "builder"
                if part == "landing" or any("spawn_main" in word for word in words):
                    found[part].append(process)
        ours = "select pid from pg_stat_activity where datname = %s and application_name like 'kpi %%'"
        others = " and application_name not like '%%sensor%%' and application_name not like '%%serve%%'"
        with suppress(psycopg.Error):
            for [pid] in self.rows(ours + others, PIPELINE):
                with suppress(psutil.Error):
                    found["sessions"].append(psutil.Process(pid))
        return found

    @contextmanager
    def watched(self) -> Iterator[dict[str, Used]]:
        """Sample what the parts use, until the end of the context."""
        used = {part: Used() for part in ("landing", "builder", "sessions")}
        ended = threading.Event()

        def watch() -> None:
            is_first = True
            while not ended.wait(0 if is_first else EVERY / 2):
                for part, processes in self.processes().items():
                    for process in processes:
                        used[part].sample(process, is_first=is_first)
                is_first = False

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield used
        finally:
            ended.set()
            watcher.join()

    def ages(self, since: datetime, until: datetime) -> list[float]:
        """Return the age of the newest event in each publish of the tile within some time, in seconds."""
        found = {stream: dict(self.rows(NEWEST.format(stream))) for stream in ROLLUPS}
        batches = [
            (published_at, found[stream][batch])
            for stream, rollup in ROLLUPS.items()
            for batch, published_at in self.rows(BATCHES, rollup)
            if batch in found[stream]
        ]
        tiles = sorted(at for at in self.tiles.values() if since <= at <= until)
        known = [(at, [newest for published_at, newest in batches if published_at < at]) for at in tiles]
        return [(at - max(newest)).total_seconds() for at, newest in known if newest]


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that is not below so large a share of the values."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def main() -> None:
    """Measure, and print the figures beside their aims."""
    parser = argparse.ArgumentParser(prog="python -m bench.realtime", description=__doc__)
    parser.add_argument("--rate", type=float, default=50_000 / 60, help="events a second")
    parser.add_argument("--minutes", type=float, default=10, help="at that rate")
    parser.add_argument("--warm-up", type=float, default=3, help="minutes before that, until there are orders")
    parser.add_argument("--burst", type=float, default=10, help="the rate of the burst, as a multiple; 0: none")
    parser.add_argument("--burst-minutes", type=float, default=2)
    parser.add_argument(
        "--home", type=Path, default=Path(".bench"), help="folder of a new home, which is removed again"
    )
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    options.home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.home.resolve()) as folder:
        running = Running(Path(folder))
        with running.up():
            report = {"machine": machine(), "steady": steady(running, options.rate, options.warm_up, options.minutes)}
            if options.burst:
                report["burst"] = burst(running, options.rate * options.burst, options.burst_minutes)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def steady(running: Running, rate: float, warm_up: float, minutes: float) -> dict[str, Any]:
    """Send at a steady rate, after some minutes in which the first live run begins and the first orders are placed."""
    begun = running.send(rate, warm_up)
    running.until("the first events are built", lambda: running.is_built_through(begun))
    if not running.tiles:
        sys.exit("Nobody has ordered yet, so there is no tile: use a longer --warm-up.")
    size = "select pg_database_size('dagster')"
    [[before]] = running.rows(size)
    since = datetime.now(timezone.utc)
    with running.watched() as used:
        ended = running.send(rate, minutes)
    [[after]] = running.rows(size)
    seconds = (ended - since).total_seconds()
    ages = running.ages(since, ended)
    figures = {
        "publishes": len(ages),
        "age_p50": round(statistics.median(ages), 2),
        "age_p99": round(percentile(ages, 0.99), 2),
        **{f"cpu_{part}": round(each.cpu / seconds, 3) for part, each in used.items()},
        "cpu": round(sum(each.cpu for each in used.values()) / seconds, 3),
        **{f"mb_{part}": used[part].most_bytes >> 20 for part in ("landing", "builder")},
        "dagster_mb_a_day": round((after - before) / seconds * 86_400 / 1e6, 1),
    }
    out.print(f"{rate:,.0f} events a second for {seconds:.0f} s: {figures}")
    out.print("  aims: age p50 < 5 s, p99 < 15 s; CPU < 0.5 of a core; < 200 MB each; Dagster < 60 MB a day")
    return figures


def burst(running: Running, rate: float, minutes: float) -> dict[str, Any]:
    """Send at a high rate, and wait until all of it is built."""
    ended = running.send(rate, minutes)
    seconds = running.until("all is built", lambda: running.is_built_through(ended))
    [[events]] = running.rows(
        "select sum(records)::bigint from ops.batches where asset like 'raw.%' and superseded_at is null"
    )
    figures = {"rate": rate, "seconds_until_built": round(seconds, 1), "events_of_all": events}
    out.print(f"{rate:,.0f} events a second for {minutes:g} minutes: all built after {seconds:.1f} s (aim: 30 s)")
    return figures


if __name__ == "__main__":
    main()
