"""`python -m bench.versions`: histories (SCD type 2), compared with `dbt snapshot`, and how their cost grows.

Customers of whom one in a hundred moves on each load_date. What counts is the wall time of the builds of the history,
each with its candidate, its checks and its ledger row; the raw table is built before and not timed. dbt takes a
snapshot of a table that holds the same rows. Then: a load_date on a short and on a long history, a late load_date
against the newest, five times the customers with the memory of the client, and joins of sales with versions.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table as Grid

from bench import customers, dbt_snapshot
from bench.__main__ import install, machine
from bench.context import BenchContext
from bench.load_form import peak_memory
from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.results import CheckResult
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.landing import land
from kpi_assets.sources.store import open_store

PIPELINE, BUCKET, HISTORY = "bench_versions", "kpi-bench-versions", "marts.dim_customers"
FILES = {
    "pipeline.yaml": f"""\
description: Customers with their history.
bucket: {BUCKET}
start_date: {customers.FIRST}
layers: {{raw: raw, marts: marts}}
""",
    "raw/customers.sql": """\
/* @asset
description: Customers as delivered.
owner: team:bench
grain: [customer_id]
storage: partitions
source: {object: "customers/{load_date}.csv", format: csv}
columns:
COLUMNS@end */
""",
    "marts/dim_customers.sql": """\
/* @asset
description: Customers with the history of where they live.
owner: team:bench
grain: [customer_id]
storage: history
history: {surrogate_key: customer_sk}
columns:
COLUMNSchecks:
  not_null: [city]
  reconcile: {source: raw.customers}
@end */
select customer_id, first_name, last_name, city, state, country, age_group
from raw.customers
where load_date = %(load_date)s
""",
}
AIMS = {"dbt": "<= 0.6", "long": "<= 1.3", "late": "<= 1.5", "large": "<= 5.5"}
MEMORY = 300  # MB
SALES = """
create table public.sales as
select n as sale_id, 'C' || lpad((1 + n * 7919::bigint % {customers})::text, 7, '0') as customer_id,
    date '{first}' + (n * 31 % {days})::integer as sold_on
