"""`python -m bench.diff`: compare two sides of a table by key as `kpi diff` does, against a bare full join of the same.

Both sides are tables with the unique index of a candidate; one row in 2,000 differs, one in 10,000 is gone and as many
are new. The bare join compares the columns too, and only counts: it lists no key and adds nothing up. A join that
compares no column is timed as well, for what the comparison itself costs. They take turns; the medians count.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from psycopg import Connection, sql
from rich.console import Console

from bench.__main__ import machine
from kpi_assets.embedded.stack import Servers, embedded_servers
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.read.diff import compare
from kpi_assets.read.sides import Side
from kpi_assets.settings import Settings
from kpi_assets.warehouse.connection import connect, own_database

PIPELINE, AIM = "bench_diff", 2.0
CHANGED_EVERY, GONE_EVERY = 2_000, 10_000
FILES = {
    "pipeline.yaml": """\
description: Rows to compare.
bucket: kpi-bench-diff
start_date: 2025-01-01
layers: {raw: raw}
""",
    "raw/lines.sql": """\
/* @asset
description: Order lines.
owner: team:bench
grain: [line_id]
storage: partitions
source: {object: "lines/{load_date}.csv", format: csv}
columns:
  line_id: {type: bigint, description: Line.}
  order_id: {type: integer, description: Order.}
  product_id: {type: integer, description: Product.}
  quantity: {type: smallint, description: Pieces.}
  price: {type: "numeric(10,2)", description: Price.}
  status: {type: text, description: What became of it.}
@end */
""",
}
LINES = """
create unlogged table public.{name} with (autovacuum_enabled = false) as
select date '2025-03-01' as load_date, n as line_id, (n / 10)::integer as order_id,
    (n * 7919 % 50000)::integer as product_id, (n % 5 + 1)::smallint as quantity,
    (n % 900 / 10.0 + 1 + c.changed)::numeric(10,2) as price,
    (array['paid', 'shipped', 'returned', 'lost'])[case c.changed when 1 then 4 else n % 3 + 1 end] as status
from generate_series({first}::bigint, {last}) as n,
    lateral (select ({changed} = 1 and n % {every} = 7)::integer) as c (changed)
"""
BARE = """
select count(*) filter (where a.load_date is null), count(*) filter (where b.load_date is null), count(*)
from public.before as a full join public.after as b on a.line_id = b.line_id
where a.load_date is null or b.load_date is null
"""
COMPARED = """
or a.order_id is distinct from b.order_id or a.product_id is distinct from b.product_id
or a.quantity is distinct from b.quantity or a.price is distinct from b.price or a.status is distinct from b.status
"""
out = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench.diff", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of each side")
    parser.add_argument("--repeat", type=int, default=3, help="rounds, of which the median counts")
    parser.add_argument(
        "--home", type=Path, default=Path(".bench"), help="folder of a new home, which is removed again"
    )
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.home.resolve()) as folder:
        for name, text in FILES.items():
            path = Path(folder) / "sql" / PIPELINE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        pipeline = load_pipelines(Path(folder) / "sql")[PIPELINE]
        settings = Settings(home=Path(folder) / "home", sql_dir=Path(folder) / "sql")
        with embedded_servers(settings, [pipeline]) as servers:
            figures = measure(servers, pipeline.table("raw.lines"), options.rows, options.repeat)
    report = {"rows": options.rows, "machine": machine(), **figures}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(servers: Servers, table: Table, rows: int, repeat: int) -> dict[str, Any]:
    """Make both sides, and time the ways in turns. Exits if they find other numbers of keys."""
    gone = max(1, rows // GONE_EVERY)
    seconds: dict[str, list[float]] = {"kpi diff": [], "bare join": [], "join of keys": []}
    with connect(servers.postgres, own_database(servers.postgres), "bench") as connection:
        fill(connection, rows, gone)
        expected = (gone, gone, sum(n > gone for n in range(7, rows + 1, CHANGED_EVERY)))
        for round_ in range(1, repeat + 1):
            for name, found in seconds.items():
                os.sync()
                begun = time.perf_counter()
                counts = of_way(connection, table, name)
                found.append(round(time.perf_counter() - begun, 3))
                if name != "join of keys" and counts != expected:
                    sys.exit(f"{name} found {counts} keys that came, went and changed, and there are {expected}.")
                out.print(f"round {round_}: {name} {found[-1]:.2f} s")
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratio = medians["kpi diff"] / medians["bare join"]
    for name, median in medians.items():
        out.print(f"{name}: {median:.2f} s")
    out.print(f"ratio {ratio:.2f} (aim: at most {AIM})")
    return {"seconds": seconds, "differing": sum(expected), "ratio": round(ratio, 3)}


def fill(connection: Connection[Any], rows: int, gone: int) -> None:
    """Make the tables of both sides, as a build leaves its candidate: with the index of the grain, and analyzed."""
    for name, first, last, changed in (("before", 1, rows, 0), ("after", gone + 1, rows + gone, 1)):
        connection.execute(
            LINES.format(name=name, first=first, last=last, changed=changed, every=CHANGED_EVERY).encode()
        )
    for name in ("before", "after"):
        connection.execute(f"create unique index on public.{name} (line_id)".encode())
        connection.execute(f"vacuum (analyze) public.{name}".encode())


def of_way(connection: Connection[Any], table: Table, name: str) -> tuple[int, int, int]:
    """Compare in one of the ways; return how many keys came, went and changed."""
    if name == "kpi diff":
        before, after = (Side(each, sql.SQL(f"public.{each}"), table.types) for each in ("before", "after"))
        found = compare(connection, table, before, after, each=5, cut=True)
        return found.came, found.went, found.changed
    query = BARE + COMPARED * (name == "bare join")
    [(came, went, differing)] = connection.execute(query.encode()).fetchall()
    return came, went, differing - came - went


if __name__ == "__main__":
    main()
