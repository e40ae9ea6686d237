"""`python -m bench.apis`: fetch from HTTP APIs, compared with dlt's source rest_api.

First one load_date of very many records in pages of 500: asked for, proven whole and landed by us; extracted by dlt,
which parses the records and writes them to a file; and the floor, a loop that only takes the pages. All ask the same
server, which repeats what the simulated retailer answered the first time (bench/page_server.py), in turns.

Then a backfill of all three retailers: `kpi backfill` from the start of the command to its end, with the star and all
its gates, and how much of it is not fetching; and dlt's load of the same records into Postgres, a run a load_date.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table as Grid

from bench import dlt_api
from bench.__main__ import install, machine
from bench.context import BenchContext
from bench.fetch_form import DAY
from bench.objects import empty_bucket
from bench.ours import KPI
from bench.page_server import in_front_of
from kpi_assets.embedded.stack import Stack
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples.retail.faults import Planted
from kpi_assets.samples.retail.generator import Retail, day_lines
from kpi_assets.settings import CHECKOUT
from kpi_assets.simulators.api import RETAILER_1
from kpi_assets.simulators.databases import connect, replace_day

PIPELINE = "retail"
LINES_OF_A_SALE = 1.7  # a few less than the simulated retailers have
OURS, DLT, FLOOR = "kpi_assets: proven, landed", "dlt, rest_api: extracted", "the pages alone"
BACKFILL, BEYOND, DLT_LOAD = "kpi backfill, with the star", "of it beyond its fetches", "dlt, rest_api: into Postgres"
AIMS = {DLT: "<= 0.5", BEYOND: "<= 2.0 s"}
FETCHED = """\
select coalesce(sum(execution_seconds), 0)::float from ops.pipeline_runs where job like 's3.%' and status = 'success'
"""
PUBLISHED = "select count(distinct load_date) from ops.published where asset = 'warehouse.fact_sales'"
out = Console(highlight=False)


@dataclass(frozen=True)
class Bench:
    """The servers and the pipeline; `urls` and `secrets` are those of its APIs."""

    context: BenchContext
    stack: Stack
    pipeline: Pipeline
    home: Path
    with_dlt: bool

    @property
    def urls(self) -> dict[str, str]:
        """The address of each API."""
        found: dict[str, str] = json.loads(self.context.environment["KPI_API_URLS"])[PIPELINE]
        return found

    @property
    def secrets(self) -> dict[str, str]:
        """The secret of each API."""
        found: dict[str, str] = json.loads(self.context.environment["KPI_API_SECRETS"])[PIPELINE]
        return found

    def pages(self, records: int, repeat: int) -> dict[str, Any]:
        """Fetch one load_date of so many records in each way, in turns; return the seconds and the memory."""
        folder = self.home / f"pages-{records}"
        with in_front_of(self.urls[RETAILER_1.name], folder) as url:
            if not (folder / "ready").exists():
                self._book(records)
                self._fetched("floor", url)
                (folder / "ready").touch()
            ways: dict[str, Callable[[], dict[str, Any]]] = {OURS: partial(self._fetched, "ours", url)}
            if self.with_dlt:
                ways[DLT] = partial(self._extracted, url)
            ways[FLOOR] = partial(self._fetched, "floor", url)
            found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
            for number in range(repeat):
                for way, run in ways.items():
                    os.sync()
                    each = run()
                    found[way].append(each)
                    took = f"{each['seconds']:.2f} s, CPU {each['cpu']:.2f} s, {each['memory_mb']} MB"
                    out.print(f"round {number + 1}: {way} {took}")
                    if each["records"] != records:
                        sys.exit(f"{way} has {each['records']} of {records} records: its time does not count.")
        return {
            "bytes": found[FLOOR][0]["bytes"],
            "seconds": {way: [round(each["seconds"], 2) for each in runs] for way, runs in found.items()},
            "cpu": {way: round(statistics.median(each["cpu"] for each in runs), 2) for way, runs in found.items()},
            "memory_mb": {way: max(each["memory_mb"] for each in runs) for way, runs in found.items()},
        }

    def _book(self, records: int) -> None:
        """Give the retailer a load_date of exactly so many records."""
        out.print(f"booking {records:,} records ...")
        blocks = day_lines(0, DAY, int(records / LINES_OF_A_SALE), 1, Planted(RETAILER_1, {}))
        with connect(self._server, RETAILER_1.database) as connection:
            replace_day(connection, RETAILER_1, DAY, _first_lines(blocks, records))

    @property
    def _server(self) -> SecretStr:
        return SecretStr(self.context.server)

    def _fetched(self, way: str, url: str) -> dict[str, Any]:
        """Fetch with bench.fetch_form, from another server than the environment names."""
        self.stack.make_bucket(self.pipeline.config.bucket)
        urls = json.dumps({PIPELINE: {**self.urls, RETAILER_1.name: url}})
        command = [sys.executable, "-m", "bench.fetch_form", way, "raw.retailer_1_sales", self.context.scratch]
        found: dict[str, Any] = json.loads(self.context.call(command, KPI_API_URLS=urls))
        return found

    def _extracted(self, url: str) -> dict[str, Any]:
        table = self.pipeline.table("raw.retailer_1_sales")
        source = dlt_api.source_of(self.pipeline, table, url, self.secrets, DAY)
        found = dlt_api.ask(self.context, "extract", [[source]])
        return {
            **found,
            "seconds": sum(found["seconds"]),
            "cpu": sum(found["cpu"]),
            "records": found["records"][table.relation.table],
        }

    def backfill(self, load_dates: int, sales: int) -> dict[str, Any]:
        """Let both load so many load_dates of all retailers; return the seconds of each."""
        out.print(f"booking {load_dates} load_dates of {sales:,} sales of each retailer ...")
        Retail(days=load_dates).fill(self._server, load_date=DAY, orders=sales, seed=1)
        found: dict[str, Any] = self._by_kpi(load_dates)
        if self.with_dlt:
            found |= self._by_dlt(load_dates)
            if found["rows"] != found["dlt_rows"]:
                sys.exit(f"They loaded other rows, so the times do not count: {found['rows']}, {found['dlt_rows']}.")
        return found

    def _by_kpi(self, load_dates: int) -> dict[str, Any]:
        """Fetch and build everything into an empty database, from objects that are not there."""
        with psycopg.connect(self.context.server, autocommit=True) as connection:
            connection.execute(f"drop database if exists {PIPELINE} with (force)".encode())
        self.stack.make_bucket(self.pipeline.config.bucket)
        empty_bucket(self.stack, self.pipeline.config.bucket)
        last = DAY + timedelta(days=load_dates - 1)
        begun = time.perf_counter()
        self.context.call([KPI, "backfill", PIPELINE, "--from", str(DAY), "--to", str(last)])
        seconds = time.perf_counter() - begun
        with psycopg.connect(self.context.url(PIPELINE)) as connection:
            [(published,)] = connection.execute(PUBLISHED).fetchall()
            [(fetching,)] = connection.execute(FETCHED).fetchall()
        if published != load_dates:
            sys.exit(f"{published} of {load_dates} load_dates are published: the time does not count.")
        return {
            "seconds": round(seconds, 1),
            "fetching": round(fetching, 1),
            "beyond_a_load_date": round((seconds - fetching) / load_dates, 2),
            "rows": self._rows(PIPELINE),
        }

    def _by_dlt(self, load_dates: int) -> dict[str, Any]:
        days = [DAY + timedelta(days=number) for number in range(load_dates)]
        runs = [
            [
                dlt_api.source_of(self.pipeline, table, self.urls[str(table.source.api)], self.secrets, day)
                for table in self.pipeline.object_tables
            ]
            for day in days
        ]
        found = dlt_api.ask(self.context, "run", runs)
        return {"dlt_seconds": round(sum(found["seconds"]), 1), "dlt_rows": self._rows(dlt_api.DATABASE)}

    def _rows(self, database: str) -> dict[str, int]:
        """Return the number of rows of each raw table."""
        with psycopg.connect(self.context.url(database)) as connection:
            names = [str(table.relation) for table in self.pipeline.object_tables]
            counts = [connection.execute(f"select count(*) from {name}".encode()).fetchall() for name in names]
        return {name: count for name, [(count,)] in zip(names, counts, strict=True)}


def _first_lines(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield the first lines of blocks of lines."""
    return islice((line for block in blocks for line in block.splitlines(keepends=True)), count)


