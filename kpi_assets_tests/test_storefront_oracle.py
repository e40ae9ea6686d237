"""The tables of the storefront equal those of the oracle: cleansed rows, versions and keys, facts, KPIs, scores."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.context import BuildContext
from kpi_assets.samples.storefront.generator import Storefront
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests import storefront_oracle
from kpi_assets_tests.examples import ALL
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.storefront_oracle import FIELDS, METHODS, storefront
from kpi_assets_tests.test_ecommerce_oracle import land_all, run_all

STOREFRONT = default_sql_dir() / "storefront"
MONDAY = date(2025, 1, 6)
# Of each file, what a record may have that is wrong, besides what is so on every day.
FAULTS = [
    *("name-in-capitals=2", "blanks-around-name", "missing-city", "email-in-capitals", "conflicting-customer"),
    *(
        "customer-without-id",
        "zero-price",
        "cost-above-price=2",
        "cost-equals-price",
        "missing-brand",
        "negative-stock",
    ),
    *("conflicting-product", "price-in-words", "future-date", "missing-date", "unknown-customer=2", "wrong-total"),
    *(
        "unknown-payment-method",
        "missing-payment-method",
        "duplicate-transaction",
        "zero-quantity",
        "unknown-product=2",
    ),
    *("discount-above-100", "negative-discount", "wrong-line-total", "unknown-transaction", "duplicate-item"),
]

# Of a load_date, each beside the field of the oracle's day that it equals.
CLEAN = {
    "good_customers": (
        "customers_clean",
        "record_number, customer_id, first_name, last_name, email, phone, city, state, country, age_group",
    ),
    "good_products": (
        "products_clean",
        "record_number, product_id, name, category, sub_category, brand, price, cost, stock_quantity, supplier_id",
    ),
    "kept": ("transactions_clean", "record_number, transaction_id, customer_id, transaction_date, payment_method"),
    "good_items": (
        "items_clean",
        "record_number, item_id, transaction_id, product_id, quantity, unit_price, discount_percentage, line_total",
    ),
}
AGGREGATES = {
    "daily": (
        "agg_daily_sales",
        "date_sk, date, transactions, items, revenue, profit, items_without_cost, customers, average_basket",
    ),
    "of_products": (
        "agg_product_sales",
        "product_id, name, category, quantity, revenue, profit, transactions, average_discount",
    ),
}
# The histories: surrogate key, and the columns with the key first.
HISTORIES = {
    "production.customers": (
        "customer_version",
        "customer_id, first_name, last_name, email, phone, city, state, country, age_group",
    ),
    "production.products": (
        "product_version",
        "product_id, name, category, sub_category, brand, price, cost, stock_quantity, supplier_id",
    ),
    "production.transactions": (
        "transaction_version",
        "transaction_id, customer_id, sale_date, payment_method, total_amount",
    ),
    "production.transaction_items": (
        "item_version",
        "item_id, transaction_id, product_id, quantity, unit_price, discount_percentage, line_total",
    ),
    "warehouse.dim_customers": ("customer_sk", "customer_id, first_name, last_name, city, state, country, age_group"),
    "warehouse.dim_products": (
        "product_sk",
        "product_id, name, category, sub_category, brand, price, cost, supplier_id",
    ),
    "warehouse.dim_date": (
        "date_version",
        "date_sk, date, year, quarter, month, day_of_month, day_of_week, is_weekend",
    ),
    "warehouse.dim_payment_method": ("payment_method_sk", "payment_method"),
    "warehouse.fact_sales": (
        "sales_key",
        "item_id, transaction_id, date_sk, customer_sk, product_sk, payment_method_sk, quantity, unit_price, "
        "discount_percentage, line_total, cost, profit",
    ),
    "warehouse.agg_customer_lifetime": (
        "customer_lifetime_sk",
        "customer_id, transactions, revenue, first_sale, last_sale, average_basket",
    ),
}


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    """The shipped pipeline storefront, under another name."""
    with PipelineHarness.open(stack, tmp_path, STOREFRONT) as lab:
        yield lab


def assert_equal(lab: PipelineHarness, folder: Path, days: Sequence[date]) -> storefront_oracle.Storefront:
    """Assert that load_dates and histories are as the oracle says, table by table, and return what it says."""
    wanted = storefront(folder, days)
    for history, (key, columns) in HISTORIES.items():
        first = columns.split(",")[0]
        order = first if history == "warehouse.dim_date" else f'{first} collate "C"'
        found = lab.rows(
            f"select {key}, {columns}, effective_date, end_date from {history} order by {order}, effective_date"
        )
        assert found == wanted.versions[history], history
    for day in days:
        expected = wanted.days[day]
        for name, (table, columns) in CLEAN.items():
            found = lab.rows(
                f"select {columns} from production.{table} where load_date = '{day}' "
                f'order by {columns.split(", ")[1]} collate "C"'
            )
            assert found == expected.clean[name], (day, table)
        for name, (table, columns) in AGGREGATES.items():
            first = columns.split(",")[0]
            order = first if first == "date_sk" else f'{first} collate "C"'
            found = lab.rows(f"select {columns} from warehouse.{table} where load_date = '{day}' order by {order}")
            assert found == getattr(expected, name), (day, table)
        assert scores(lab, day) == expected.scores, day
    return wanted


def scores(lab: PipelineHarness, day: date) -> dict[str, float]:
    """Return the score of each staging table in its latest build of a load_date."""
    found = lab.rows(
        "select distinct on (r.table_name) r.table_name, r.metric_value from ops.data_quality_results as r "
        "join ops.pipeline_runs as b on b.id = r.build_id "
        f"where r.check_name = 'quality' and b.load_date = '{day}' order by r.table_name, b.id desc"
    )
    return {name.removeprefix("staging."): float(metric) for name, metric in found}


def test_days_equal_the_oracle_and_again_the_same(shop: PipelineHarness, tmp_path: Path) -> None:
    """Each day has dirty values; customers move, go and come back; sales come late, are corrected and returned."""
    days = [MONDAY + timedelta(days=number) for number in (0, 1, 9)]
    folder = tmp_path / "files"
    for day in days:
        Storefront().write(folder, load_date=day, orders=600, seed=3, faults=FAULTS if day == MONDAY else [])
    land_all(shop, folder)
    context = shop.prepared()

    first = {day: run_all(context, day) for day in days}

    wanted = assert_equal(shop, folder, days)
    assert [len(wanted.days[day].sales) for day in days] == [1923, 1938, 1998]
    assert [len(wanted.versions[f"warehouse.{name}"]) for name in ("dim_customers", "dim_products", "fact_sales")] == [
        *(81, 53, 2054)
    ]
    assert wanted.days[MONDAY].scores == {
        "customers": 96.26,
        "products": 93.94,
        "transactions": 99.11,
        "transaction_items": 99.5,
    }
    if ALL:
        assert run_all(context, days[1]) == first[days[1]]
        assert_equal(shop, folder, days)


@pytest.mark.nightly
def test_late_and_replaced_load_dates_end_as_if_they_had_come_in_order(shop: PipelineHarness, tmp_path: Path) -> None:
    """Wednesday comes last, and Tuesday a second time, as what the shop exports a week later.

    All days after them are built again. A sale of a day that has not come is dropped.
    """
    monday, tuesday, wednesday, thursday = days = [MONDAY + timedelta(days=number) for number in range(4)]
    folder, other, later = tmp_path / "files", tmp_path / "other", tuesday + timedelta(days=7)
    Storefront(days=4).write(folder, load_date=monday, orders=300, seed=4)
    Storefront().write(other, load_date=later, orders=300, seed=4)
    land_all(shop, folder)
    context = shop.prepared()
    for day in (monday, tuesday, thursday, wednesday):
        run_all(context, day)
    for path in other.rglob("*.csv"):
        (folder / str(path.relative_to(other)).replace(str(later), str(tuesday))).write_bytes(path.read_bytes())
    land_all(shop, folder)

    for day in (tuesday, wednesday, thursday):
        run_all(context, day)

    assert_equal(shop, folder, days)


@pytest.mark.nightly
def test_a_big_shop_equals_the_oracle(shop: PipelineHarness, tmp_path: Path) -> None:
    """20,000 transactions on the first day, and three days of them; the second one is the last that comes."""
    days = [MONDAY + timedelta(days=number) for number in (0, 7, 30)]
    folder = tmp_path / "files"
    for day in days:
        Storefront().write(folder, load_date=day, orders=20_000, seed=6)
    land_all(shop, folder)
    context = shop.prepared()

    for number in (0, 2, 1, 2):
        run_all(context, days[number])

    wanted = assert_equal(shop, folder, days)
    assert [len(wanted.days[day].sales) for day in days] == [63925, 66136, 73362]


# --- random small shops


@dataclass(frozen=True)
class Files:
    """The records of some load_dates, by table."""

    records: Mapping[date, Mapping[str, Sequence[tuple[Any, ...]]]]

    def write(self, folder: Path) -> None:
        """Write the files under their keys."""
        for day, tables in self.records.items():
            for table, records in tables.items():
                path = folder / f"staging/{table}/load_date={day}/{table}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([FIELDS[table], *records])


DAYS = [MONDAY, MONDAY + timedelta(days=1), MONDAY + timedelta(days=2), MONDAY + timedelta(days=5)]
CUSTOMERS = st.tuples(
    st.sampled_from(["C1", "C2", "C3", "C4", "C5", None]),
    st.sampled_from(["Ann", "ANN", " ann  marie ", "O'BRIEN", "élodie", "", None]),
    st.sampled_from(["Smith-Jones", "smith-jones", "3rd street", "van der Berg"]),
    st.sampled_from(["a@b.c", "A@B.C", "nobody", None]),
    st.sampled_from(["555", None]),
    st.sampled_from(["Rome", "ROME", "Oslo", "  oslo", None]),
    st.sampled_from(["CA", " ", None]),
    st.sampled_from(["USA", "Italy"]),
    st.sampled_from(["18-24", "65+", "young", None]),
)
AMOUNTS = ["9.99", "10", "10.005", "0.004", "0", "-3.5", "", "120.1249"]
PRICES = st.sampled_from(["9.99", "10", "10.005", "29.99", "120.1249", *AMOUNTS])
PRODUCTS = st.tuples(
    st.sampled_from(["P1", "P2", "P3", "P4", None]),
    st.sampled_from(["Pan", ' 12" Mug', "Pan ", None]),
    st.sampled_from(["Kitchen", "Food", None]),
    st.sampled_from(["Pans", None]),
    st.sampled_from(["Alder", None]),
    PRICES,
    st.sampled_from(["5", "6.005", "7.25", *AMOUNTS]),
    st.sampled_from([0, 3, 8, -1, None]),
    st.sampled_from(["S1", "", None]),
)
TRANSACTION_IDS = [f"T{number}" for number in range(1, 11)]
TRANSACTIONS = st.tuples(
    st.sampled_from([*TRANSACTION_IDS, " ", None]),
    st.sampled_from(["C1", "C2", "C3", "C4", "C5", "C1", "C2", "C9", None]),
    st.one_of(
        st.sampled_from([MONDAY, *DAYS]),
        st.integers(-400, 7).map(lambda days: MONDAY + timedelta(days=days)),
        st.sampled_from([date(2019, 12, 31), date(2020, 1, 1), None]),
    ),
    st.sampled_from([*METHODS, " paypal", "CASH", "Seashells", None]),
    PRICES,
)
ITEMS = st.tuples(
    st.sampled_from([*(f"I{number}" for number in range(1, 25)), None]),
    st.sampled_from([*TRANSACTION_IDS, "T99", None]),
    st.sampled_from(["P1", "P2", "P3", "P4", "P9", None]),
    st.sampled_from([1, 1, 1, 2, 2, 3, 12, 0, -1, None]),
    PRICES,
    st.sampled_from(["0", "0", "5", "12.5", "33.333", "100", "101", "-5", ""]),
    st.sampled_from(["9.99", "19.98", "10", ""]),
)


@st.composite
def files(draw: st.DrawFn) -> Files:
    """Draw four load_dates, on which little is as it should be: ids come twice, and rules are broken."""
    tables = {
        "customers": st.lists(CUSTOMERS, min_size=4, max_size=8),
        "products": st.lists(PRODUCTS, min_size=3, max_size=6),
        "transactions": st.lists(TRANSACTIONS, min_size=12, max_size=16),
        "transaction_items": st.lists(ITEMS, min_size=25, max_size=40),
    }
    return Files({day: {table: draw(records) for table, records in tables.items()} for day in DAYS})


@pytest.fixture
def any_shop(shop: PipelineHarness) -> BuildContext:
    """The context of builds that accept any score, any number of rows, and any number of changes."""
    for path in shop.folder.rglob("*.sql"):
        text = (
            path.read_text()
            .replace("of_previous: 0.5", "of_previous: 0.001")
            .replace("{at_least: 80}", "{at_least: 0}")
        )
        if "max_changed" not in text:
            text = text.replace("history: {surrogate_key: ", "history: {max_changed: 1, surrogate_key: ")
            text = text.replace("history:\n", "history:\n  max_changed: 1\n")
        path.write_text(text)
    least = {f"{shop.name}.{relation}": 0 for relation in shop.pipeline().tables}
    return replace(shop.prepared(), pipeline=shop.pipeline(least))


@pytest.mark.nightly
@settings(
    max_examples=15 if ALL else 2,  # each builds four load_dates of 20 tables, and two of them twice
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # one that differs is not made smaller: that takes minutes
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],  # each example replaces the one before
)
@given(drawn=files(), order=st.permutations(DAYS))
def test_random_small_shops_equal_the_oracle(
    drawn: Files, order: Sequence[date], shop: PipelineHarness, any_shop: BuildContext, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    drawn.write(folder)
    land_all(shop, folder)

    for day in (*order, *sorted(DAYS)):
        run_all(any_shop, day)

    assert_equal(shop, folder, DAYS)
