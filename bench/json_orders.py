"""`python -m bench.json_orders`: load orders as JSON lines, compared with dlt and with a hand-written job.

Ours reads the object from S3, where it has landed before: it is verified, loaded with the letters of each record,
indexed and audited, in a process of its own, so that its peak memory is known. dlt reads the file itself. The
hand-written job copies the lines into a jsonb column, and fills a typed table with an index from it. They take turns.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table as Grid

from bench import dlt_json
from bench.__main__ import install, machine
from bench.context import BenchContext
from kpi_assets.embedded.stack import Stack

PIPELINE = "bench_formats"  # bench.load_form loads its only table
OURS, BY_HAND = "ours", "by hand"
HEADER = """\
/* @asset
description: Orders as they were received.
owner: team:bench
grain: [record_no]
storage: partitions
source:
  object: orders/{load_date}/orders.json
  format: json
  position: record_no
  whole: raw_data
columns:
  order_id: {type: integer, description: Order.}
  user_id: {type: integer, description: User.}
  product_id: {type: integer, description: Product.}
  quantity: {type: integer, description: Pieces.}
  price: {type: "numeric(12,2)", description: Price of one piece.}
  status: {type: text, description: Status.}
  timestamp: {type: timestamp with time zone, description: When it was ordered.}
checks:
  not_null: [order_id, user_id, product_id, status, timestamp]
@end */
"""
SQL_BY_HAND = """\
create table typed as
select
    line as record_no,
    (r ->> 'order_id')::integer as order_id,
    (r ->> 'user_id')::integer as user_id,
    (r ->> 'product_id')::integer as product_id,
    (r ->> 'quantity')::integer as quantity,
    (r ->> 'price')::numeric(12, 2) as price,
    r ->> 'status' as status,
    (r ->> 'timestamp')::timestamptz as "timestamp",
    r as raw_data
