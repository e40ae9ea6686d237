"""`python -m bench.ticks`: what a tick costs on a load_date that already holds millions of events.

It writes a day of the pipeline realtime as `kpi stream` lands it, without a broker, and lets ticks take it. Then it
lands the day's last minutes one by one, with a tick for each, and after them the first minutes of the next day, which
is empty. The ratio of both medians says whether a tick costs what is new, or what is there.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.__main__ import machine
from bench.objects import put_objects
from kpi_assets.embedded.stack import Servers, embedded_servers
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.tick import Seen, tick
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.generator import CONTRACT, messages
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets.sources.store import open_store

DAY = 86_400
WARM = 3  # ticks of each load_date that do not count: the first ones make its tables and build what rests afterwards
QUIET, PATIENCE = (
    65.0,
    600.0,
)  # seconds without an autovacuum worker, who come once a minute, and seconds to wait for that
PUT_AT_ONCE = 2000  # objects, which are in memory meanwhile
out = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench.ticks", description=__doc__)
    parser.add_argument("--events", type=int, default=6_000_000, help="events of the full load_date")
    parser.add_argument("--ticks", type=int, default=20, help="ticks that are measured on each load_date")
    parser.add_argument(
        "--home", type=Path, default=Path(".bench"), help="folder of a new home, which is removed again"
    )
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    options.home.mkdir(exist_ok=True)
    pipeline = load_pipelines(CHECKOUT / "sql")["realtime"]
    with (
        tempfile.TemporaryDirectory(dir=options.home.resolve()) as folder,
        embedded_servers(Settings(home=Path(folder) / "home", sql_dir=CHECKOUT / "sql"), [pipeline]) as servers,
    ):
        report = {"machine": machine(), **measure(pipeline, servers, options.events, options.ticks)}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def minutes(first: date, events: int) -> Iterator[list[bronze.Placed]]:
    """Yield the objects of each minute of a shop that opens at the start of a day and has so many events a day."""
    opening = datetime.combine(first, datetime.min.time(), timezone.utc)
    sent = bronze.events(messages(opening, events / DAY))
    for _, placed in groupby(sent, key=lambda each: each[1].time_ms // 60_000):
        yield list(bronze.objects(placed))


class Shop:
    """A pipeline whose load_dates are filled minute by minute: with what a shop sends from one day on."""

    def __init__(self, pipeline: Pipeline, servers: Servers, first: date, events: int) -> None:
        assert servers.stack is not None
        self.stack, self.bucket = servers.stack, pipeline.config.bucket
        prepare(pipeline, servers.postgres)
        store = open_store(pipeline, servers.settings)
        self.context = BuildContext(pipeline, servers.postgres, store, run_id="bench-ticks")
        self.minutes = minutes(first, events)

    def land(self, objects: Sequence[bronze.Placed]) -> None:
        """Put objects where `kpi stream` would."""
        bodies = {each.key(f"raw/{each.stream}/load_date={each.load_date}/"): each.body(CONTRACT) for each in objects}
        put_objects(self.stack, self.bucket, bodies)

    def land_minutes(self, count: int) -> int:
        """Land some minutes; return how many events they have."""
        events, waiting, begun = 0, [], time.monotonic()
        for minute in islice(self.minutes, count):
            events += sum(len(each.events) for each in minute)
            waiting += minute
            if len(waiting) >= PUT_AT_ONCE:
                self.land(waiting)
                waiting = []
                out.print(f"{events:,} events landed after {time.monotonic() - begun:.0f} s")
        self.land(waiting)
        return events

    def tick(self, load_date: date, seen: Seen) -> tuple[float, int]:
        """Make a tick; return its seconds, and how many events it took."""
        begun = time.perf_counter()
        done = tick(self.context, load_date, seen=seen)
        if done.failed or done.held:
            sys.exit(f"{load_date}: {done.failed or done.held}")
        taken = sum(each.records for each in done.grown if str(each.relation).startswith("raw."))
        return time.perf_counter() - begun, taken

    def catch_up(self, load_date: date, seen: Seen) -> float:
        """Make ticks until one takes nothing; return the seconds."""
        begun, taken = time.monotonic(), 1
        while taken:
            _, taken = self.tick(load_date, seen)
            out.print(f"{taken:,} events more built after {time.monotonic() - begun:.0f} s")
        return time.monotonic() - begun

    def settle(self) -> None:
        """Wait until autovacuum was at what was just loaded, as it is on a day whose events came one by one."""
        working = "select count(*) from pg_stat_activity where backend_type = 'autovacuum worker'"
        begun, quiet_since = time.monotonic(), time.monotonic()
        with self.context.ledger_session("bench-ticks") as session:
            while time.monotonic() - quiet_since < QUIET and time.monotonic() - begun < PATIENCE:
                if session.execute(working).fetchone() != (0,):
                    quiet_since = time.monotonic()
                time.sleep(0.2)
        out.print(f"autovacuum was through after {quiet_since - begun:.0f} s more")

    def tick_each_minute(self, load_date: date, seen: Seen, count: int) -> list[float]:
        """Land a minute and make a tick, again and again; return the seconds of the ticks."""
        seconds, landed, taken = [], 0, 0
        for minute in islice(self.minutes, count):
            self.land(minute)
            landed += sum(len(each.events) for each in minute if each.load_date == load_date)
            took, events = self.tick(load_date, seen)
            seconds.append(round(took, 3))
            taken += events
        if not 0.99 < taken / landed < 1.01:  # the first link of a partition is found by a listing, which waits
            sys.exit(f"{load_date}: {landed} events were landed in those minutes, and {taken} were taken.")
        return seconds


def measure(pipeline: Pipeline, servers: Servers, events: int, ticks: int) -> dict[str, Any]:
    """Fill a load_date, then time ticks on it and on the next one."""
    full = datetime.now(timezone.utc).date() - timedelta(days=7)
    shop, seen = Shop(pipeline, servers, full, events), Seen()
    with shop.context.sharing_sessions() as shop.context:
        held = shop.land_minutes(24 * 60 - WARM - ticks)
        filled = shop.catch_up(full, seen)
        shop.settle()
        of_full = shop.tick_each_minute(full, seen, WARM + ticks)[WARM:]
        of_empty = shop.tick_each_minute(full + timedelta(days=1), Seen(), WARM + ticks)[WARM:]
    ratio = statistics.median(of_full) / statistics.median(of_empty)
    out.print(f"{held:,} events were built in {filled:.0f} s, {held / filled:,.0f} a second")
    for name, seconds in (("full", of_full), ("empty", of_empty)):
        out.print(f"a tick on the {name} load_date: {statistics.median(seconds):.2f} s, {seconds}")
    out.print(f"ratio {ratio:.2f} (aim: at most 2.0)")
    return {
        "events": held,
        "filled_seconds": round(filled, 1),
        "full": of_full,
        "empty": of_empty,
        "ratio": round(ratio, 2),
    }


if __name__ == "__main__":
    main()
