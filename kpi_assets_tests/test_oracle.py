"""The published KPIs equal those of the oracle, row for row and digit for digit."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.database import publish
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.verify_object import verify
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import default_sql_dir
from kpi_assets.sources.landing import land
from kpi_assets_tests.examples import ALL, few
from kpi_assets_tests.oracle import FILES, Kpis, kpis
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

INSTACART = default_sql_dir() / "instacart"
BY_DOW = "order_dow, total_orders, avg_items_per_order, pct_orders_with_any_reorder, avg_reorder_item_rate"
BY_PRODUCT = "product_id, product_name, orders_with_product, times_reordered, product_reorder_rate, is_low_volume"
MARTS = [f"marts.{path.stem}" for path in sorted(INSTACART.glob("marts/*.sql"))]


@pytest.fixture
def instacart(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    """The shipped pipeline instacart, under another name."""
    with PipelineHarness.open(stack, tmp_path, INSTACART) as lab:
        yield lab


def land_all(context: BuildContext, folder: Path, day: date) -> None:
    for table in context.pipeline.object_tables:
        key = table.object_key(day)
        assert land(context.store, folder / Path(key).name, key, replace=False) == "landed"


def run_all(context: BuildContext, day: date) -> dict[str, str]:
    """Build every table of a load_date from its objects; return the checksums."""
    checksums = {}
    for table in context.pipeline.tables.values():
        if table.has_object:
            assert not verify(context, table, day).held
        outcome = build(context, table, day)
        assert not outcome.held, outcome.results
        checksums[str(table.relation)] = outcome.checksum
    return checksums


def published(lab: PipelineHarness, day: date) -> Kpis:
    """Return what readers see of a load_date."""
    one_day = f"where load_date = '{day}'"
    return Kpis(
        lab.rows(f"select {BY_DOW} from marts.kpi_orders_by_dow {one_day} order by order_dow"),
        lab.rows(f"select {BY_PRODUCT} from marts.kpi_products_reorder {one_day} order by product_id"),
        lab.rows(f"select {BY_DOW} from marts.kpi_orders_by_dow_28d {one_day} order by order_dow"),
        {table: lab.rows(f"select count(*) from {table} {one_day}")[0][0] for table in MARTS},
    )


@pytest.mark.parametrize("seed", few(1, [1, 2]))
def test_synthetic_days_equal_the_oracle(instacart: PipelineHarness, tmp_path: Path, seed: int) -> None:
    context = instacart.prepared()
    GENERATORS["instacart"].write(tmp_path, load_date=DAY, orders=3000, seed=seed)
    land_all(context, tmp_path, DAY)

    run_all(context, DAY)

    found = published(instacart, DAY)
    assert found == kpis(tmp_path)
    assert (found.rows["marts.fact_orders"], len(found.by_dow)) == (3000, 7)


@pytest.mark.nightly
def test_real_rows_equal_the_oracle_and_building_them_again_changes_nothing(
    instacart: PipelineHarness, real_rows: Path
) -> None:
    context = instacart.prepared()
    days = {DAY: real_rows / "users_closed", NEXT: real_rows / "joinable"}
    for day, folder in days.items():
        land_all(context, folder, day)

    first = {day: run_all(context, day) for day in days}

    wanted = {DAY: kpis(days[DAY]), NEXT: kpis(days[NEXT], days[DAY])}
    assert {day: published(instacart, day) for day in days} == wanted
    assert [wanted[day].rows["marts.fact_orders"] for day in days] == [1000, 12744]
    latest = instacart.rows(f"select {BY_DOW} from marts.kpi_orders_by_dow_latest order by order_dow")
    assert latest == wanted[NEXT].by_dow
    shown = [row[:-1] for row in wanted[NEXT].by_product if not row[-1]]
    assert instacart.rows("select * from marts.kpi_products_reorder_latest order by product_id") == [
        (NEXT, *row) for row in shown
    ]
    assert 0 < len(shown) < len(wanted[NEXT].by_product)

    assert {day: run_all(context, day) for day in days} == first
    assert {day: published(instacart, day) for day in days} == wanted


@pytest.mark.nightly
def test_a_window_of_synthetic_days_equals_the_oracle(instacart: PipelineHarness, tmp_path: Path) -> None:
    """An order that is delivered again counts once, as delivered last; the 28 days to DAY - 1 start on 2025-02-01."""
    context = instacart.prepared()
    outside, *window = [date(2025, 1, 31), date(2025, 2, 1), date(2025, 2, 20), date(2025, 2, 28)]
    folders = {day: tmp_path / str(day) for day in (outside, *window)}
    for number, (day, folder) in enumerate(folders.items()):
        GENERATORS["instacart"].write(folder, load_date=day, orders=1400 - 100 * number, seed=number)
        land_all(context, folder, day)
        run_all(context, day)

    wanted = kpis(folders[window[-1]], *(folders[day] for day in window[:-1]))
    assert published(instacart, window[-1]) == wanted
    assert published(instacart, outside).by_dow_28d == kpis(folders[outside]).by_dow
    orders = {row[0] for row in instacart.rows("select order_id from marts.fact_orders where load_date > '2025-01-31'")}
    delivered = instacart.rows("select count(*) from marts.fact_orders where load_date > '2025-01-31'")
    assert sum(row[1] for row in wanted.by_dow_28d) == len(orders)
    assert (len(orders), delivered) == (1300, [(3600,)])


@dataclass(frozen=True)
class ShopRecords:
    """The records of the five files."""

    orders: list[tuple[Any, ...]]
    order_products__prior: list[tuple[Any, ...]]
    products: list[tuple[Any, ...]]
    aisles: list[tuple[Any, ...]]
    departments: list[tuple[Any, ...]]

    def write(self, folder: Path) -> dict[str, bytes]:
        """Write the files; return their bytes by name."""
        for name, columns in FILES.items():
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([tuple(columns), *getattr(self, name)])
        return {name: (folder / f"{name}.csv").read_bytes() for name in FILES}


@st.composite
def shops(draw: st.DrawFn) -> ShopRecords:
    """Draw users with a few orders each; the last may be a train or test order, and a prior one may lack its lines."""
    names = st.text("aZé雪 ,;'\"\\%\n", min_size=1, max_size=8)
    products = [(number, draw(names), 1, 1) for number in range(1, draw(st.integers(1, 5)) + 1)]
    orders: list[tuple[Any, ...]] = []
    lines: list[tuple[Any, ...]] = []
    for user in range(1, draw(st.integers(1, 4)) + 1):
        count = draw(st.integers(1, 4))
        last = draw(st.sampled_from(["prior", "train", "test"]))
        for number in range(1, count + 1):
            order_id = len(orders) + 1
            eval_set = last if number == count else "prior"
            days = f"{draw(st.integers(0, 30))}.0" if number > 1 else None
            dow, hour = draw(st.integers(0, 6)), draw(st.integers(0, 23))
            orders.append((order_id, user, eval_set, number, dow, f"{hour:02}", days))
            if eval_set == "prior":
                basket = draw(st.lists(st.sampled_from(products), unique=True))
                lines += [
                    (order_id, product[0], place, draw(st.integers(0, 1))) for place, product in enumerate(basket, 1)
                ]
    return ShopRecords(orders, lines, products, [(1, "aisle")], [(1, "department")])


@pytest.fixture
def any_shop(instacart: PipelineHarness) -> BuildContext:
    """The context of builds that accept a shop without any order."""
    none = {f"{instacart.name}.{name}": 0 for name in ("stg.stg_order_products_prior", "marts.fact_order_items")}
    none[f"{instacart.name}.marts.kpi_products_reorder"] = 0
    return replace(instacart.prepared(), pipeline=instacart.pipeline(none))


@settings(
    max_examples=15 if ALL else 2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],  # each example replaces the one before
)
@given(shop=shops())
def test_random_small_shops_equal_the_oracle(
    shop: ShopRecords, instacart: PipelineHarness, any_shop: BuildContext, tmp_path: Path
) -> None:
    files = shop.write(tmp_path)
    pipeline = any_shop.pipeline
    with instacart.session() as connection:
        for table in pipeline.object_tables:
            publish(connection, pipeline, table.relation, DAY, files[Path(table.object_key(DAY)).stem])

    for table in pipeline.tables.values():
        if table.query:
            outcome = build(any_shop, table, DAY)
            assert not outcome.held, outcome.results

    assert published(instacart, DAY) == kpis(tmp_path)
