"""The tables of the retailers' sales equal those of the oracle, which reads the retailers' own databases.

What is built here was asked for over HTTP.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kpi_assets_tests.examples import ALL
from kpi_assets_tests.retail_apis import RetailPipeline
from kpi_assets_tests.retail_oracle import Retail, computed

# Over the ends of a week, a month and a quarter.
FRIDAY = date(2025, 9, 26)
WEEK = [FRIDAY + timedelta(days=number) for number in range(7)]
PERIOD = "days, transactions, sales, quantity, revenue, average_basket"
# What is compared: columns, and the key.
PUBLISHED = {
    "staging.sales": (
        "retailer_id, transaction_id, product_id, product_name, category, quantity, unit_price, total_amount, "
        "transaction_date, customer_id, store_id, raw_data",
        "retailer_id, transaction_id, product_id",
    ),
    "warehouse.fact_sales": (
        "retailer_id, transaction_id, product_id, transaction_date, customer_id, store_id, quantity, unit_price, "
        "total_amount",
        "retailer_id, transaction_id, product_id",
    ),
    "warehouse.dim_product": (
        "retailer_id, product_id, product_name, category, first_sold_on, last_sold_on",
        "retailer_id, product_id",
    ),
    "warehouse.dim_store": ("retailer_id, store_id, first_sale_on, last_sale_on", "retailer_id, store_id"),
    "warehouse.dim_customer": ("retailer_id, customer_id, first_sale_on, last_sale_on", "retailer_id, customer_id"),
    "warehouse.dim_retailer": ("retailer_id, retailer_name", "retailer_id"),
    "warehouse.dim_date": (
        "date_id, year, quarter, month, day_of_month, iso_year, iso_week, day_of_week, is_weekend",
        "date_id",
    ),
    "warehouse.kpi_sales_day": (
        f"sales_date, retailer_id, {PERIOD.removeprefix('days, ')}",
        "retailer_id",
    ),
    **{
        f"warehouse.kpi_sales_{name}": (f"retailer_id, {name}_start, is_final, {PERIOD}", "retailer_id")
        for name in ("week", "month", "quarter")
    },
    "warehouse.kpi_sales_by_category": (
        "category, retailers, transactions, sales, quantity, revenue",
        "category",
    ),
    "warehouse.kpi_top_products": (
        "retailer_id, product_id, product_name, category, transactions, quantity, revenue, is_low_volume",
        "retailer_id, product_id",
    ),
    "warehouse.kpi_returning_customers": (
        "retailer_id, customers, came_back, revenue, revenue_without_customer",
        "retailer_id",
    ),
}


def published(lab: RetailPipeline, day: date) -> Retail:
    """Return what readers see of a load_date, and what was set aside."""
    found = {}
    for table, (columns, order) in PUBLISHED.items():
        keys = ", ".join(key if key == "date_id" else f'{key} collate "C"' for key in order.split(", "))
        shown = columns.replace("raw_data", "raw_data::jsonb")
        query = f"select {shown} from {table} where load_date = '{day}' order by {keys}"
        found[table.split(".")[1]] = lab.rows(query)
    aside = lab.rows(f"select key, rules from ops.bad_rows where load_date = '{day}' and key is not null")
    names = ("retailer_id", "transaction_id", "product_id")
    return Retail(sorted((*(key[name] for name in names), sorted(rules)) for key, rules in aside), **found)


def assert_equal(lab: RetailPipeline, days: Sequence[date]) -> dict[date, Retail]:
    """Assert that the load_dates are as the oracle says, table by table, and return what it says."""
    wanted = computed(lab.asked.sessions, days)
    for day in days:
        found = published(lab, day)
        for field in fields(Retail):
            assert getattr(found, field.name) == getattr(wanted[day], field.name), (day, field.name)
    return wanted


@pytest.mark.nightly
def test_a_week_with_faults_and_a_late_correction_equals_the_oracle(retail: RetailPipeline) -> None:
    """On the first two days sales are set aside; on the last one a retailer corrects what it told of the third."""
    retail.asked.fill(
        WEEK[0],
        *("null-customer=2", "null-store", "null-name", "null-category", "duplicate-line=2", "retailer_3_other-day"),
        *("retailer_1_conflicting-line", "retailer_2_wrong-total", "retailer_1_future-day", "retailer_2_null-total"),
        orders=300,
    )
    retail.asked.fill(
        WEEK[1],
        *("negative-quantity", "retailer_1_discount-above-100", "empty-name", "zero-quantity", "zero-price"),
        *("retailer_2_huge-quantity", "unlisted-product", "retailer_3_null-date", "blanks-around-name"),
        orders=300,
    )
    for day in WEEK[2:]:
        retail.asked.fill(day, orders=12)
    first = {day: retail.run(day) for day in WEEK}

    wanted = assert_equal(retail, WEEK)
    assert [len(wanted[day].set_aside) for day in WEEK] == [12, 11, 0, 0, 0, 0, 0]
    assert retail.run(WEEK[0]) == first[WEEK[0]], "again the same"

    of_day = "where posted_on = %s and entry_no %% 5 = "
    assert retail.asked.execute("retailer_2", f"delete from transactions {of_day} 3", WEEK[2])
    assert retail.asked.execute(
        "retailer_2", f"update transactions set qty = qty + 1, amount = amount + unit_cost {of_day} 1", WEEK[2]
    )
    assert retail.stale(WEEK) == {}, "nobody asks again by itself"
    retail.ask_again(WEEK[2], "retailer_2")
    assert retail.settle(WEEK) == 5, "that day, and those after it"

    changed = assert_equal(retail, WEEK)
    for name, days in {"day": [2], "week": [2], "month": [2, 3, 4], "quarter": [2, 3, 4]}.items():
        differ = [
            getattr(changed[day], f"kpi_sales_{name}") != getattr(wanted[day], f"kpi_sales_{name}") for day in WEEK
        ]
        assert [number for number, is_other in enumerate(differ) if is_other] == days, name


@pytest.mark.nightly
def test_load_dates_that_are_built_in_another_order_end_as_if_they_had_come_in_order(retail: RetailPipeline) -> None:
    days = WEEK[3:6]
    for number, day in enumerate(days):
        retail.asked.fill(day, "retailer_1_duplicate-line", orders=8, seed=number)
    for number in (1, 2, 0):
        retail.run(days[number])
    assert min(retail.stale(days)) == days[1], "it was built without the day before"

    retail.settle(days)

    assert_equal(retail, days)


@pytest.mark.nightly
def test_a_big_day_equals_the_oracle(retail: RetailPipeline) -> None:
    """Pages of 500, more than a hundred of each retailer, and as many rows set aside as the budget lets through."""
    faults = ("conflicting-line=50", "wrong-total=60", "other-day=4", "duplicate-line=500", "null-customer=2000")
    retail.asked.fill(FRIDAY, *faults, orders=30_000)
    retail.run(FRIDAY)
    found = assert_equal(retail, [FRIDAY])[FRIDAY]
    assert len(found.set_aside) == 492
    assert len(found.fact_sales) > 150_000


# --- random small days

TWO = WEEK[4:6]  # the last of a quarter, and the first of the next one
TEXTS = {
    "sale": ["1", "2", "b", "B"],
    "product": ["1", "2", "3"],
    "name": ["Pan", "Pan", "Blåbær", '"12" Mug', " Tea ", "", None],
    "category": ["Kitchen", "Kitchen", "Food", "food", "", None],
    "customer": ["1", "2", "unknown", "", None],
    "store": ["1", "2", "", None],
}
NAMES = {
    "retailer_1": (
        *("order_id", "sku", "product_name", "category", "customer_id", "store_id"),
        *("quantity", "price", "total", "order_date"),
    ),
    "retailer_2": (
        *("transaction_number", "item_code", "item_name", "department", "member_id", "location_id"),
        *("qty", "unit_cost", "amount", "date"),
    ),
    "retailer_3": (
        *("sale_id", "product_code", "name", "type", "buyer_id", "outlet_id"),
        *("count", "price_per_unit", "revenue", "timestamp"),
    ),
}
DISCOUNTS = [None, 0, 0, 5, 33, 100, 120]


@st.composite
def records(draw: st.DrawFn, retailer: str, day: date) -> dict[str, object]:
    """Draw a record that is often wrong: little is as it should be, and ids come twice."""
    values: dict[str, Any] = {name: draw(st.sampled_from(texts)) for name, texts in TEXTS.items()}
    if retailer == "retailer_2":  # whose ids are numbers
        for name in ("sale", "product", "customer", "store"):
            values[name] = int(values[name]) if str(values[name]).isdigit() else None
        values["sale"], values["product"] = values["sale"] or 7, values["product"] or 7
    quantity = draw(st.sampled_from([1, 1, 2, 3, 100, 0, -1, None]))
    cents = draw(st.sampled_from([0, 1, 333, 999, 1000, 1001, -250, None]))
    percent = draw(st.sampled_from(DISCOUNTS)) if retailer == "retailer_1" else None
    right = (quantity or 0) * (cents or 0) * (100 - (percent or 0)) / 10_000
    total = draw(st.sampled_from([right, right, right, right, right + 0.01, right - 0.02, None]))
    when = draw(st.sampled_from([day, day, day, day, day - timedelta(days=1), None]))
    clock = draw(st.sampled_from(["00:00:00", "12:00:00", "23:59:59.999999"]))
    numbers = quantity, None if cents is None else cents / 100, None if total is None else round(total, 2)
    moment = when if retailer != "retailer_3" or when is None else f"{when}T{clock}Z"
    found: dict[str, object] = dict(zip(NAMES[retailer], (*values.values(), *numbers, moment), strict=True))
    return {**found, "discount_percentage": percent} if retailer == "retailer_1" else found


@st.composite
def days_of_retailers(draw: st.DrawFn) -> dict[tuple[str, date], list[dict[str, object]]]:
    """Draw what each retailer has of each day; some records are there twice. One record is always right."""
    found = {}
    for retailer in NAMES:
        for day in TWO:
            each = draw(st.lists(records(retailer, day), min_size=1, max_size=6))
            again = draw(st.lists(st.sampled_from(each), max_size=2))
            found[retailer, day] = [*each, *again, right(retailer, day)]
    return found


def right(retailer: str, day: date) -> dict[str, object]:
    """A sale that breaks no rule."""
    texts = (9, 9, "Cup", "Kitchen", 9, 9)
    return dict(zip(NAMES[retailer], (*texts, 3, 3.33, 9.99, day), strict=True))


@pytest.fixture
def any_shop(retail: RetailPipeline) -> RetailPipeline:
    """The pipeline, which sets any number of rows aside."""
    path = retail.folder / "staging/sales.sql"
    text = path.read_text()
    assert "  rows: 500\n  share: 0.01\n" in text
    path.write_text(text.replace("  rows: 500\n  share: 0.01\n", "  share: 1\n"))
    return retail


@settings(
    max_examples=20 if ALL else 1,  # each asks six times, and builds two load_dates of 17 tables
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # one that differs is not made smaller: that takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # each replaces the one before
)
@given(drawn=days_of_retailers())
def test_random_small_days_equal_the_oracle(
    drawn: dict[tuple[str, date], list[dict[str, object]]], any_shop: RetailPipeline
) -> None:
    for (retailer, day), found in drawn.items():
        any_shop.asked.put(retailer, day, found)
        any_shop.forget(retailer, day)

    for day in TWO:
        any_shop.run(day)

    assert_equal(any_shop, TWO)