from generate_series(1, {sales}) as n
"""
JOINS = {
    "current": "select count(d.city) from public.sales as s "
    "inner join marts.dim_customers as d on s.customer_id = d.customer_id and d.end_date is null",
    "as of the sale": "select count(d.city) from public.sales as s "
    "inner join marts.dim_customers as d on s.customer_id = d.customer_id "
    "and s.sold_on between d.effective_date and coalesce(d.end_date, 'infinity')",
}
out = Console(highlight=False)


class Shop:
    """A fresh database of the pipeline with so many customers."""

    def __init__(self, context: BenchContext, count: int) -> None:
        self.count, self._files = count, context.scratch / "files"
        self.url = context.fresh_database(PIPELINE)
        self.pipeline = load_pipelines(Path(os.environ["KPI_SQL_DIR"]))[PIPELINE]
        config = settings()
        assert config.postgres_url is not None
        prepare(self.pipeline, config.postgres_url)
        self._store = open_store(self.pipeline, config)
        self._build = BuildContext(self.pipeline, config.postgres_url, self._store, "bench", writers=config.writers)

    def land(self, number: int) -> Path:
        """Land the file of a load_date, and build the raw table from it."""
        path, table = self._files / f"{number}.csv", self.pipeline.table("raw.customers")
        customers.write(path, self.count, number)
        land(self._store, path, table.object_key(customers.day_of(number)), replace=True)
        verified = verify(self._build, table, customers.day_of(number))
        _exit_if_held(verified.results)
        self._built("raw.customers", number)
        return path

    def fold(self, number: int) -> float:
        """Build the history of a load_date, and return the seconds that it took."""
        os.sync()
        begun = time.perf_counter()
        self._built(HISTORY, number)
        return time.perf_counter() - begun

    def _built(self, name: str, number: int) -> None:
        _exit_if_held(build(self._build, self.pipeline.table(name), customers.day_of(number)).results)


def _exit_if_held(results: Iterable[CheckResult]) -> None:
    if problems := [result.message for result in results if result.blocks_publish]:
        sys.exit("; ".join(problems))


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.versions", description=__doc__)
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--load-dates", type=int, default=30, help="load_dates of the short history")
    parser.add_argument("--long", type=int, default=1_000, help="load_dates of the long history")
    parser.add_argument("--large", type=int, default=1_000_000, help="customers of the large history")
    parser.add_argument("--sales", type=int, default=1_000_000, help="rows that are joined with the long history")
    parser.add_argument("--repeat", type=int, default=3, help="load_dates of which the median counts")
    parser.add_argument("--without-dbt", action="store_true")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers and tools")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(first_five(options.memory_of)))
        return
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        environment = stack.environment()
        write_files(Path(scratch))
        os.environ.update(environment, KPI_SQL_DIR=str(Path(scratch) / "sql"))
        stack.make_bucket(BUCKET)
        context = BenchContext(
            Path(scratch), Path(scratch), environment["KPI_POSTGRES_URL"], environment, home / "tools"
        )
        report: dict[str, Any] = {"machine": machine(), "customers": options.customers}
        if not options.without_dbt:
            install(context.tools / "dbt-snapshot", dbt_snapshot.REQUIREMENTS)
            report["dbt"] = against_dbt(context, options.customers, options.load_dates)
        repeat = options.repeat
        report["short"] = on_history(Shop(context, options.customers), options.load_dates, repeat)
        shop = Shop(context, options.customers)
        report["long"] = on_history(shop, options.long, repeat)
        report["joins"] = joins(shop, options.sales, options.long)
        report["large"] = grown(context, options.customers, options.large)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def write_files(scratch: Path) -> None:
    """Write the files of the pipeline below a folder."""
    columns = "".join(f"  {name}: {{type: text, description: What the customer has.}}\n" for name in customers.COLUMNS)
    for name, text in FILES.items():
        path = scratch / "sql" / PIPELINE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("COLUMNS", columns))


def against_dbt(context: BenchContext, count: int, load_dates: int) -> dict[str, list[float]]:
    """Build the history and take snapshots in turns; exit if they hold other versions."""
    shop = Shop(context, count)
    seconds: dict[str, list[float]] = {"ours": [], "dbt": []}
    with dbt_snapshot.snapshots(context, customers.TYPES) as dbt:
        for number in range(load_dates):
            path = shop.land(number)
            with psycopg.connect(context.url(dbt_snapshot.DATABASE)) as connection:
                connection.execute("truncate raw.customers")
                with connection.cursor().copy("copy raw.customers from stdin (format csv, header)") as copy:
                    copy.write(path.read_bytes())
                connection.execute("analyze raw.customers")
            seconds["ours"].append(round(shop.fold(number), 3))
            os.sync()
            seconds["dbt"].append(round(dbt.take(), 3))
            out.print(f"load_date {number}: ours {seconds['ours'][-1]:.2f} s, dbt {seconds['dbt'][-1]:.2f} s")
    ours = facts_of(shop.url, f"select customer_id, city, end_date is null from {HISTORY}")
    theirs = facts_of(context.url(dbt_snapshot.DATABASE), dbt_snapshot.VERSIONS)
    if ours != theirs:
        sys.exit(f"They hold other versions, so the times do not count: {ours} and {theirs}")
    return seconds


def facts_of(url: str, versions: str) -> tuple[Any, ...]:
    """Return the number of versions, and a digest of their values."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            f"select count(*), md5(string_agg(v::text, e'\\n' order by v::text)) from ({versions}) as v".encode()
        ).fetchone()
    assert found is not None
    return found


