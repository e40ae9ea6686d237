"""Preparing a database: which users may do it, and what it repairs."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.materialize.prepare import prepare
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness

LOGIN, PASSWORD = "kpi_test_product", "of-the-product"


@pytest.fixture
def product(lab: PipelineHarness) -> Iterator[SecretStr]:
    """The URL of a login that owns nothing and may act as the roles of kpi_assets, as in a deployment."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    lab.in_postgres(f"create role {LOGIN} login password '{PASSWORD}'")
    lab.in_postgres(f"grant kpi_loader, kpi_builder to {LOGIN}; grant connect on database postgres to {LOGIN}")
    yield SecretStr(make_conninfo(lab.server.get_secret_value(), user=LOGIN, password=PASSWORD))
    lab.in_postgres(f"drop owned by {LOGIN}; drop role {LOGIN}")


def test_a_user_who_does_not_own_a_prepared_database_may_use_it(lab: PipelineHarness, product: SecretStr) -> None:
    prepare(lab.pipeline(), product)
    with pytest.raises(WarehouseError) as failure:
        prepare(lab.pipeline(), product, as_owner=True)
    assert str(failure.value) == (
        f"The database '{lab.name}' belongs to somebody else: name its owner in KPI_ADMIN_POSTGRES_URL."
    )


def test_a_user_who_does_not_own_a_database_is_told_what_it_lacks(lab: PipelineHarness, product: SecretStr) -> None:
    with lab.session() as session:
        session.execute("drop schema stg")
    with pytest.raises(WarehouseError) as failure:
        prepare(lab.pipeline(), product)
    assert str(failure.value) == (
        f"The database '{lab.name}' lacks the schema stg, and the user of KPI_POSTGRES_URL may not change that: "
        "have an administrator run `kpi bootstrap`."
    )


def test_prepare_closes_the_run_log_of_a_process_that_died(lab: PipelineHarness) -> None:
    lab.prepared()
    with lab.session() as session:
        session.execute("insert into ops.pipeline_runs (run_id, pipeline_name, job) values ('dead', 'p', 'raw.things')")
    lab.prepared()
    assert lab.rows("select run_id, status, error_message, ended_at is not null from ops.pipeline_runs") == [
        ("dead", "failed", "The process that ran this died before it could finish.", True)
    ]
