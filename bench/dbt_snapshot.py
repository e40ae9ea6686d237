"""dbt-postgres: `dbt snapshot` of a table that holds the rows of one load_date, by the strategy `check`.

dbt runs in one process for all load_dates and parses its project once, so that neither its start nor its parsing
counts. It has no tests, and its time is the time of the run, so that load_dates can only come in order.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench.context import BenchContext

NAME = "dbt snapshot"
DATABASE = "bench_dbt_snapshot"
# The newest pair that the package index has completely: a later dbt-core fetches a part of itself from elsewhere.
REQUIREMENTS = ["dbt-core==1.11.16", "dbt-postgres==1.11.0"]
PROJECT = Path(__file__).with_name("dbt_snapshot_project")
VERSIONS = "select customer_id, city, dbt_valid_to is null from dbt.dim_customers"
_SCRIPT = """
import sys
import time
from dbt.cli.main import dbtRunner

manifest = dbtRunner().invoke(["parse", *sys.argv[1:]]).result
print("ready", flush=True)
for _ in sys.stdin:
    begun = time.perf_counter()
    done = dbtRunner(manifest=manifest).invoke(["snapshot", *sys.argv[1:]])
    seconds = time.perf_counter() - begun
    print(seconds if done.success else done.exception or done.result, flush=True)
"""


class Snapshots:
    """A process of dbt that takes a snapshot whenever it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._said()

    def take(self) -> float:
        """Take a snapshot, and return the seconds that it took. Raises RuntimeError if it failed."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        said = self._said()
        try:
            return float(said)
        except ValueError:
            raise RuntimeError(f"dbt snapshot failed: {said}") from None

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def snapshots(context: BenchContext, columns: str) -> Iterator[Snapshots]:
    """Make an empty database with the table, and start dbt; it ends with the block."""
    with psycopg.connect(context.fresh_database(DATABASE), autocommit=True) as connection:
        connection.execute("create schema raw")
        connection.execute(f"create table raw.customers ({columns})".encode())
    parts = conninfo_to_dict(context.server)
    script = context.scratch / "take_snapshots.py"
    script.write_text(_SCRIPT)
    options = ["--quiet", "--no-send-anonymous-usage-stats", "--log-path", str(context.scratch / "dbt-logs")]
    options += ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    options += ["--target-path", str(context.scratch / "dbt-target")]
    process = subprocess.Popen(
        [context.tools / "dbt-snapshot" / "bin" / "python", script, *options],
        env={
            **context.environment,
            "BENCH_HOST": str(parts["host"]),
            "BENCH_PORT": str(parts["port"]),
            "BENCH_USER": str(parts["user"]),
            "BENCH_PASSWORD": str(parts["password"]),
            "BENCH_DATABASE": DATABASE,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Snapshots(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)
