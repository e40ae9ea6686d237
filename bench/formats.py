"""`python -m bench.formats`: load the order lines from files of several forms, each compared with the plain file.

Each load is a process of its own, so that its peak memory is known; it verifies the object, loads, indexes and audits
it. The forms take turns, and all of one group must publish the same rows. Beside them, dlt and DuckDB load the plain
file into the same server, without an index and without checks.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as Grid

from bench import dlt_lines
from bench.__main__ import install, machine, sample
from bench.context import FILES, BenchContext
from kpi_assets.embedded.stack import Stack

PIPELINE = "bench_formats"
HEADER = """\
/* @asset
description: Lines of the prior orders.
owner: team:bench
grain: [order_id, product_id]
storage: partitions
source:
  object: lines/{{load_date}}/lines
  format: {format}
{words}
columns:
  order_id: {{type: integer, description: Order.}}
  product_id: {{type: integer, description: Product.}}
  add_to_cart_order: {{type: smallint, description: Position in the basket.}}
  reordered: {{type: smallint, description: Whether it was ordered before.}}
{columns}
checks:
  not_null: [add_to_cart_order, reordered]
  accepted_values: {{reordered: [0, 1]}}
  range: {{add_to_cart_order: [1, null]}}
@end */
"""
WIDE = """\
  price: {type: "numeric(8,2)", description: Price.}
  added_on: {type: date, description: Day on which it was put into the basket.}
"""
WIDE_EUROPEAN = """\
  price: {type: "numeric(8,2)", decimal: comma, description: Price.}
  added_on: {type: date, format: M/D/YYYY, description: Day on which it was put into the basket.}