from lines
"""
AIMS = {BY_HAND: "<= 2.0", **dict.fromkeys(dlt_json.WAYS, "<= 0.35")}  # our time as a share of theirs
MEMORY = 300  # MB
FACTS = "select count(*), sum(order_id::bigint), sum(quantity::bigint), sum(price::numeric) from {}"
out = Console(highlight=False)


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.json_orders", description=__doc__)
    parser.add_argument("--orders", type=int, default=500_000, help="records of the object")
    parser.add_argument("--repeat", type=int, default=3, help="loads of each, of which the median counts")
    parser.add_argument("--without-others", action="store_true", help="leave out dlt and the hand-written job")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers, samples and tools")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve()
    orders = written(home / f"json-{options.orders}", options.orders)
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        environment = stack.environment()
        stack.make_bucket("kpi-bench-json")
        context = BenchContext(
            orders.parent, Path(scratch), environment["KPI_POSTGRES_URL"], environment, home / "tools"
        )
        figures = measure(context, orders, options.repeat, with_others=not options.without_others)
    report = {"orders": options.orders, "bytes": orders.stat().st_size, "machine": machine(), **figures}
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def written(folder: Path, count: int) -> Path:
    """Return the file of the orders, and write it if it is missing."""
    path = folder / "orders.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        out.print(f"writing {count:,} orders ...")
        dice, begun = random.Random(1), datetime(2025, 6, 1, tzinfo=timezone.utc)
        aside = path.with_suffix(".aside")
        with aside.open("w") as file:
            for number in range(1, count + 1):
                record = {
                    "order_id": number,
                    "user_id": dice.randrange(1, 100_000),
                    "product_id": dice.randrange(1, 5_000),
                    "quantity": dice.randrange(1, 9),
                    "price": dice.randrange(100, 20_000) / 100,
                    "status": dice.choice(["paid", "pending", "cancelled", "refunded"]),
                    "timestamp": (begun + timedelta(seconds=dice.randrange(86_400))).isoformat(),
                }
                file.write(json.dumps(record) + "\n")
        aside.rename(path)
    return path


def measure(context: BenchContext, orders: Path, repeat: int, *, with_others: bool) -> dict[str, Any]:
    """Load with each in turns, and compare what they loaded."""
    folder = context.scratch / "sql" / PIPELINE
    (folder / "raw").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(
        "description: Orders as JSON.\nbucket: kpi-bench-json\nstart_date: 2025-01-01\nlayers: {raw: raw}\n"
    )
    (folder / "raw" / "orders.sql").write_text(HEADER)
    runs: dict[str, Callable[[], tuple[float, int, list[float]]]] = {OURS: lambda: ours(context, orders)}
    if with_others:
        install(context.tools / "dlt", dlt_json.REQUIREMENTS)
        runs[BY_HAND] = lambda: by_hand(context, orders)
        runs |= {way: partial(by_dlt, context, way, orders) for way in dlt_json.WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    memory: dict[str, list[int]] = {name: [] for name in runs}
    facts = set()
    for number in range(repeat):
        for name, run in runs.items():
            os.sync()
            wall, peak, found = run()
            seconds[name].append(round(wall, 2))
            memory[name].append(peak)
            facts.add(tuple(found))
            out.print(f"round {number + 1}: {name} {wall:.2f} s" + (f", {peak} MB" if peak else ""))
    if len(facts) > 1:
        sys.exit(f"They loaded other rows, so the times do not count: {sorted(facts)}")
    return {"seconds": seconds, "memory_mb": memory}


def ours(context: BenchContext, orders: Path) -> tuple[float, int, list[float]]:
    """Load with kpi_assets, in a process of its own; return its seconds, its peak memory, and facts of the rows."""
    url = context.fresh_database(PIPELINE)
    environment = {"KPI_SQL_DIR": str(context.scratch / "sql"), "KPI_BENCH_FILE": str(orders)}
    command = [sys.executable, "-m", "bench.load_form"]
    context.call([*command, "land"], **environment)
    done = json.loads(context.call([*command, "load"], **environment))
    out.print(", ".join(f"{phase} {seconds:.2f}" for phase, seconds in done["phases"].items()))
    return done["seconds"], done["memory_mb"], facts_of(url, "raw.orders")


def by_hand(context: BenchContext, orders: Path) -> tuple[float, int, list[float]]:
    """Copy the lines into a jsonb column, and fill a typed table with an index from it."""
    url = context.fresh_database("bench_json_by_hand")
    begun = time.perf_counter()
    with psycopg.connect(url) as connection:
        connection.execute("create table lines (line bigint generated always as identity, r jsonb)")
        # A quote and a delimiter that no JSON has, so that a line is a value.
        statement = r"copy lines (r) from stdin with (format csv, quote e'\x01', delimiter e'\x02')"
        with connection.cursor().copy(statement) as copy, orders.open("rb") as source:
            while block := source.read(1 << 20):
                copy.write(block)
        connection.execute(SQL_BY_HAND)
        connection.execute("create unique index on typed (record_no)")
        connection.execute("analyze typed")
    return time.perf_counter() - begun, 0, facts_of(url, "typed")


def by_dlt(context: BenchContext, way: str, orders: Path) -> tuple[float, int, list[float]]:
    """Load with dlt."""
    seconds, url = dlt_json.load(context, way, orders)
    return seconds, 0, facts_of(url, "raw.orders")


def facts_of(url: str, table: str) -> list[float]:
    """Return the number of rows, and sums of their columns."""
    with psycopg.connect(url) as connection:
        found = connection.execute(FACTS.format(table).encode()).fetchone()
    assert found is not None
    return [float(value) for value in found]


def show(report: dict[str, Any]) -> None:
    """Print a table of medians and ratios."""
    grid = Grid(title=f"{report['orders']:,} orders, {report['bytes'] >> 20} MB; {report['machine']['cores']} cores")
    for title in ("who", "median", "runs", "ours of it", "aim", "memory"):
        grid.add_column(title, justify="left" if title in {"who", "runs"} else "right")
    medians = {name: statistics.median(seconds) for name, seconds in report["seconds"].items()}
    report["ratios"] = {name: round(medians[OURS] / median, 3) for name, median in medians.items() if name != OURS}
    for name, seconds in report["seconds"].items():
        ratio, aim = report["ratios"].get(name), AIMS.get(name, "")
        peak = max(report["memory_mb"][name])
        grid.add_row(
            name,
            f"{medians[name]:.2f} s",
            ", ".join(f"{each:.2f}" for each in seconds),
            "" if ratio is None else f"{ratio:.2f}",
            aim,
            f"{peak} MB (aim < {MEMORY})" if peak else "",
        )
    out.print(grid)


if __name__ == "__main__":
    main()
