"""`python -m bench.lake`: Instacart with raw, staging and facts on the lake, beside Postgres and DuckDB, by table.

All run on one machine, where Postgres wins: the figures say what a table costs the engine (seconds, jobs, statements,
bytes), and not how fast a cluster is. Spark is a standalone cluster; with `--kill`, one of its workers is killed in the
middle of a stage of a table; with `--replay`, the load_date is built on the lake once more, and each table must have
the checksum that it had. A time counts only if the KPIs of all three are equal.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table as Grid

from bench import duck
from bench.__main__ import machine
from bench.context import LOAD_DATE, BenchContext, are_equal, kpis_in
from bench.load_form import peak_memory
from kpi_assets.embedded.stack import Stack
from kpi_assets.lake.session import Engine
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import settings
from kpi_assets.sources.landing import land
from kpi_assets.sources.store import bucket_of, open_store
from kpi_assets_tests.lake import instacart
from kpi_assets_tests.lake.cluster import Cluster, Worker, cluster
from kpi_assets_tests.lake.server import lake_server
from kpi_assets_tests.machine import free_port

LAKE, POSTGRES = "instacart_lake", "instacart_postgres"
MEMORY = 300  # MB of the client
WORKER_MB = 2048
DAY = date.fromisoformat(LOAD_DATE)
UI = "KPI_BENCH_SPARK_UI"
# Those of the tests are for small tables. This is what a server has by itself.
SETTINGS = {
    "spark.sql.codegen.factoryMode": "FALLBACK",
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "true",
    "spark.ui.retainedJobs": "100000",
}
out = Console(highlight=False)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.lake", description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000, help="320,000 have some 3,000,000 lines")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", metavar="TABLE", default="", help="kill a worker while this table is built")
    parser.add_argument("--replay", action="store_true", help="build all on the lake again, and compare checksums")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of servers")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        build_all(options.build)
        return
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine(), "orders": options.orders, "workers": options.workers}
    # Servers of its own: the catalog would have the tables of an earlier run, which belong to another ledger.
    with tempfile.TemporaryDirectory(dir=home) as scratch, Stack(Path(scratch) / "home") as stack:
        context = _ready(stack, Path(scratch), options.orders)
        report["postgres"] = built(POSTGRES)
        begun = time.perf_counter()
        duck.prepare(context)
        duck.run(context)
        report["duckdb"] = round(time.perf_counter() - begun, 1)
        with cluster(Path(scratch), options.workers, WORKER_MB) as workers, spark(workers, report):
            report["lake"] = built(LAKE, killing(workers.workers[0], options.kill, report))
            if options.replay:
                replay(context.url(LAKE), report)
        if options.kill and "killed_in" not in report:
            sys.exit(f"No stage of {options.kill} was long enough to kill a worker in it: take more orders.")
        kpis = kpis_in(context.url(POSTGRES), "marts.")
        for name, other in {"lake": kpis_in(context.url(LAKE), "marts."), "DuckDB": duck.kpis(context)}.items():
            if not are_equal(kpis, other):
                sys.exit(f"The KPIs of Postgres and of {name} differ, so the times do not count.")
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _ready(stack: Stack, scratch: Path, orders: int) -> BenchContext:
    """Write and land the files, and make both pipelines: the shipped one, and that on the lake."""
    files, tree = scratch / "instacart", scratch / "sql"
    files.mkdir()
    GENERATORS["instacart"].write(files, load_date=DAY, orders=orders, seed=1)
    shutil.copytree(instacart.SHIPPED, tree / POSTGRES, ignore=shutil.ignore_patterns("questions"))
    shutil.move(instacart.write(scratch / "made"), tree / LAKE)
    environment = stack.environment()
    os.environ.update(environment, KPI_SQL_DIR=str(tree))
    context = BenchContext(files, scratch, environment["KPI_POSTGRES_URL"], environment, scratch)
    for name, pipeline in load_pipelines(tree).items():
        context.fresh_database(name)
        stack.make_bucket(bucket_of(pipeline, settings()))
        store = open_store(pipeline, settings())
        for table in pipeline.object_tables:
            key = table.object_key(DAY)
            land(store, files / Path(key).name, key, replace=True)
    return context


@contextmanager
def spark(workers: Cluster, report: dict[str, Any]) -> Iterator[None]:
    """Start Spark Connect on the workers, and time its start and a session."""
    port, begun = free_port(), time.perf_counter()
    with lake_server({**workers.settings, **SETTINGS, "spark.ui.port": str(port)}) as server:
        report["start"] = round(time.perf_counter() - begun, 1)
        begun = time.perf_counter()
        with Engine.connect(server.url, server.token) as engine:
            engine.value("select 1")
        report["connect"] = round(time.perf_counter() - begun, 2)
        os.environ.update(
            {
                "KPI_SPARK_URL": server.url.get_secret_value(),
                "KPI_SPARK_TOKEN": server.token.get_secret_value(),
                UI: f"http://127.0.0.1:{port}/api/v1/applications",
            }
        )
        yield


def replay(url: str, report: dict[str, Any]) -> None:
    """Build the load_date again from the same objects, and compare what the ledger says of each table."""
    query = "select asset, build_id, checksum_kind, rows, checksum from ops.published order by asset"
    with psycopg.connect(url) as connection:
        before = connection.execute(query).fetchall()
    again = built(LAKE)
    with psycopg.connect(url) as connection:
        after = connection.execute(query).fetchall()
    same = [asset for (asset, build, *then), (_, later, *now) in zip(before, after, strict=True) if then == now]
    rebuilt = [asset for (asset, build, *_), (_, later, *_) in zip(before, after, strict=True) if later > build]
    if not len(before) == len(same) == len(rebuilt) == len(again["tables"]):
        sys.exit(f"The replay differs: {len(same)} of {len(before)} tables have the checksum that they had.")
    report["replayed"] = {"tables": len(same), "seconds": sum(each["seconds"] for each in again["tables"].values())}


def killing(victim: Worker, table: str, report: dict[str, Any]) -> Callable[[str], None]:
    """Return what is told of each table that begins, and kills the worker in the middle of a stage of one of them."""

    def kill() -> None:
        report["killed_in"] = {"table": table, "stage": victim.kill_when_busy()}

    def on_begin(name: str) -> None:
        if name == table:
            victim.mark()
            threading.Thread(target=kill, daemon=True).start()

    return on_begin


def built(pipeline: str, on_begin: Callable[[str], None] = lambda _name: None) -> dict[str, Any]:
    """Build all tables of a pipeline in a process of its own; return what each took, and the peak of memory."""
    command = [sys.executable, "-m", "bench.lake", "--build", pipeline]
    found: dict[str, Any] = {"tables": {}}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            kind, name, said = json.loads(line)
            if kind == "begin":
                on_begin(name)
            elif kind == "table":
                found["tables"][name] = said
                out.print(f"{pipeline}: {name} {said}", soft_wrap=True)
            else:
                found[name] = said
    if process.returncode:
        sys.exit(f"{pipeline} was not built.")
    return found


def build_all(name: str) -> None:
    """Build each table of a pipeline, and print a line of JSON for each."""
    pipeline = load_pipelines(Path(os.environ["KPI_SQL_DIR"]))[name]
    config = settings()
    assert config.postgres_url is not None
    prepare(pipeline, config.postgres_url)
    context = BuildContext(pipeline, config.postgres_url, open_store(pipeline, config), "bench", settings=config)
    for table in pipeline.tables.values():
        say("begin", str(table.relation), None)
        before, begun = jobs(), time.perf_counter()
        results = [*(verify(context, table, DAY).results if table.has_object else ())]
        outcome = build(context, table, DAY)
        seconds = round(time.perf_counter() - begun, 2)
        if problems := [each.message for each in (*results, *outcome.results) if each.blocks_publish]:
            sys.exit(f"{table.relation} is held: {'; '.join(problems)}")
        figures = {"seconds": seconds, "rows": outcome.rows, "bytes": outcome.size_bytes}
        say("table", str(table.relation), {**figures, "statements": outcome.statements, "jobs": jobs() - before})
    say("sum", "memory_mb", peak_memory())


def say(kind: str, name: str, said: Any) -> None:
    print(json.dumps([kind, name, said]), flush=True)


def jobs() -> int:
    """Return how many jobs Spark has run; 0 where there is none."""
    if UI not in os.environ:
        return 0
    return sum(len(_asked(f"{os.environ[UI]}/{each['id']}/jobs")) for each in _asked(os.environ[UI]))


def _asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def show(report: dict[str, Any]) -> None:
    """Print a line for each table, and the sums."""
    lake, postgres = (report[name]["tables"] for name in ("lake", "postgres"))
    grid = Grid(title=f"{report['orders']:,} orders; {report['machine']['cores']} cores, {report['workers']} workers")
    for title in ("table", "rows", "Postgres s", "lake s", "jobs", "statements", "lake MB", "Postgres MB"):
        is_name = title == "table"
        grid.add_column(title, justify="left" if is_name else "right", no_wrap=is_name)
    for name, found in lake.items():
        of_postgres = postgres[name]
        grid.add_row(
            name,
            f"{found['rows']:,}",
            f"{of_postgres['seconds']:.2f}",
            f"{found['seconds']:.2f}",
            *(str(found[key]) for key in ("jobs", "statements")),
            *(f"{each['bytes'] / 1e6:.1f}" for each in (found, of_postgres)),
        )
    totals: Sequence[float] = [sum(each["seconds"] for each in tables.values()) for tables in (postgres, lake)]
    grid.add_row("all", "", *(f"{each:.1f}" for each in totals))
    out.print(grid)
    out.print(
        f"DuckDB without gates: {report['duckdb']} s. Spark: {report['start']} s to start, {report['connect']} s for a "
        f"session. Client: {report['lake']['memory_mb']} MB on the lake (aim < {MEMORY}), "
        f"{report['postgres']['memory_mb']} MB in Postgres."
    )
    if "replayed" in report:
        replayed = report["replayed"]
        out.print(f"Replay: {replayed['tables']} tables with the same checksums in {replayed['seconds']:.1f} s.")
    if "killed_in" in report:
        out.print(f"A worker was killed in stage {report['killed_in']['stage']} of {report['killed_in']['table']}.")


if __name__ == "__main__":
    main()
