"""The pipeline retail: its tables, and what its gates hold of a retailer that has no sales or means something else."""

from collections.abc import Callable
from datetime import date

import pytest

from kpi_assets.materialize.build import build
from kpi_assets.materialize.verify_object import verify
from kpi_assets_tests import shipped
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import failed
from kpi_assets_tests.retail_apis import RetailPipeline

DAY = date(2025, 7, 1)
RAW = [f"raw.retailer_{number}_sales" for number in (1, 2, 3)]


def test_it_has_the_tables_that_people_query() -> None:
    pipeline = shipped.PIPELINES["retail"]
    assert {str(relation) for relation in pipeline.tables} == {
        *RAW,
        "staging.sales",
        *(f"warehouse.dim_{name}" for name in ("date", "retailer", "product", "store", "customer")),
        "warehouse.fact_sales",
        *(f"warehouse.kpi_sales_{name}" for name in ("day", "week", "month", "quarter", "by_category")),
        *(f"warehouse.kpi_{name}" for name in ("top_products", "returning_customers")),
    }
    assert {api: config.secrets for api, config in pipeline.config.apis.items()} == {
        f"retailer_{number}": [f"retailer_{number}"] for number in (1, 2, 3)
    }
    kpis = [table for table in pipeline.tables.values() if table.header.kpi]
    assert len(kpis) == 7
    assert {table.header.freshness.within_hours for table in kpis if table.header.freshness} == {36}


@pytest.fixture
def built(retail: RetailPipeline) -> Callable[[str], list[set[str]]]:
    """A function that fills DAY with a fault, and returns the checks that fail, by table up to staging.sales."""

    def built(fault: str) -> list[set[str]]:
        retail.asked.fill(DAY, fault, orders=40)
        context, found = retail.prepared(), list[set[str]]()
        for name in (*RAW, "staging.sales"):
            table = context.pipeline.table(name)
            if table.has_object:
                assert not verify(context, table, DAY).held
            outcome = build(context, table, DAY)
            found.append(set(failed(outcome.results)) if outcome.held else set())
            if outcome.held and table.has_object:
                break
        return found

    return built


def test_a_day_without_sales_is_held(built: Callable[[str], list[set[str]]]) -> None:
    """The API has answered, and said that there are none: that is no failure, and no day without sales either."""
    assert built("retailer_2_no-sales") == [set(), {"min_rows"}]


@pytest.mark.parametrize(
    "fault", few(1, ["retailer_1_before-discount", "retailer_2_with-tax", "retailer_3_with-shipping"])
)
def test_a_retailer_whose_amounts_mean_something_else_is_held(
    built: Callable[[str], list[set[str]]], fault: str
) -> None:
    """Each amount alone is possible, but not beside its price: the budget for single wrong sales is not for that."""
    assert built(fault) == [set(), set(), set(), {"quarantine"}]
