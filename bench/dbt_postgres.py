r"""dbt-postgres: \copy of the five files, then `dbt build` of the same models and tests, in a virtual environment."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench.context import BenchContext, Kpis, kpis_in
from bench.hand_written import RAW

NAME = "dbt-postgres"
DATABASE = "bench_dbt"
REQUIREMENTS = ["dbt-core==1.10.23", "dbt-postgres==1.9.1"]  # the newest pair that the package index has completely


def prepare(context: BenchContext) -> None:
    """Make empty raw tables without keys, because dbt tests the keys, and let dbt parse its project once."""
    with psycopg.connect(context.fresh_database(DATABASE), autocommit=True) as connection:
        connection.execute("create schema raw")
        for table, (_, columns) in RAW.items():
            plain = columns.split(", primary key (")[0].replace(" primary key", "")
            connection.execute(f"create table raw.{table} ({plain})".encode())
    _dbt(context, "parse")


def run(context: BenchContext) -> None:
    """Load the files, then build every model and run every test."""
    with psycopg.connect(context.url(DATABASE), autocommit=True) as connection:
        for table, (file, _) in RAW.items():
            context.copy(connection, f"raw.{table}", file)
    _dbt(context, "build")


def kpis(context: BenchContext) -> Kpis:
    """Return the computed KPIs."""
    return kpis_in(context.url(DATABASE), "dbt_marts.")


def _dbt(context: BenchContext, command: str) -> None:
    parts = conninfo_to_dict(context.server)
    project = str(__file__).replace("dbt_postgres.py", "dbt_project")
    context.call(
        [
            context.tools / "dbt" / "bin" / "dbt",
            "--no-send-anonymous-usage-stats",
            "--log-path",
            str(context.scratch / "dbt-logs"),
            command,
            "--project-dir",
            project,
            "--profiles-dir",
            project,
            "--target-path",
            str(context.scratch / "dbt-target"),
        ],
        BENCH_HOST=str(parts["host"]),
        BENCH_PORT=str(parts["port"]),
        BENCH_USER=str(parts["user"]),
        BENCH_PASSWORD=str(parts["password"]),
        BENCH_DATABASE=DATABASE,
    )
