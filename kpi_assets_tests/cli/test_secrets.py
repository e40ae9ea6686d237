"""No password or key is anywhere but in the credentials file: not in a log, the run log, Dagster's events, or `ps`.

Each call of the other tests is held to the same for what it says (command.py).
"""

from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from kpi_assets_tests.cli.command import Site
from kpi_assets_tests.cli.conftest import Published

SESAME = "open-sesame-canary"


@pytest.fixture(scope="module", autouse=True)
def _busy(kpi: Site, published: Published) -> None:
    """After a run, failures that have a wrong secret in hand, with the stack trace."""
    url = kpi.servers["KPI_POSTGRES_URL"].replace("://kpi:", f"://kpi:{SESAME}")
    calls: list[tuple[list[object], dict[str, str]]] = [
        (["run", "instacart", "--select", "s3.orders"], {"KPI_POSTGRES_URL": url}),
        (["land", "instacart", "--from", published.files], {**kpi.servers, "AWS_SECRET_ACCESS_KEY": SESAME}),
    ]
    for words, environment in calls:
        said = kpi("--debug", *words, code=1, RUN_DATE=str(published.day), **environment)
        assert "Traceback" in said.err
        assert SESAME not in said.out + said.err


def everything(kpi: Site) -> list[str]:
    return [*kpi.secrets, SESAME]


def tables(connection: psycopg.Connection, schemas: list[str]) -> Iterator[sql.Identifier]:
    for schema, name in connection.execute(
        "select schemaname, tablename from pg_tables where schemaname = any(%s)", [schemas]
    ).fetchall():
        yield sql.Identifier(schema, name)


@pytest.mark.parametrize(("database", "schema"), [("instacart", "ops"), ("dagster", "public")])
def test_no_row_holds_one(kpi: Site, database: str, schema: str) -> None:
    with psycopg.connect(kpi.url(database)) as connection:
        looked_at = 0
        for table in tables(connection, [schema]):
            for (row,) in connection.execute(sql.SQL("select t::text from {} as t").format(table)):
                looked_at += 1
                assert [secret for secret in everything(kpi) if secret in row] == [], (table, row[:200])
        assert looked_at > 100


def test_no_file_of_the_home_holds_one_but_the_credentials(kpi: Site) -> None:
    holding: list[Path] = []
    looked_at = set()
    for path in kpi.home.rglob("*"):
        if path.is_file() and kpi.home / "postgres" not in path.parents and kpi.home / "s3" not in path.parents:
            content = path.read_bytes()
            looked_at.add(path.relative_to(kpi.home).parts[0])
            if any(secret.encode() in content for secret in everything(kpi)):
                holding.append(path)
    assert holding == [kpi.home / "credentials.json"]
    assert looked_at >= {"logs", "run", "dagster", "credentials.json"}
    assert (kpi.home / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_no_process_shows_one(kpi: Site) -> None:
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if any(secret in line for secret in everything(kpi))] == []
    assert any(str(kpi.home) in line for line in lines), "the servers run"
