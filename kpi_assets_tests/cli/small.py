"""A small pipeline for tests of the command: one raw table and a mart, whose objects a test writes itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import psycopg

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.pipeline_harness import GOOD, MART, PIPELINE_YAML, RAW_THINGS

NAME, BUCKET = "small", "kpi-small"
FIRST = date(2025, 1, 1)


def write_sql(sql: Path, *, name: str = NAME, bucket: str = BUCKET, **files: str) -> Path:
    """Write the sql tree of the pipeline below a folder; `files` are added to `marts`, or replace its own `things`.

    With a name of its own it has a database that no other test publishes into, and with a bucket of its own no other
    test is told of its objects.
    """
    texts = {"raw/things": RAW_THINGS, "marts/things": MART, **{f"marts/{file}": text for file, text in files.items()}}
    for file, text in texts.items():
        path = sql / name / f"{file}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (sql / name / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=bucket))
    return sql


def upload(kpi: CliHarness, day: date, body: bytes = GOOD, bucket: str = BUCKET) -> None:
    """Upload the object of a load_date."""
    kpi.stack.make_bucket(bucket)
    kpi.s3.put_object(Bucket=bucket, Key=f"raw/things/load_date={day}/things.csv", Body=body)


@contextmanager
def of_few_sessions(folder: Path, load_dates: int, sessions: int) -> Iterator[CliHarness]:
    """Yield the command on a server with a limited number of sessions, and with the objects of some load_dates."""
    with (
        Stack(folder / "home") as stack,
        psycopg.connect(stack.environment()["KPI_POSTGRES_URL"], autocommit=True) as connection,
    ):
        connection.execute(f"alter system set max_connections = {sessions}".encode())
    with Stack(folder / "home") as stack:
        kpi = CliHarness(stack, folder)
        kpi.environment["KPI_SQL_DIR"] = str(write_sql(folder / "sql"))
        for n in range(load_dates):
            upload(kpi, FIRST + timedelta(days=n))
        yield kpi