def on_history(shop: Shop, load_dates: int, repeat: int) -> dict[str, list[float]]:
    """Make a history of so many load_dates, and build the next ones and late ones in its middle, in turns."""
    late = [load_dates // 2 + 2 * number for number in range(repeat)]
    shop.land(0)
    shop.fold(0)
    with psycopg.connect(shop.url) as connection:
        customers.make_long(connection, HISTORY, shop.count, load_dates - 1, late)
    seconds: dict[str, list[float]] = {"newest": [], "late": []}
    for number, day in enumerate(late):
        for name, each in (("newest", load_dates + number), ("late", day)):
            shop.land(each)
            seconds[name].append(round(shop.fold(each), 3))
            out.print(f"{load_dates} load_dates: {name} {seconds[name][-1]:.2f} s")
    query, parameters = customers.versions(shop.count, load_dates + repeat - 1, [])
    columns = ", ".join(["customer_sk", *customers.COLUMNS, "effective_date", "end_date"])
    stored = f"select {columns} from {HISTORY}"
    with psycopg.connect(shop.url) as connection:
        [(other,)] = connection.execute(
            f"select count(*) from (({query} except {stored}) union all ({stored} except {query})) as o".encode(),
            parameters,
        )
        found = connection.execute(f"select count(*), pg_total_relation_size('{HISTORY}') from {HISTORY}".encode())
        [(versions, size)] = found.fetchall()
    if other:
        sys.exit(f"{other} versions are not those of the load_dates, so the times do not count.")
    return {**seconds, "versions": versions, "megabytes": size >> 20}


def joins(shop: Shop, sales: int, load_dates: int) -> dict[str, Any]:
    """Join sales with the current versions, and with those of their day; return the seconds and the plans."""
    found: dict[str, Any] = {}
    with psycopg.connect(shop.url, autocommit=True) as connection:
        connection.execute("drop table if exists public.sales")
        values = {"customers": shop.count, "first": customers.FIRST, "days": load_dates, "sales": sales}
        connection.execute(SALES.format(**values).encode())
        connection.execute("vacuum analyze public.sales")
        for name, query in JOINS.items():
            runs = []
            for _ in range(3):
                begun = time.perf_counter()
                [(count,)] = connection.execute(query.encode()).fetchall()
                runs.append(round(time.perf_counter() - begun, 3))
            plan = [line for (line,) in connection.execute(f"explain (costs off) {query}".encode())]
            found[name] = {"seconds": runs, "rows": count, "plan": plan}
            out.print(f"join, {name}: {statistics.median(runs):.2f} s, {count:,} rows")
            out.print("\n".join(plan), soft_wrap=True)
    return found


def grown(context: BenchContext, count: int, large: int) -> dict[str, Any]:
    """Build five load_dates of so many and of many more customers, each in a process of its own."""
    found = {}
    for name, customers_ in (("usual", count), ("large", large)):
        context.fresh_database(PIPELINE)
        command = [sys.executable, "-m", "bench.versions", "--memory-of", str(customers_)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout)
        out.print(f"{customers_:,} customers: {found[name]}", soft_wrap=True)
    return found


def first_five(count: int) -> dict[str, Any]:
    """Build five load_dates in this process, and return the seconds of the history and the peak of memory."""
    with tempfile.TemporaryDirectory() as scratch:
        server, sql_dir = os.environ["KPI_POSTGRES_URL"], Path(os.environ["KPI_SQL_DIR"])
        shop = Shop(BenchContext(sql_dir, Path(scratch), server, {}, sql_dir), count)
        seconds = []
        for number in range(5):
            shop.land(number)
            seconds.append(round(shop.fold(number), 3))
    return {"seconds": seconds, "memory_mb": peak_memory()}


def show(report: dict[str, Any]) -> None:
    """Print a table of the ratios."""
    grid = Grid(title=f"{report['customers']:,} customers; {report['machine']['cores']} cores")
    for title in ("work", "seconds", "ratio", "aim"):
        grid.add_column(title, justify="left" if title == "work" else "right")
    ratios = report["ratios"] = {}

    def add(name: str, work: str, these: float, those: float) -> None:
        ratios[name] = round(these / those, 3)
        grid.add_row(work, f"{these:.2f} / {those:.2f}", f"{ratios[name]:.2f}", AIMS.get(name, ""))

    median = statistics.median
    if "dbt" in report:
        add("dbt", "the builds / dbt's snapshots", sum(report["dbt"]["ours"]), sum(report["dbt"]["dbt"]))
    add(
        "long", "a load_date, long / short history", median(report["long"]["newest"]), median(report["short"]["newest"])
    )
    for name in ("short", "long"):
        add("late", f"late / newest, {name}", median(report[name]["late"]), median(report[name]["newest"]))
    usual, large = report["large"]["usual"], report["large"]["large"]
    add("large", "large / usual, five load_dates", sum(large["seconds"]), sum(usual["seconds"]))
    times = [median(each["seconds"]) for each in report["joins"].values()]
    add("joins", "join as of the sale / current", times[1], times[0])
    out.print(grid)
    out.print(f"memory of the client: {large['memory_mb']} MB (aim < {MEMORY}), usual {usual['memory_mb']} MB")


if __name__ == "__main__":
    main()
