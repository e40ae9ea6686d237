"""Passwords and keys are in the credentials file only: not in a log, the run log, Dagster's events, or `ps`.

The output of each call of the other tests is checked for them too (command.py).
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from kpi_assets_tests.cli.command import BUCKET, CliHarness, Kpi, key, plain_environment
from kpi_assets_tests.cli.conftest import Published

SESAME = "open-sesame-canary"


@pytest.fixture(scope="module", autouse=True)
def _busy(kpi: CliHarness, published: Published) -> None:
    """After a run, make calls that fail with a wrong secret and print the stack trace."""
    url = kpi.servers["KPI_POSTGRES_URL"].replace("://kpi:", f"://kpi:{SESAME}")
    calls: list[tuple[list[object], dict[str, str]]] = [
        (["run", "instacart", "--select", "s3.orders"], {"KPI_POSTGRES_URL": url}),
        (["land", "instacart", "--from", published.files], {**kpi.servers, "AWS_SECRET_ACCESS_KEY": SESAME}),
    ]
    channels = {
        "KPI_ALERT_SLACK_URL": f"http://127.0.0.1:9/services/{SESAME}-1",
        "KPI_ALERT_WEBHOOK_URL": f"http://127.0.0.1:9/hook?sig={SESAME}-2",
        "KPI_ALERT_SMTP_URL": f"smtp://someone:{SESAME}@127.0.0.1:9",
        "KPI_ALERT_EMAIL_FROM": "kpi@example.com",
        "KPI_ALERT_EMAIL_TO": "ops@example.com",
    }
    # A held load_date is an incident, and none of these channels can be reached.
    kpi.s3.put_object(Bucket=BUCKET, Key=key("orders.csv", date(2025, 1, 3)), Body=b"")
    told = kpi("run", "instacart", "--load-date", "2025-01-03", "--select", "s3.orders", code=3, **channels)
    assert [word for word in ("slack", "webhook", "email") if f"{word} did not accept an alert" not in told.err] == []
    assert SESAME not in told.out + told.err
    for words, environment in calls:
        said = kpi("--debug", *words, code=1, RUN_DATE=str(published.day), **environment)
        assert "Traceback" in said.err
        assert SESAME not in said.out + said.err


def everything(kpi: CliHarness) -> list[str]:
    return [*kpi.secrets, SESAME]


def tables(connection: psycopg.Connection, schemas: list[str]) -> Iterator[sql.Identifier]:
    for schema, name in connection.execute(
        "select schemaname, tablename from pg_tables where schemaname = any(%s)", [schemas]
    ).fetchall():
        yield sql.Identifier(schema, name)


@pytest.mark.parametrize(("database", "schema"), [("instacart", "ops"), ("dagster", "public")])
def test_no_row_of_a_database_holds_a_secret(kpi: CliHarness, database: str, schema: str) -> None:
    with psycopg.connect(kpi.url(database)) as connection:
        looked_at = 0
        for table in tables(connection, [schema]):
            for (row,) in connection.execute(sql.SQL("select t::text from {} as t").format(table)):
                looked_at += 1
                assert [secret for secret in everything(kpi) if secret in row] == [], (table, row[:200])
        assert looked_at > 100


def test_no_file_of_the_home_but_the_credentials_holds_a_secret(kpi: CliHarness) -> None:
    holding: list[Path] = []
    looked_at = set()
    for path in kpi.home.rglob("*"):
        if path.is_file() and kpi.home / "postgres" not in path.parents:
            content = path.read_bytes()
            looked_at.add(path.relative_to(kpi.home).parts[0])
            if any(secret.encode() in content for secret in everything(kpi)):
                holding.append(path)
    assert holding == [kpi.home / "credentials.json"]
    assert looked_at >= {"logs", "run", "dagster", "credentials.json"}
    assert (kpi.home / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_no_process_shows_a_secret(kpi: CliHarness) -> None:
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if any(secret in line for secret in everything(kpi))] == []
    assert any(str(kpi.home) in line for line in lines), "the servers are running"


CUT = "Qz7J/xV8k@9WpY"  # passwords that a library may read as host, port or database
COMMANDS = [
    ["run", "instacart", "--load-date", "2025-06-01"],
    ["backfill", "instacart", "--from", "2025-06-01", "--to", "2025-06-02"],
    ["land", "instacart", "--load-date", "2025-06-01", "--from", "."],
    ["doctor"],
    ["up"],
    ["status"],
    ["bootstrap"],
    ["url", "instacart"],
    ["alerts", "--test"],
    ["serve"],
]
CANARIES = {
    "KPI_POSTGRES_URL": f"postgresql://kpi:{CUT}@127.0.0.1:1/postgres",
    "KPI_ADMIN_POSTGRES_URL": f"postgresql://postgres:{CUT}@127.0.0.1:1/postgres",
    "KPI_DAGSTER_POSTGRES_URL": f"postgresql://kpi:{CUT}@127.0.0.1:1/dagster",
    "KPI_S3_ENDPOINT_URL": f"http://key:{CUT}@127.0.0.1:1",
    "KPI_ALERT_SLACK_URL": f"https://someone:{CUT}@hooks.example.com/",
    "KPI_ALERT_SMTP_URL": f"smtp://someone:{CUT}@127.0.0.1",
    "KPI_UI_URL": f"https://someone:{CUT}@127.0.0.1",
    "KPI_S3_BUCKET": f"s3://key:{CUT}@bucket",
    "KPI_ALERT_WEBHOOK_URL": f"https://example.com:{CUT}/",
    "KPI_SERVE_POSTGRES_URL": f"postgresql://kpi:{CUT}@127.0.0.1:1/postgres",
}


def test_no_command_shows_any_part_of_a_url_that_it_cannot_read(kpi: CliHarness, tmp_path: Path) -> None:
    def call(words: list[str], name: str) -> str:
        alone = Kpi(tmp_path / name, tmp_path, **{name: CANARIES[name]})
        said = alone("--debug", *words, code=2)
        assert said.out == ""
        return said.err

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(call, COMMANDS, CANARIES))
    for said, name in zip(answers, CANARIES, strict=True):
        last = said.splitlines()[-1]
        assert last.startswith(f"error: The setting {name} cannot be read (write "), said
        assert [CUT[at : at + 4] for at in range(len(CUT) - 3) if CUT[at : at + 4] in said] == [], said
    assert list(tmp_path.iterdir()) == [], "nothing was created or logged"


@pytest.mark.nightly
def test_the_definitions_show_no_secret_to_dagster(tmp_path: Path) -> None:
    """The code servers of web UI and daemon load the definitions, and their errors are shown in logs and in the UI."""
    environment = {**plain_environment(), "KPI_HOME": str(tmp_path), "KPI_POSTGRES_URL": CANARIES["KPI_POSTGRES_URL"]}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "kpi_assets.definitions"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "The setting KPI_POSTGRES_URL cannot be read" in said
    assert [CUT[at : at + 4] for at in range(len(CUT) - 3) if CUT[at : at + 4] in said] == []
