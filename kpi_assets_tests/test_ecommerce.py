"""The pipeline ecommerce beside instacart: its limits, its products on the days after a Monday, and a full story."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.verify_object import verify
from kpi_assets.samples.ecommerce.generator import Ecommerce
from kpi_assets_tests import shipped
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import PipelineHarness, failed
from kpi_assets_tests.test_ecommerce_oracle import ECOMMERCE, MONDAY, land_all, run_all


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    """The shipped pipeline ecommerce, under another name."""
    with PipelineHarness.open(stack, tmp_path, ECOMMERCE) as lab:
        yield lab


def test_it_has_the_tables_that_people_query() -> None:
    pipeline = shipped.PIPELINES["ecommerce"]
    assert {str(relation) for relation in pipeline.tables} == {
        *(f"raw.{name}" for name in ("orders_json", "events_csv", "products_json")),
        *(f"staging.{name}" for name in ("orders_clean", "events_clean", "products_clean")),
        *(f"warehouse.dim_{name}" for name in ("date", "product", "user")),
        *(f"warehouse.fact_{name}" for name in ("orders", "events")),
        *(f"warehouse.kpi_{name}" for name in ("revenue_by_category", "conversion_funnel", "repeat_customers")),
    }
    assert {str(relation) for relation in pipeline.live} == {
        "warehouse.daily_metrics",
        *(f"audit.{name}" for name in ("pipeline_runs", "dq_failures", "bad_records")),
    }


@pytest.mark.parametrize(
    ("table", "limit", "orders", "events"),
    few(1, [("raw.orders_json", "500000", 101, 600), ("raw.events_csv", "2000000", 101, 601)]),
)
def test_a_day_beyond_the_largest_is_held_by_that_check_alone(
    shop: PipelineHarness, tmp_path: Path, table: str, limit: str, orders: int, events: int
) -> None:
    """The limits are lowered to what a test can write; the largest day itself passes."""
    path = shop.folder / f"{table.replace('.', '/')}.sql"
    for largest, held in ((events - 1 if "events" in table else orders - 1, True), (601, False)):
        path.write_text(
            (ECOMMERCE / f"{table.replace('.', '/')}.sql").read_text().replace(f"> {limit}", f"> {largest}")
        )
        Ecommerce(events).write(tmp_path / "files", load_date=MONDAY, orders=orders, seed=1)
        land_all(shop, tmp_path / "files")
        outcome = shop.build(table, MONDAY)
        assert set(failed(outcome.results)) == ({f"at_most_{limit}"} if held else set())
        assert outcome.held == held


def test_the_list_of_a_monday_stands_in_for_thirteen_days(shop: PipelineHarness, tmp_path: Path) -> None:
    """Here the lists land as files, and no API is asked."""
    path = shop.folder / "raw/products_json.sql"
    path.write_text(re.sub(r"  api: products\n  call:\n(    .*\n)+", "", path.read_text()))
    sunday = MONDAY + timedelta(days=13)
    for day in (MONDAY, sunday, sunday + timedelta(days=1)):
        Ecommerce().write(tmp_path / "files", load_date=day, orders=100, seed=1)
    for monday in (MONDAY + timedelta(days=7), MONDAY + timedelta(days=14)):
        (tmp_path / "files" / f"products/{monday}/products.json").unlink()
    land_all(shop, tmp_path / "files")
    context = shop.prepared()
    run_all(context, MONDAY)

    table = context.pipeline.table("raw.products_json")
    assert table.source.api is None
    assert not verify(context, table, sunday).held
    outcome = build(context, table, sunday)
    assert not outcome.held
    assert set(failed(outcome.results)) <= {"carried"}
    assert _listed(shop, sunday) == _listed(shop, MONDAY)

    assert verify(context, table, sunday + timedelta(days=1)).held


def _listed(shop: PipelineHarness, day: date) -> list[tuple[object, ...]]:
    return shop.rows(f"select product_id, raw_data::text from raw.products_json where load_date = '{day}' order by 1")
