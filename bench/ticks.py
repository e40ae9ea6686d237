"""`python -m bench.ticks`: what a tick costs on a load_date that already holds millions of events.

It writes a day of the pipeline realtime as `kpi stream` lands it, without a broker, and lets ticks take it. Then it lands
the day's last minutes one by one, with a tick for each, and after them the first minutes of the next day, which is
empty. The ratio of both medians says whether a tick costs what is new, or what is there.
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
from kpi_assets.materialize.tick import Seen, Tick, tick
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.generator import CONTRACT, messages
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets.sources.store import open_store

DAY = 86_400
WARM = 3  # ticks of each load_date that do not count: the first ones make its tables and build what rests afterwards
PUT_AT_ONCE = 2000  # objects, which are in memory meanwhile
out = Console(highlight=False, soft_wrap=True)
Minute = list[bronze.Placed]


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


def minutes(first: date, events: int) -> Iterator[Minute]:
    """Yield the objects of each minute of a shop that opens at the start of a day and has so many events a day."""
    opening = datetime.combine(first, datetime.min.time(), timezone.utc)
    sent = bronze.events(messages(opening, events / DAY))
    for _, placed in groupby(sent, key=lambda each: each[1].time_ms // 60_000):
        yield list(bronze.objects(placed))


def records(done: Tick) -> int:
    """Return how many events a tick took from the objects."""
    return sum(each.records for each in done.grown if str(each.relation).startswith("raw."))


def measure(pipeline: Pipeline, servers: Servers, events: int, ticks: int) -> dict[str, Any]:
    """Fill a load_date, then time ticks on it and on the next one."""
    assert servers.stack is not None
    stack, bucket = servers.stack, pipeline.config.bucket
    full = datetime.now(timezone.utc).date() - timedelta(days=7)
    empty = full + timedelta(days=1)
    prepare(pipeline, servers.postgres)
    found = minutes(full, events)
    context = BuildContext(pipeline, servers.postgres, open_store(pipeline, servers.settings), run_id="bench-ticks")

    def land(objects: Sequence[bronze.Placed]) -> None:
        bodies = {each.key(f"raw/{each.stream}/load_date={each.load_date}/"): each.body(CONTRACT) for each in objects}
        put_objects(stack, bucket, bodies)

    def timed(load_date: date, seen: Seen) -> tuple[float, Tick]:
        begun = time.perf_counter()
        done = tick(context, load_date, seen=seen)
        if done.failed or done.held:
            sys.exit(f"{load_date}: {done.failed or done.held}")
        return time.perf_counter() - begun, done

    def each_minute(load_date: date, seen: Seen) -> list[float]:
        seconds, landed, taken = [], 0, 0
        for minute in islice(found, WARM + ticks):
            land(minute)
            landed += sum(len(each.events) for each in minute if each.load_date == load_date)
            took, done = timed(load_date, seen)
            seconds.append(round(took, 3))
            taken += records(done)
        if not 0.99 < taken / landed < 1.01:  # the first link of a partition is found by a listing, which waits
            sys.exit(f"{load_date}: {landed} events were landed in those minutes, and {taken} were taken.")
        return seconds[WARM:]

    with context.sharing_sessions() as context:
        begun, held, waiting = time.monotonic(), 0, []
        for minute in islice(found, 24 * 60 - WARM - ticks):
            held += sum(len(each.events) for each in minute)
            waiting += minute
            if len(waiting) >= PUT_AT_ONCE:
                land(waiting)
                waiting = []
                out.print(f"{held:,} events landed after {time.monotonic() - begun:.0f} s")
        land(waiting)
        seen = Seen()
        begun = time.monotonic()
        while (done := timed(full, seen)[1]).grown:
            out.print(f"{records(done):,} events more built after {time.monotonic() - begun:.0f} s")
        filled = time.monotonic() - begun
        of_full, of_empty = each_minute(full, seen), each_minute(empty, Seen())
    ratio = statistics.median(of_full) / statistics.median(of_empty)
    figures = {
        "events": held,
        "filled_seconds": round(filled, 1),
        "full": of_full,
        "empty": of_empty,
        "ratio": round(ratio, 2),
    }
    out.print(f"{held:,} events were built in {filled:.0f} s, {held / filled:,.0f} a second")
    for name in ("full", "empty"):
        out.print(f"a tick on the {name} load_date: {statistics.median(figures[name]):.2f} s, {figures[name]}")
    out.print(f"ratio {ratio:.2f} (aim: at most 2.0)")
    return figures


if __name__ == "__main__":
    main()
