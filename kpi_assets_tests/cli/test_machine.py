"""An infrastructure error is one sentence with exit code 1, and published rows stay unchanged."""

import socket
from collections.abc import Iterator
from datetime import date

import pytest
from psycopg.conninfo import conninfo_to_dict

from kpi_assets_tests.cli.command import BUCKET, CliHarness, key
from kpi_assets_tests.cli.conftest import Published

DAY = date(2025, 6, 9)
OBJECT = f"s3://{BUCKET}/{key('orders.csv', DAY)}"
RUN = ("run", "instacart", "--load-date", DAY, "--select", "+raw.orders")


@pytest.fixture(autouse=True)
def _nothing_changes(kpi: CliHarness, published: Published) -> Iterator[None]:
    before = kpi.rows("select * from ops.publishes order by publish_id")
    yield
    assert kpi.rows("select * from ops.publishes order by publish_id") == before


def place(kpi: CliHarness, port: object = None) -> str:
    return f"127.0.0.1:{port or conninfo_to_dict(kpi.url())['port']}"


def test_a_warehouse_that_cannot_be_reached_is_one_sentence(kpi: CliHarness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    said = kpi(*RUN, code=1, KPI_POSTGRES_URL=f"postgresql://kpi:sesame@127.0.0.1:{port}/postgres")
    assert said.out == ""
    assert said.err.startswith(f"error: The warehouse server at {place(kpi, port)} cannot be used as user 'kpi' on ")
    assert said.err.endswith("): start it, or correct host and port in KPI_POSTGRES_URL.\n")
    assert said.err.count("\n") == 1
    assert "sesame" not in said.err


def test_a_wrong_password_is_one_sentence(kpi: CliHarness) -> None:
    kpi.fails(
        f"The warehouse server at {place(kpi)} cannot be used as user 'kpi' on database 'postgres' "
        '(password authentication failed for user "kpi"): correct user and password in KPI_POSTGRES_URL.',
        *RUN,
        KPI_POSTGRES_URL=f"postgresql://kpi:sesame@{place(kpi)}/postgres",
    )


def test_a_user_without_the_right_to_create_schemas_is_one_sentence(kpi: CliHarness) -> None:
    kpi.execute("create role visitor login password 'guest'", "grant connect on database instacart to visitor")
    kpi.execute("grant connect on database postgres to visitor")
    kpi.fails(
        "The database 'instacart' cannot be made ready (permission denied for schema ops): KPI_POSTGRES_URL "
        "must name a user who owns that database or has the roles kpi_loader and kpi_builder.",
        *RUN,
        KPI_POSTGRES_URL=f"postgresql://visitor:guest@{place(kpi)}/postgres",
    )


def assert_failed(kpi: CliHarness, sentence: str, **environment: str) -> None:
    """Check that a run fails at its object with this sentence, also in the run log, and skips the tables after it."""
    said = kpi(*RUN, code=1, **{**kpi.servers, **environment})
    assert said.out == f"failed s3.orders: {sentence}\n"
    assert said.line("s3.orders failed")
    assert said.line("raw.orders skipped")
    assert kpi.rows(
        "select job, status, error_message from ops.pipeline_runs "
        "where run_id = (select run_id from ops.pipeline_runs order by id desc limit 1) order by id"
    ) == [("instacart", "failed", f"s3.orders: {sentence}"), ("s3.orders", "failed", sentence)]
    assert kpi.rows("select status from runs order by id desc limit 1", database="dagster") == [("FAILURE",)]


def test_a_store_that_cannot_be_reached_is_one_sentence(kpi: CliHarness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    nobody_there = (
        f"nobody listens at {endpoint.removeprefix('http://')}: start the store, or correct KPI_S3_ENDPOINT_URL."
    )
    assert_failed(kpi, f"{OBJECT} cannot be used: {nobody_there}", KPI_S3_ENDPOINT_URL=endpoint)


@pytest.mark.nightly
def test_wrong_credentials_of_the_store_are_one_sentence(kpi: CliHarness) -> None:
    refused = (
        "access is refused (403), and the answer does not say why: check the credentials in AWS's variables, the "
        "bucket's policy, and the clock of this machine."
    )
    assert_failed(kpi, f"{OBJECT} cannot be used: {refused}", AWS_SECRET_ACCESS_KEY="sesame")


def test_a_bucket_that_is_not_there_is_one_sentence(kpi: CliHarness) -> None:
    sentence = "The bucket kpi-nonsense does not exist: create it, or correct KPI_S3_BUCKET."
    assert_failed(kpi, sentence, KPI_S3_BUCKET="kpi-nonsense")


def test_an_endpoint_that_is_no_url_is_refused(kpi: CliHarness, published: Published) -> None:
    sentence = (
        "The setting KPI_S3_ENDPOINT_URL cannot be read (write http://host:port or https://host, without a user, a "
        "password or a query: the store's keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY): correct it in the "
        "environment."
    )
    environment = {**kpi.servers, "KPI_S3_ENDPOINT_URL": "nonsense"}
    for words in (RUN, ("land", "instacart", "--load-date", DAY, "--from", published.files)):
        kpi.fails(sentence, *words, code=2, **environment)


def test_a_home_that_cannot_be_created_is_one_sentence(kpi: CliHarness) -> None:
    blocked = kpi.folder / "a-file"
    blocked.write_text("")
    said = kpi(*RUN, code=1, KPI_HOME=str(blocked / "home"))
    assert (said.out, said.err) == (
        "",
        f"error: The embedded servers cannot use {blocked} (File exists): "
        "give yourself read and write access to it, or set KPI_HOME to another folder.\n",
    )