"""
DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(366)]
out = Console(highlight=False)


@dataclass(frozen=True)
class Form:
    """One form of the file: its words, how it is written, and the form that it is compared with."""

    name: str
    write: Callable[[Iterator[pa.RecordBatch], Path], None]
    format: str = "csv"
    words: str = ""
    columns: str = ""
    base: str = "plain"
    aim: str = ""


def csv(delimiter: str = ",", encoding: str = "utf-8") -> Callable[[Iterator[pa.RecordBatch], Path], None]:
    """Write CSV; all values are ASCII, so that every encoding gives the same bytes."""

    def write(batches: Iterator[pa.RecordBatch], path: Path) -> None:
        assert "a".encode(encoding) == b"a"
        first = next(batches)
        options = pyarrow.csv.WriteOptions(delimiter=delimiter, quoting_style="none", quoting_header="none")
        with pyarrow.csv.CSVWriter(path, first.schema, write_options=options) as writer:
            writer.write(first)
            for batch in batches:
                writer.write(batch)

    return write


def gzipped(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    plain = path.with_suffix(".plain")
    csv()(batches, plain)
    with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    plain.unlink()


def parquet(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    first = next(batches)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_batch(first, row_group_size=1 << 20)
        for batch in batches:
            writer.write_batch(batch, row_group_size=1 << 20)


FORMS = (
    Form("plain", csv()),
    Form("semicolons, Latin-1", csv(";", "latin-1"), words='  delimiter: ";"\n  encoding: latin-1', aim="<= 1.3"),
    Form("gzip", gzipped, words="  compression: gzip", aim="<= 1.6"),
    Form("Parquet", parquet, format="parquet", aim="<= 1.1"),
    Form("plain, two more columns", csv(), columns=WIDE, base=""),
    Form(
        "decimal commas, m/d/yyyy",
        csv(";"),
        words='  delimiter: ";"',
        columns=WIDE_EUROPEAN,
        base="plain, two more columns",
        aim="<= 2.0",
    ),
)


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.formats", description=__doc__)
    parser.add_argument("--orders", type=int, default=3_421_083, help="orders of the sample (the real size)")
    parser.add_argument("--repeat", type=int, default=3, help="loads of each form, of which the median counts")
    parser.add_argument("--forms", default="", help="names, separated by |; all by default")
    parser.add_argument("--without-others", action="store_true", help="leave out dlt and DuckDB")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers, samples and tools")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve()
    forms = [form for form in FORMS if not options.forms or form.name in options.forms.split("|")]
    lines = sample(home, options.orders) / FILES["order_products_prior"]
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        environment = stack.environment()
        stack.make_bucket("kpi-bench-formats")
        context = BenchContext(
            lines.parent, Path(scratch), environment["KPI_POSTGRES_URL"], environment, home / "tools"
        )
        files = {form.name: written(form, lines, home / f"forms-{options.orders}") for form in forms}
        figures = measure(context, forms, files, options.repeat)
        others = {} if options.without_others else measure_others(context, options.repeat)
    report = {"orders": options.orders, "machine": machine(), "forms": figures, "others": others}
    show(report, forms)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def written(form: Form, lines: Path, folder: Path) -> Path:
    """Return the file of a form, and write it if it is missing."""
    path = folder / "".join(letter if letter.isalnum() else "_" for letter in form.name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        out.print(f"writing {form.name} ...")
        aside = path.with_suffix(".aside")
        form.write(_batches(lines, wide=bool(form.columns), european="comma" in form.columns), aside)
        aside.rename(path)
    return path


def _batches(lines: Path, *, wide: bool, european: bool) -> Iterator[pa.RecordBatch]:
    types = {"order_id": pa.int32(), "product_id": pa.int32(), "add_to_cart_order": pa.int16(), "reordered": pa.int16()}
    # pa.csv gives small batches; a row group of Parquet should have a million rows.
    convert = pyarrow.csv.ConvertOptions(column_types=types)
    reader = pyarrow.csv.open_csv(lines, pyarrow.csv.ReadOptions(block_size=16 << 20), convert_options=convert)
    point = "," if european else "."
    prices = pa.array([f"{cents // 100}{point}{cents % 100:02}" for cents in range(9_973)])
    days = pa.array([f"{day.month}/{day.day}/{day.year}" if european else day.isoformat() for day in DAYS])
    for batch in reader:
        if wide:
            product = batch.column("product_id").to_numpy()
            batch = batch.append_column("price", prices.take(pa.array(product % len(prices))))  # noqa: PLW2901
            batch = batch.append_column("added_on", days.take(pa.array(product % len(days))))  # noqa: PLW2901
        yield batch


def measure(
    context: BenchContext, forms: list[Form], files: dict[str, Path], repeat: int
) -> dict[str, dict[str, list[float]]]:
    """Load the forms in turns, each in a process of its own."""
    figures: dict[str, dict[str, list[float]]] = {form.name: {"seconds": [], "memory_mb": []} for form in forms}
    checksums: dict[str, set[str]] = {}
    for round_ in range(repeat):
        for form in forms:
            folder = context.scratch / "sql" / PIPELINE
            (folder / "raw").mkdir(parents=True, exist_ok=True)
            (folder / "pipeline.yaml").write_text(
                "description: Order lines in several forms.\nbucket: kpi-bench-formats\nstart_date: 2025-01-01\n"
                "layers: {raw: raw}\n"
            )
            (folder / "raw" / "lines.sql").write_text(
                HEADER.format(format=form.format, words=form.words, columns=form.columns)
            )
            context.fresh_database(PIPELINE)
            environment = {"KPI_SQL_DIR": str(folder.parent), "KPI_BENCH_FILE": str(files[form.name])}
            os.sync()
            command = [sys.executable, "-m", "bench.load_form"]
            context.call([*command, "land"], **environment)
            done = json.loads(context.call([*command, "load"], **environment))
            phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in done["phases"].items())
            out.print(f"round {round_ + 1}: {form.name} {done['seconds']:.1f} s ({phases}), {done['memory_mb']} MB")
            figures[form.name]["seconds"].append(round(done["seconds"], 2))
            figures[form.name]["memory_mb"].append(done["memory_mb"])
            checksums.setdefault(form.base or form.name, set()).add(done["checksum"])
    if bad := [base for base, found in checksums.items() if len(found) > 1]:
        sys.exit(f"The forms of {', '.join(bad)} published other rows: the times do not count.")
    return figures


def measure_others(context: BenchContext, repeat: int) -> dict[str, list[float]]:
    """Load the plain file with dlt, and with DuckDB, which writes CSV for COPY."""
    install(context.tools / "dlt", dlt_lines.REQUIREMENTS)
    figures: dict[str, list[float]] = {dlt_lines.NAME: [], "DuckDB to COPY": []}
    for _ in range(repeat):
        dlt_lines.prepare(context)
        begun = time.perf_counter()
        dlt_lines.run(context)
        figures[dlt_lines.NAME].append(round(time.perf_counter() - begun, 2))
        figures["DuckDB to COPY"].append(round(duckdb_to_copy(context), 2))
        out.print({name: seconds[-1] for name, seconds in figures.items()})
    return figures


def duckdb_to_copy(context: BenchContext) -> float:
    """Have DuckDB read the plain file and write it into a pipe, which COPY loads into a table without an index."""
    url, pipe = context.fresh_database("bench_duckdb_copy"), context.scratch / "lines.pipe"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    query = (
        f"copy (from read_csv('{context.files / FILES['order_products_prior']}', header = true)) to '{pipe}' "
        "(format csv, header false)"
    )
    begun = time.perf_counter()
    with psycopg.connect(url) as connection:
        connection.execute(
            "create table lines (order_id integer, product_id integer, add_to_cart_order smallint, reordered smallint)"
        )
        with subprocess.Popen([sys.executable, "-c", f"import duckdb; duckdb.execute({query!r})"]) as duck:
            with (
                pipe.open("rb") as source,
                connection.cursor().copy("copy lines from stdin with (format csv, freeze)") as copy,
            ):
                while block := source.read(1 << 20):
                    copy.write(block)
            assert duck.wait() == 0
    return time.perf_counter() - begun


def show(report: dict[str, Any], forms: list[Form]) -> None:
    """Print a table of medians, ratios and memory."""
    grid = Grid(title=f"{report['orders']:,} orders; {report['machine']['cores']} cores")
    for title in ("form", "median", "runs", "of its plain file", "aim", "memory"):
        grid.add_column(title, justify="left" if title in {"form", "runs"} else "right")
    figures = report["forms"]
    for form in forms:
        found = figures[form.name]
        median = statistics.median(found["seconds"])
        base = figures.get(form.base) if form.base != form.name else None
        found["median"] = median
        share = ""
        if base and form.name != form.base:
            found["ratio"] = round(median / statistics.median(base["seconds"]), 3)
            share = f"{found['ratio']:.2f}"
        runs = ", ".join(f"{each:.1f}" for each in found["seconds"])
        grid.add_row(form.name, f"{median:.1f} s", runs, share, form.aim, f"{max(found['memory_mb'])} MB")
    for name, seconds in report["others"].items():
        grid.add_row(
            name, f"{statistics.median(seconds):.1f} s", ", ".join(f"{each:.1f}" for each in seconds), "", "", ""
        )
    out.print(grid)


if __name__ == "__main__":
    main()