def main() -> None:
    """Measure both parts, and print what they took."""
    parser = argparse.ArgumentParser(prog="python -m bench.apis", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records of the one load_date")
    parser.add_argument("--load-dates", type=int, default=90, help="load_dates of the backfill")
    parser.add_argument("--sales", type=int, default=2_000, help="sales of a retailer and load_date in the backfill")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of the first part, of which the median counts")
    parser.add_argument("--without-dlt", action="store_true", help="leave out dlt")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers, pages and tools")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    if not options.without_dlt:
        install(home / "tools" / "dlt", dlt_api.REQUIREMENTS)
    pipeline = load_pipelines(CHECKOUT / "sql")[PIPELINE]
    report: dict[str, Any] = {"machine": machine(), **vars(options), "home": str(home), "json": str(options.json)}
    apis = {PIPELINE: [*pipeline.config.apis]}
    with Stack(home / "apis", apis=apis) as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        environment = stack.environment()
        server = environment["KPI_POSTGRES_URL"]
        context = BenchContext(home, Path(scratch), server, environment, home / "tools")
        bench = Bench(context, stack, pipeline, home, with_dlt=not options.without_dlt)
        report["pages"] = bench.pages(options.records, options.repeat)
        report["backfill"] = bench.backfill(options.load_dates, options.sales)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def show(report: dict[str, Any]) -> None:
    """Print a table of each part."""
    pages, cores = report["pages"], report["machine"]["cores"]
    medians = {way: statistics.median(seconds) for way, seconds in pages["seconds"].items()}
    report["ratios"] = {way: round(medians[OURS] / median, 2) for way, median in medians.items() if way != OURS}
    title = f"{report['records']:,} records in pages of 500, {pages['bytes'] >> 20} MB; {cores} cores"
    grid = Grid(title=title)
    for name in ("way", "median", "runs", "ours of it", "aim", "CPU", "memory"):
        grid.add_column(name, justify="left" if name in {"way", "runs"} else "right")
    for way, seconds in pages["seconds"].items():
        runs = ", ".join(f"{each:.1f}" for each in seconds)
        ratio = f"{report['ratios'][way]:.2f}" if way in report["ratios"] else ""
        cpu, memory = f"{pages['cpu'][way]:.1f} s", f"{pages['memory_mb'][way]} MB"
        grid.add_row(way, f"{medians[way]:.1f} s", runs, ratio, AIMS.get(way, ""), cpu, memory)
    out.print(grid)
    found, load_dates = report["backfill"], report["load_dates"]
    title = f"{load_dates} load_dates of 3 retailers with {report['sales']:,} sales each: {found['rows']}"
    grid = Grid(title=title)
    for name in ("way", "seconds", "a load_date", "aim"):
        grid.add_column(name, justify="left" if name == "way" else "right")
    rows = {BACKFILL: found["seconds"], BEYOND: found["seconds"] - found["fetching"]}
    for way, seconds in (rows | ({DLT_LOAD: found["dlt_seconds"]} if "dlt_seconds" in found else {})).items():
        grid.add_row(way, f"{seconds:.1f} s", f"{seconds / load_dates:.2f} s", AIMS.get(way, ""))
    out.print(grid)


if __name__ == "__main__":
    main()
