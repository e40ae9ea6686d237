"""`python -m bench.rules`: build a staging table of orders without rules, and with five that set rows aside.

One of the rules is a foreign key to products whose ids have gaps. Both tables are built from the same raw table in
turns, each with its index and its checks; some hundred rows break a rule. What counts is the wall time of the build.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

from rich.console import Console

from bench.__main__ import machine
from bench.context import LOAD_DATE
from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext, BuildOutcome
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.store import open_store

PIPELINE = "bench_rules"
AIM = "<= 1.25"
PRODUCTS = 5_000
BAD_EVERY = 997  # one order of so many breaks a rule
RAW = """\
/* @asset
description: {name} as delivered.
owner: team:bench
grain: [{grain}]
storage: partitions
source: {{object: "{name}/{{load_date}}.csv", format: csv}}
columns:
{columns}@end */
"""
ORDERS = """\
  order_id: {type: integer, description: Order.}
  user_id: {type: integer, description: User.}
  product_id: {type: integer, description: Product.}
  quantity: {type: integer, description: Pieces.}
  price: {type: "numeric(12,2)", description: Price of one piece.}
  status: {type: text, description: What became of it.}
"""
STAGED = """\
/* @asset
description: Orders that can be counted.
owner: team:bench
grain: [order_id]
storage: partitions
{rules}columns:
{columns}  revenue: {{type: numeric, description: Revenue.}}
checks:
  min_rows: {{at_least: 1}}
  reconcile: {{source: raw.orders}}
@end */
select
    order_id,
    user_id,
    product_id,
    quantity,
    price,
    status,
    quantity * price as revenue
from raw.orders
where load_date = %(load_date)s
"""
RULES = """\
quarantine:
  share: 0.01
  rules:
    not_null: [user_id]
    accepted_values: {status: [paid, pending, cancelled, refunded]}
    range: {quantity: [1, 100]}
    foreign_key: {product_id: raw.products.product_id}
    revenue_is_positive: {bad_rows: "select * from {this} where revenue <= 0"}
"""
out = Console(highlight=False)


def main() -> None:
    """Measure, and print the ratio of the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.rules", description=__doc__)
    parser.add_argument("--orders", type=int, default=500_000, help="rows of the table")
    parser.add_argument("--repeat", type=int, default=5, help="builds of each table, of which the median counts")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        os.environ.update(stack.environment())
        stack.make_bucket("kpi-bench-rules")
        context = prepared(write_files(Path(scratch)), options.orders)
        seconds: dict[str, list[float]] = {"plain": [], "ruled": []}
        for round_ in range(options.repeat):
            for name, found in seconds.items():
                outcome = built(context, f"stg.{name}")
                found.append(round(sum(outcome.seconds.values()), 3))
                phases = ", ".join(f"{phase} {spent:.2f}" for phase, spent in outcome.seconds.items())
                out.print(f"round {round_ + 1}: {name} {found[-1]:.2f} s, {outcome.rows} rows ({phases})")
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratio = medians["ruled"] / medians["plain"]
    out.print(f"with rules {medians['ruled']:.2f} s, without {medians['plain']:.2f} s: {ratio:.2f} (aim {AIM})")
    if options.json:
        report = {"orders": options.orders, "machine": machine(), "seconds": seconds, "ratio": round(ratio, 3)}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def write_files(scratch: Path) -> Pipeline:
    """Write the files of the pipeline below a folder, and return the pipeline."""
    folder = scratch / "sql" / PIPELINE
    for name, text in {
        "pipeline.yaml": "description: Orders with rules.\nbucket: kpi-bench-rules\nstart_date: 2025-01-01\n"
        "layers: {raw: raw, stg: staging}\n",
        "raw/orders.sql": RAW.format(name="orders", grain="order_id", columns=ORDERS),
        "raw/products.sql": RAW.format(
            name="products",
            grain="product_id",
            columns="  product_id: {type: integer, description: Product.}\n",
        ),
        "stg/plain.sql": STAGED.format(rules="", columns=ORDERS),
        "stg/ruled.sql": STAGED.format(rules=RULES, columns=ORDERS),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return load_pipelines(folder.parent)[PIPELINE]


def prepared(pipeline: Pipeline, orders: int) -> BuildContext:
    """Land the objects, and build the raw tables."""
    config = settings()
    assert config.postgres_url is not None
    prepare(pipeline, config.postgres_url)
    store = open_store(pipeline, config)
    bodies = {
        "orders": ["order_id,user_id,product_id,quantity,price,status", *map(order, range(1, orders + 1))],
        "products": ["product_id", *(str(3 * number) for number in range(PRODUCTS))],
    }
    context = BuildContext(pipeline, config.postgres_url, store, "bench", writers=config.writers)
    for name, lines in bodies.items():
        body = "\n".join(lines) + "\n"
        store.objects.s3.put_object(Bucket=store.bucket, Key=f"{name}/{LOAD_DATE}.csv", Body=body.encode())
        verify(context, pipeline.table(f"raw.{name}"), date.fromisoformat(LOAD_DATE))
        built(context, f"raw.{name}")
    return context


def order(number: int) -> str:
    """Return the line of an order; some break a rule each, in turns."""
    user, product = str(number % 40_000), number * 7 % PRODUCTS * 3
    quantity, price, status = number % 5 + 1, f"{number % 90 + 1}.50", "paid"
    if number % BAD_EVERY == 0:
        broken = number // BAD_EVERY % 5
        user, status = "" if broken == 0 else user, "lost" if broken == 1 else status
        quantity, price = 101 if broken == 2 else quantity, f"-{price}" if broken == 4 else price
        product += broken == 3
    return f"{number},{user},{product},{quantity},{price},{status}"


def built(context: BuildContext, name: str) -> BuildOutcome:
    """Build a table; exit with the messages of its checks if it is held."""
    outcome = build(context, context.pipeline.table(name), date.fromisoformat(LOAD_DATE))
    if outcome.held:
        sys.exit("; ".join(result.message for result in outcome.results if result.blocks_publish))
    return outcome


if __name__ == "__main__":
    main()
