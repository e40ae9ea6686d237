"""`python -m bench.rollback`: roll a load_date of 14 tables back, and measure for how long readers had to wait.

The raw table and four marts are partitioned, eight are stored as rows, and one is a view. The load_date is published
twice and rolled back, in turn. Readers read all tables meanwhile, and lock first what they read: none may see
a mix of before and after. The locks are those for which readers of partitioned tables wait.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.__main__ import machine
from kpi_assets.embedded.stack import Servers, embedded_servers
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.rollback import roll_back
from kpi_assets.materialize.rolled_back import at_instant, plan
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect

PIPELINE, DAY, AIM = "bench_rollback", date(2025, 3, 1), 0.5
PARTITIONED, ROWS = 4, 8
HEAD = """\
/* @asset
description: {description}
owner: team:bench
grain: [{key}]
storage: {storage}
columns:
  {key}: {{type: integer, description: Key.}}
  amount: {{type: bigint, description: Amount.}}
@end */
"""
RAW = """\
/* @asset
description: Order lines.
owner: team:bench
grain: [line_id]
storage: partitions
source: {object: "lines/{load_date}.csv", format: csv}
columns:
  line_id: {type: integer, description: Line.}
  amount: {type: bigint, description: Amount.}
@end */
"""
YAML = """\
description: A load_date to roll back.
bucket: kpi-bench-rollback
start_date: 2025-01-01
layers: {raw: raw, marts: marts}
rollback: {keep: 2}
"""


def main() -> None:
    """Run the benchmark. Exits with an error if a reader saw a mix, or rows that were never published."""
    parser = argparse.ArgumentParser(prog="python -m bench.rollback", description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000, help="rows of the raw table")
    parser.add_argument("--repeat", type=int, default=10, help="how often")
    parser.add_argument("--readers", type=int, default=4, help="sessions that read meanwhile")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kpi-bench-") as folder:
        write_files(Path(folder) / "sql")
        pipeline = load_pipelines(Path(folder) / "sql")[PIPELINE]
        config = Settings(home=Path(folder) / "home", sql_dir=Path(folder) / "sql")
        with embedded_servers(config, [pipeline]) as servers:
            figures = measure(servers, pipeline, given.lines, given.repeat, given.readers)
    locked = statistics.median(figures["locked"])
    report = {
        "machine": machine(),
        "lines": given.lines,
        "tables": len(pipeline.tables),
        "mixed": figures["mixed"],
        "reads": figures["reads"],
        "locked_median": locked,
        "locked_max": max(figures["locked"]),
        "total_median": statistics.median(figures["total"]),
        "longest_read": figures["longest_read"],
    }
    Console().print(
        f"{len(pipeline.tables)} tables: locks held for {locked:.3f} s, at most {max(figures['locked']):.3f} s (aim: "
        f"below {AIM} s); {report['total_median']:.2f} s in all; {figures['reads']} reads, of which "
        f"{figures['mixed']} saw a mix, the longest {figures['longest_read']:.2f} s"
    )
    if given.json:
        given.json.write_text(json.dumps(report, indent=2))
    sys.exit(1 if figures["mixed"] else 0)


def write_files(sql: Path) -> None:
    """Write the pipeline: a chain of marts, so that each reads another one."""
    texts = {"raw/lines": RAW}
    for number in range(PARTITIONED + ROWS):
        storage = "partitions" if number < PARTITIONED else "rows"
        key = "line_id" if number < PARTITIONED else "bucket"
        head = HEAD.format(description=f"Mart {number}.", key=key, storage=storage)
        read = f"select line_id, amount from {'raw.lines' if number == 0 else f'marts.mart_{number - 1}'}"
        if number >= PARTITIONED:
            read = f"select line_id %% 1000 as bucket, sum(amount)::bigint as amount from marts.mart_{PARTITIONED - 1}"
        end = "" if number < PARTITIONED else "\ngroup by line_id %% 1000"
        texts[f"marts/mart_{number}"] = f"{head}{read}\nwhere load_date = %(load_date)s{end}\n"
    view = HEAD.format(description="What a mart shows.", key="line_id", storage="view")
    texts["marts/shown"] = f"{view}select line_id, amount from marts.mart_0 where load_date = %(load_date)s\n"
    for name, text in texts.items():
        path = sql / PIPELINE / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (sql / PIPELINE / "pipeline.yaml").write_text(YAML)


def measure(servers: Servers, pipeline: Pipeline, lines: int, repeat: int, readers: int) -> dict[str, Any]:
    """Publish, publish other rows, and roll back, again and again, while others read."""
    if servers.stack:
        servers.stack.make_bucket(pipeline.config.bucket)
    prepare(pipeline, servers.postgres)
    store = open_store(pipeline, servers.settings)
    found: dict[str, Any] = {"locked": [], "total": [], "mixed": 0, "reads": 0, "longest_read": 0.0}

    def publish(amount: int, run: str) -> None:
        body = b"line_id,amount\n" + b"".join(b"%d,%d\n" % (n, amount) for n in range(lines))
        store.put(f"lines/{DAY}.csv", body, "text/csv")
        context = BuildContext(pipeline, servers.postgres, store, run)
        for table in pipeline.tables.values():
            if table.has_object:
                verify(context, table, DAY)
            assert not build(context, table, DAY).held

    for number in range(repeat):
        # Each time other rows: what was rolled back once is kept out.
        publish(2 * number + 1, f"good {number}")
        with connect(servers.postgres, pipeline.name, "bench") as connection:
            [[now]] = connection.execute("select clock_timestamp()").fetchall()
        publish(2 * number + 2, f"bad {number}")
        done = threading.Event()
        with ThreadPoolExecutor(readers) as pool:
            waiting = [pool.submit(_read, servers, pipeline, done) for _ in range(readers)]
            time.sleep(0.2)
            begun = time.perf_counter()
            try:
                with connect(servers.postgres, pipeline.name, "bench") as connection:
                    planned = plan(connection, pipeline, DAY, at_instant(now))
                context = BuildContext(pipeline, servers.postgres, store, f"rollback {number}")
                outcome = roll_back(context, planned, "measured by the benchmark", "bench")
            finally:
                done.set()
            found["total"].append(time.perf_counter() - begun)
            found["locked"].append(outcome.locked_seconds)
            for each in waiting:
                reads, mixed, longest = each.result()
                found["reads"] += reads
                found["mixed"] += mixed
                found["longest_read"] = max(found["longest_read"], longest)
    return found


def _read(servers: Servers, pipeline: Pipeline, done: threading.Event) -> tuple[int, int, float]:
    """Read one row of every table until the end; return the reads, those that saw a mix, and the longest in seconds."""
    names = [str(relation) for relation in pipeline.tables]
    lowest = [f"(select min(amount) from {name} where load_date = '{DAY}')" for name in names[: PARTITIONED + 1]]
    stored = ", ".join(name for name in names if name != "marts.shown")
    reads, mixed, longest = 0, 0, 0.0
    with connect(servers.postgres, pipeline.name, "bench reader") as connection:
        while not done.is_set():
            begun = time.perf_counter()
            with connection.transaction():
                connection.execute(f"lock table {stored} in access share mode")
                row = connection.execute(f"select {', '.join(lowest)}").fetchone()
            longest = max(longest, time.perf_counter() - begun)
            reads, mixed = reads + 1, mixed + (row is None or len({*row}) != 1)
    return reads, mixed, longest


if __name__ == "__main__":
    main()
