"""`python -m bench.waived`: publish a table whose checks pass, and one by a ruling although a check of it fails.

Both tables have the same rows and the same checks, of which one differs in its bound: a single row is beyond it. They
are built from the same raw table in turns. What counts is the wall time of the publish, and of the whole build.
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
from kpi_assets.materialize.rule import AskedWaiver, waive
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.store import open_store

PIPELINE, BUCKET = "bench_waived", "kpi-bench-waived"
AIM = "no difference"
DAY = date.fromisoformat(LOAD_DATE)
CHECK = "range__quantity"
FEW, MANY = 5, 999  # pieces of an order, and those of the last one
COLUMNS = """\
  order_id: {type: integer, description: Order.}
  user_id: {type: integer, description: User.}
  quantity: {type: integer, description: Pieces.}
  price: {type: "numeric(12,2)", description: Price of one piece.}
"""
RAW = f"""\
/* @asset
description: Orders as delivered.
owner: team:bench
grain: [order_id]
storage: partitions
source: {{object: "orders/{{load_date}}.csv", format: csv}}
columns:
{COLUMNS}@end */
"""
STAGED = """\
/* @asset
description: Orders that can be counted.
owner: team:bench
grain: [order_id]
storage: partitions
columns:
{columns}checks:
  range: {{quantity: [1, {most}]}}
@end */
select order_id, user_id, quantity, price
from raw.orders
where load_date = %(load_date)s
"""
out = Console(highlight=False)


def main() -> None:
    """Measure, and print the ratios of the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.waived", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000, help="rows of the tables")
    parser.add_argument("--repeat", type=int, default=7, help="builds of each table, of which the median counts")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        os.environ.update(stack.environment())
        stack.make_bucket(BUCKET)
        context = prepared(write_files(Path(scratch)), options.orders)
        outcomes: dict[str, list[BuildOutcome]] = {"passed": [], "waived": []}
        for round_ in range(options.repeat):
            for name, found in outcomes.items():
                found.append(built(context, f"stg.{name}"))
                phases = ", ".join(f"{phase} {spent:.3f}" for phase, spent in found[-1].seconds.items())
                out.print(f"round {round_ + 1}: {name}, {found[-1].rows} rows ({phases})")
        waived = [outcome.waiver is not None for of_name in outcomes.values() for outcome in of_name]
        if waived != [False] * options.repeat + [True] * options.repeat:
            sys.exit("The builds that were to be published by a ruling were not, or others were.")
    report: dict[str, object] = {"orders": options.orders, "machine": machine()}
    for what in ("publish", "build"):
        seconds = {name: [spent(each, what) for each in of_name] for name, of_name in outcomes.items()}
        medians = {name: statistics.median(found) for name, found in seconds.items()}
        ratio = medians["waived"] / medians["passed"]
        waived_in, passed_in = (f"{medians[name]:.3f} s" for name in ("waived", "passed"))
        out.print(f"{what}: waived {waived_in}, passed {passed_in}: {ratio:.2f} (aim: {AIM})")
        report[what] = {"seconds": seconds, "ratio": round(ratio, 3)}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def spent(outcome: BuildOutcome, what: str) -> float:
    """Return the seconds of the publish or of the whole build."""
    return round(outcome.seconds["publish"] if what == "publish" else sum(outcome.seconds.values()), 4)


def write_files(scratch: Path) -> Pipeline:
    """Write the files of the pipeline below a folder, and return the pipeline."""
    folder = scratch / "sql" / PIPELINE
    for name, text in {
        "pipeline.yaml": f"description: Orders with a check.\nbucket: {BUCKET}\nstart_date: 2025-01-01\n"
        "layers: {raw: raw, stg: staging}\n",
        "raw/orders.sql": RAW,
        "stg/passed.sql": STAGED.format(columns=COLUMNS, most=MANY),
        "stg/waived.sql": STAGED.format(columns=COLUMNS, most=FEW),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return load_pipelines(folder.parent)[PIPELINE]


def prepared(pipeline: Pipeline, orders: int) -> BuildContext:
    """Land the object, build the raw table, and waive the check of the table that it holds."""
    config = settings()
    assert config.postgres_url is not None
    prepare(pipeline, config.postgres_url)
    store = open_store(pipeline, config)
    lines = [f"{number},{number % 40_000},{number % FEW + 1},{number % 90 + 1}.50" for number in range(1, orders)]
    body = "\n".join(["order_id,user_id,quantity,price", *lines, f"{orders},1,{MANY},1.50"]) + "\n"
    store.objects.s3.put_object(Bucket=store.bucket, Key=f"orders/{LOAD_DATE}.csv", Body=body.encode())
    context = BuildContext(pipeline, config.postgres_url, store, "bench", writers=config.writers)
    verify(context, pipeline.table("raw.orders"), DAY)
    built(context, "raw.orders")
    table = pipeline.table("stg.waived")
    if not build(context, table, DAY).held:
        sys.exit(f"{CHECK} did not hold stg.waived.")
    waive(context, AskedWaiver(table, DAY, [CHECK], "so that the bench can publish it", "bench"))
    return context


def built(context: BuildContext, name: str) -> BuildOutcome:
    """Build a table; exit with the messages of its checks if it is held."""
    outcome = build(context, context.pipeline.table(name), DAY)
    if outcome.held:
        sys.exit("; ".join(result.message for result in outcome.results if result.blocks_publish))
    return outcome


if __name__ == "__main__":
    main()
