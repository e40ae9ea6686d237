"""The fixtures of all shipped tables that are portable give the same rows and bad rows on DuckDB and Spark."""

import pytest

from kpi_assets_tests import shipped
from kpi_assets_tests.examples import ALL
from kpi_assets_tests.model.portable.duckdb_engine import OnDuckDB
from kpi_assets_tests.model.portable.fixtures import differences
from kpi_assets_tests.model.portable.spark import OnSpark
from kpi_assets_tests.sql.cases import all_cases


def test_duckdb_builds_the_fixtures_as_postgres_does() -> None:
    cases = all_cases() if ALL else all_cases()[::5]
    found, ran = differences(OnDuckDB(), shipped.PIPELINES, cases)
    assert found == []
    assert ran > (100 if ALL else 20)


@pytest.mark.nightly
def test_spark_builds_the_fixtures_as_postgres_does(spark: OnSpark) -> None:
    found, ran = differences(spark, shipped.PIPELINES, all_cases())
    assert found == []
    assert ran > 100
