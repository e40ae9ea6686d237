"""`python -m bench`: write the sample, run the contenders, compare their KPIs, and print medians and ratios.

A time counts only if the KPIs equal those of the first contender. Contenders take turns, so that a slow minute of the
machine affects all of them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import psycopg
from rich.console import Console
from rich.table import Table as Grid

from bench import dbt_postgres, dlt_lines, duck, duck_gated, hand_written, managed, ours, small_day
from bench.context import LOAD_DATE, BenchContext, are_equal
from kpi_assets.embedded.stack import Stack
from kpi_assets.samples import GENERATORS

CONTENDERS: dict[str, ModuleType] = {
    "ours": ours,
    "old": hand_written,
    "dbt": dbt_postgres,
    "dlt": dlt_lines,
    "duckdb": duck,
    "duckdb-gated": duck_gated,
    "managed": managed,
}
LINES_ALONE = "dlt"
# Goals for our time divided by theirs. On the server "as a guest" we may take half as long again as on our own.
AIMS = {
    "old": "<= 0.28",
    "dbt": "<= 0.35",
    "dlt": "<= 0.5",
    "duckdb": "<= 3.0",
    "duckdb-gated": "<= 3.0",
    "managed": ">= 0.67",
}
OUTSIDE_AIM = "<= 10 s"  # for start, Dagster's records and end
SETTINGS = ("server_version", "shared_buffers", "wal_level", "fsync", "work_mem", "max_parallel_workers")
out = Console()


def main() -> None:
    """Run the benchmark. Exits with an error if a contender computed other KPIs."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--orders", type=int, default=3421083, help="orders of the sample (the real size)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each contender, of which the median counts")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="names, separated by commas")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers, sample and tools")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    names = options.contenders.split(",")
    home = options.home.resolve()
    tools = home / "tools"
    for name in names:
        install(tools / name, getattr(CONTENDERS[name], "REQUIREMENTS", []))
    with ExitStack() as opened:
        files = sample(home, options.orders)
        stack = opened.enter_context(Stack(home / "home"))
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=home)))
        environment = stack.environment()
        context = BenchContext(files, scratch, environment["KPI_POSTGRES_URL"], environment, tools)
        stack.make_bucket("kpi-instacart")
        contexts = {
            name: opened.enter_context(module.own_server(home / name, context))
            if hasattr(module, "own_server")
            else context
            for name, module in CONTENDERS.items()
            if name in names
        }
        figures = measure(contexts, options.repeat)
        report = {
            "orders": options.orders,
            "load_date": LOAD_DATE,
            "machine": machine(),
            "server": server(context),
            "contenders": figures,
        }
    report["small_day"] = small_day.measure(sample(home, small_day.ORDERS), options.repeat, home)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def install(folder: Path, requirements: list[str]) -> None:
    """Make a contender's virtual environment, once."""
    if not requirements or (folder / "ready").exists():
        return
    out.print(f"installing {', '.join(requirements)} ...")
    venv.create(folder, clear=True, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *requirements], check=True)
    (folder / "ready").touch()


def sample(home: Path, orders: int) -> Path:
    """Return the folder of a sample, and write the sample if it is missing."""
    folder = home / f"sample-{orders}"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as aside:
            GENERATORS["instacart"].write(
                Path(aside) / "day", load_date=date.fromisoformat(LOAD_DATE), orders=orders, seed=1
            )
            (Path(aside) / "day").rename(folder)
    return folder


def measure(contexts: dict[str, BenchContext], repeat: int) -> dict[str, dict[str, Any]]:
    """Run the contenders in turns, and return the seconds of each run."""
    figures: dict[str, dict[str, Any]] = {name: {"name": CONTENDERS[name].NAME, "seconds": []} for name in contexts}
    expected = None
    for round_ in range(repeat):
        for name, context in contexts.items():
            contender = CONTENDERS[name]
            contender.prepare(context)
            os.sync()
            begun = time.perf_counter()
            contender.run(context)
            seconds = time.perf_counter() - begun
            out.print(f"round {round_ + 1}: {contender.NAME} {seconds:.1f} s")
            figures[name]["seconds"].append(round(seconds, 2))
            if name == "ours":
                by_table = ours.seconds_by_table(context)
                figures[name].setdefault("lines", []).append(round(by_table["raw.order_products_prior"], 2))
                figures[name].setdefault("tables", []).append(by_table)
                figures[name].setdefault("outside", []).append(round(seconds - sum(by_table.values()), 2))
            if name != LINES_ALONE:
                found = contender.kpis(context)
                expected = expected or found
                if not are_equal(found, expected):
                    first = next(iter(figures.values()))["name"]
                    sys.exit(f"{contender.NAME} computed other KPIs than {first}: its time does not count.")
    return figures


def machine() -> dict[str, Any]:
    """Return cores, memory and Python version of this machine."""
    memory = round(psutil.virtual_memory().total / 2**30)
    return {"cores": len(psutil.Process().cpu_affinity()), "memory_gb": memory, "python": platform.python_version()}


def server(context: BenchContext) -> dict[str, str]:
    """Return the settings of the server that affect speed most."""
    with psycopg.connect(context.url("postgres")) as connection:
        query = "select name, current_setting(name) from unnest(%s::text[]) as names (name)"
        return dict(connection.execute(query, [list(SETTINGS)]).fetchall())


def show(report: dict[str, Any]) -> None:
    """Print a table of medians and ratios."""
    grid = Grid(title=f"{report['orders']:,} orders; {report['machine']['cores']} cores; {report['server']}")
    for title in ("contender", "median", "runs", "ours / theirs", "aim"):
        grid.add_column(title, justify="left" if title in {"contender", "runs"} else "right")

    def add_row(name: str, seconds: list[float], share: str, aim: str) -> None:
        runs = ", ".join(f"{each:.1f}" for each in seconds)
        grid.add_row(name, f"{statistics.median(seconds):.1f} s", runs, share, aim)

    figures = report["contenders"]
    mine = figures.get("ours")
    for name, found in figures.items():
        found["median"] = statistics.median(found["seconds"])
        share = ""
        if mine and name != "ours":
            own = statistics.median(mine["lines" if name == LINES_ALONE else "seconds"])
            found["ratio"] = round(own / found["median"], 3)
            share = f"{found['ratio']:.2f}"
        add_row(found["name"], found["seconds"], share, AIMS.get(name, ""))
    if mine:
        add_row("of kpi_assets, outside its builds", mine["outside"], "", OUTSIDE_AIM)
    for way, seconds in report["small_day"].items():
        add_row(way, seconds, "", small_day.AIMS[way])
    out.print(grid)


if __name__ == "__main__":
    main()
