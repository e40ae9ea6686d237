r"""dbt-postgres: \copy of the five files, then `dbt build` of the same models and tests, in a virtual environment."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench.old_runner import RAW
from bench.place import Kpis, Place, kpis_in

NAME = "dbt-postgres"
DATABASE = "bench_dbt"
REQUIREMENTS = ["dbt-core==1.10.23", "dbt-postgres==1.9.1"]  # the newest that are whole on the package index


def prepare(place: Place) -> None:
    """Empty raw tables without keys, which are tests there; and dbt has parsed its project once."""
    with psycopg.connect(place.fresh_database(DATABASE), autocommit=True) as connection:
        connection.execute("create schema raw")
        for table, (_, columns) in RAW.items():
            plain = columns.split(", primary key (")[0].replace(" primary key", "")
            connection.execute(f"create table raw.{table} ({plain})".encode())
    _dbt(place, "parse")


def run(place: Place) -> None:
    """The load, then every model and test."""
    with psycopg.connect(place.url(DATABASE), autocommit=True) as connection:
        for table, (file, _) in RAW.items():
            place.copy(connection, f"raw.{table}", file)
    _dbt(place, "build")


def kpis(place: Place) -> Kpis:
    """What it came to."""
    return kpis_in(place.url(DATABASE), "dbt_marts.")


def _dbt(place: Place, word: str) -> None:
    parts = conninfo_to_dict(place.server)
    project = str(__file__).replace("dbt_postgres.py", "dbt_project")
    place.call(
        [
            place.tools / "dbt" / "bin" / "dbt",
            "--no-send-anonymous-usage-stats",
            "--log-path",
            str(place.scratch / "dbt-logs"),
            word,
            "--project-dir",
            project,
            "--profiles-dir",
            project,
            "--target-path",
            str(place.scratch / "dbt-target"),
        ],
        BENCH_HOST=str(parts["host"]),
        BENCH_PORT=str(parts["port"]),
        BENCH_USER=str(parts["user"]),
        BENCH_PASSWORD=str(parts["password"]),
        BENCH_DATABASE=DATABASE,
    )
