"""`python -m bench.erase`: erase persons who are in one, some, and all objects of a raw table.

Each load_date is an object of as many lines. Each person has a few lines in the last ones. Measured are the steps of
`kpi erase` for one person after the other: to count, to write objects again, to build the load_dates of these objects,
and to prove that nobody is left. An object is read only if the rows that were loaded from it do not prove that it has
nobody, so the seconds should grow with the objects that hold the person.
"""

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.__main__ import machine
from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize import erase as steps
from kpi_assets.materialize import erase_proof, erase_receipt
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import Asked
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.store import open_store

PIPELINE, FIRST = "bench_erase", date(2025, 3, 1)
PER_LOAD_DATE = 3  # lines of the person in an object that holds some
FILES = {
    "pipeline.yaml": """\
description: Lines of persons.
bucket: kpi-bench-erase
start_date: 2025-01-01
layers: {raw: raw}
""",
    "raw/lines.sql": """\
/* @asset
description: Lines as delivered.
owner: team:bench
grain: [line_id]
storage: partitions
source: {object: "lines/{load_date}.csv", format: csv}
subject: {customer: customer_id}
columns:
  line_id: {type: bigint, description: Line.}
  customer_id: {type: bigint, description: Customer., pii: id}
  product_id: {type: integer, description: Product.}
  price: {type: "numeric(10,2)", description: Price.}
@end */
""",
}
out = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure, and print the seconds of each step."""
    parser = argparse.ArgumentParser(prog="python -m bench.erase", description=__doc__)
    parser.add_argument("--load-dates", type=int, default=30, help="load_dates, each with an object")
    parser.add_argument(
        "--holding", type=int, nargs="+", default=[1, 5, 30], help="of these, those that hold each of the persons"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="lines of each object")
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
        with Stack(Path(folder) / "home") as stack:
            os.environ.update(stack.environment())
            stack.make_bucket(pipeline.config.bucket)
            erasures = measure(pipeline, options.load_dates, options.holding, options.rows)
    report = {"load_dates": options.load_dates, "rows": options.rows, "machine": machine(), "erasures": erasures}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(pipeline: Pipeline, load_dates: int, holding: Sequence[int], rows: int) -> list[dict[str, Any]]:
    """Land and build the load_dates, and time the steps of the erasure of each person."""
    words = settings()
    assert words.postgres_url is not None
    prepare(pipeline, words.postgres_url)
    store = open_store(pipeline, words)
    context = BuildContext(pipeline, words.postgres_url, store, secrets.token_hex(8), settings=words)
    days = [FIRST + timedelta(days=number) for number in range(load_dates)]
    for number, day in enumerate(days):
        persons = [person for person, of in enumerate(holding) if number >= load_dates - of]
        store.put(pipeline.table("raw.lines").object_key(day), _lines(rows, persons))
    _build(context, days)
    return [_erase(context, days, person, of) for person, of in enumerate(holding)]


def _build(context: BuildContext, days: Sequence[date]) -> None:
    table = context.pipeline.table("raw.lines")
    for day in days:
        verify(context, table, day)
        build(context, table, day)


def _erase(context: BuildContext, days: Sequence[date], person: int, holding: int) -> dict[str, Any]:
    """Erase a person who is in the last `holding` objects, and time the steps."""
    seconds: dict[str, float] = {}

    def timed(name: str, do: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        found = do()
        seconds[name] = round(time.perf_counter() - begun, 3)
        return found

    values = [str(-person - 1)]
    keys = steps.keys_of(context, "customer", values)
    [counted] = timed("count", lambda: steps.count(context, "customer", keys))
    number = steps.write(context, Asked("customer", values, "bench", "to be measured", "bench"), keys)
    [erasure] = [each for each in steps.bring_up_all(context) if each.erasure == number]
    links = timed("rewrite", lambda: steps.rewrite_objects(context, erasure, lambda _key, _erased: None))
    timed("build", lambda: _build(context, days[len(days) - holding :]))
    left = timed("prove", lambda: erase_proof.prove(context))
    if left or len(links) != holding:
        sys.exit(f"{len(links)} objects were written again, and not {holding}: {left}")
    erase_receipt.receipt(context, erasure, steps.Wiped(), days[-1])
    said = ", ".join(f"{name} {each:.2f} s" for name, each in seconds.items())
    out.print(f"{counted.records} records in {counted.objects} of {len(days)} objects: {said}")
    return {"records": counted.records, "objects": len(links), "seconds": seconds}


def _lines(rows: int, persons: Sequence[int]) -> bytes:
    """Return an object with some lines of each person, whose key is below 0."""
    every = rows // PER_LOAD_DATE
    lines = [f"{n},{n % 5000 + 1},{n % 900},{n % 90}.50\n" for n in range(rows)]
    for person in persons:
        for n in range(PER_LOAD_DATE):
            number = n * every + person
            lines[number] = f"{number},{-person - 1},{number % 900},{number % 90}.50\n"
    return ("line_id,customer_id,product_id,price\n" + "".join(lines)).encode()


if __name__ == "__main__":
    main()
