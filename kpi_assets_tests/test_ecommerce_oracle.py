"""The tables of the shop equal those of the oracle: facts, dimensions that carry on, KPIs, and what was set aside."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.verify_object import verify
from kpi_assets.samples.ecommerce.generator import Ecommerce
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.ecommerce_oracle import Shop, shops
from kpi_assets_tests.examples import ALL
from kpi_assets_tests.pipeline_harness import PipelineHarness

ECOMMERCE = default_sql_dir() / "ecommerce"
MONDAY = date(2025, 3, 3)
PUBLISHED = {
    "fact_orders": (
        "order_id, user_id, product_id, order_ts at time zone 'UTC', quantity, unit_price, revenue, status, "
        "order_date, paid_revenue",
        "order_id",
    ),
    "fact_events": ("event_id, user_id, product_id, event_type, event_ts at time zone 'UTC', event_date", "event_id"),
    "dim_product": (
        "product_id, product_name, category, brand, current_price, is_listed, first_seen, last_seen",
        "product_id",
    ),
    "dim_user": (
        "user_id, first_seen at time zone 'UTC', last_seen at time zone 'UTC', orders, paid_orders, paid_revenue, "
        "first_paid_order_ts at time zone 'UTC', last_paid_order_ts at time zone 'UTC', events",
        "user_id",
    ),
    "kpi_revenue_by_category": (
        "order_date, category, orders, gross_revenue, paid_revenue, cancelled_revenue, refunded_revenue, "
        "pending_revenue, avg_order_value",
        'order_date, category collate "C"',
    ),
    "kpi_conversion_funnel": (
        "event_date, viewed_users, carted_users, checked_out_users, purchased_users, cart_rate, checkout_rate, "
        "purchase_rate, conversion_rate",
        "event_date",
    ),
    "kpi_repeat_customers": (
        "user_id, paid_orders, paid_revenue, first_paid_order_date, last_paid_order_date, days_between",
        "user_id",
    ),
}


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    """The shipped pipeline ecommerce, under another name."""
    with PipelineHarness.open(stack, tmp_path, ECOMMERCE) as lab:
        yield lab


def land_all(lab: PipelineHarness, folder: Path) -> None:
    """Put every file below a folder under its key."""
    for path in sorted(folder.rglob("*.*")):
        lab.put(str(path.relative_to(folder)), path.read_bytes())


def run_all(context: BuildContext, day: date) -> dict[str, str]:
    """Build every table of a load_date from its objects; return the checksums."""
    checksums = {}
    for table in context.pipeline.tables.values():
        if table.has_object:
            verified = verify(context, table, day)
            assert not verified.held, verified.results
        outcome = build(context, table, day)
        assert not outcome.held, [result for result in outcome.results if not result.passed]
        checksums[str(table.relation)] = outcome.checksum
    return checksums


def published(lab: PipelineHarness, day: date) -> Shop:
    """Return what readers see of a load_date, and what was set aside."""
    found = [
        lab.rows(f"select {columns} from warehouse.{table} where load_date = '{day}' order by {order}")
        for table, (columns, order) in PUBLISHED.items()
    ]
    aside = lab.rows(f"select table_name, key, rules from ops.bad_rows where load_date = '{day}' and key is not null")
    return Shop(sorted((table, *key.values(), sorted(rules)) for table, key, rules in aside), *found)


def assert_equal(lab: PipelineHarness, folder: Path, days: Sequence[date]) -> dict[date, Shop]:
    """Assert that the load_dates are as the oracle says, table by table, and return what it says."""
    wanted = shops(folder, days)
    for day in days:
        found = published(lab, day)
        for field in fields(Shop):
            assert getattr(found, field.name) == getattr(wanted[day], field.name), (day, field.name)
    return wanted


@pytest.mark.nightly
def test_a_week_with_rows_set_aside_equals_the_oracle_and_again_the_same(shop: PipelineHarness, tmp_path: Path) -> None:
    """The list of products changes on the second Monday, when some products are gone and others are new."""
    days = [MONDAY + timedelta(days=number) for number in (0, 1, 2, 6, 7, 8)]
    folder = tmp_path / "files"
    of_orders = [
        "negative-price=2",
        "unknown-product",
        "null-user",
        "future-timestamp",
        "conflicting-id",
        "duplicate-id=2",
    ]
    of_events = ["unknown-event-type=2", "null-event-user", "future-event", "unknown-event-product", "duplicate-event"]
    for day in reversed(days):
        faults = [*of_orders, *of_events, "product-without-name"] if day == MONDAY else []
        Ecommerce().write(folder, load_date=day, orders=1000, seed=3, faults=faults)
    land_all(shop, folder)
    context = shop.prepared()

    first = {day: run_all(context, day) for day in days}

    wanted = assert_equal(shop, folder, days)
    assert [len(wanted[day].set_aside) for day in days] == [21, 13, 8, 12, 0, 0]
    assert [len(wanted[day].fact_orders) for day in days] == [993, 998, 999, 998, 1000, 1000]
    listed = [{row[0] for row in wanted[day].dim_product if row[5]} for day in days]
    known = {row[0] for row in wanted[days[4]].dim_product}
    assert (listed[3] - listed[4], listed[4] - listed[3]) == ({15, 64, 188}, {129, 259, 260})
    assert known == listed[3] | listed[4]
    assert {day: run_all(context, day) for day in days} == first
    assert_equal(shop, folder, days)


@pytest.mark.nightly
def test_late_and_replaced_load_dates_end_as_if_they_had_come_in_order(shop: PipelineHarness, tmp_path: Path) -> None:
    """Wednesday comes last, and Tuesday a second time with other orders: the days after them are built again."""
    monday, tuesday, wednesday, thursday = (MONDAY + timedelta(days=number) for number in range(4))
    folder, other = tmp_path / "files", tmp_path / "other"
    Ecommerce(days=4).write(folder, load_date=monday, orders=300, seed=4)
    Ecommerce().write(other, load_date=tuesday, orders=280, seed=4)
    land_all(shop, folder)
    context = shop.prepared()
    for day in (monday, tuesday, thursday, wednesday):
        run_all(context, day)
    for file in ("orders/{}/orders.json", "events/{}/events.csv"):
        (folder / file.format(tuesday)).write_bytes((other / file.format(tuesday)).read_bytes())
    land_all(shop, folder)

    for day in (tuesday, wednesday, thursday):
        run_all(context, day)

    assert_equal(shop, folder, [monday, tuesday, wednesday, thursday])


@pytest.mark.nightly
def test_a_big_day_equals_the_oracle(shop: PipelineHarness, tmp_path: Path) -> None:
    """A fifth of the largest day that the gates let through."""
    faults = ["null-user=40", "unknown-product=30", "duplicate-id=20", "conflicting-id=10", "future-event=300"]
    folder = tmp_path / "files"
    Ecommerce(events=400_000).write(folder, load_date=MONDAY, orders=100_000, seed=6, faults=faults)
    land_all(shop, folder)
    run_all(shop.prepared(), MONDAY)
    wanted = assert_equal(shop, folder, [MONDAY])
    found = wanted[MONDAY]
    assert (len(found.set_aside), len(found.fact_orders), len(found.fact_events)) == (370, 99_930, 399_700)


# --- random small shops


@dataclass(frozen=True)
class Files:
    """The records of some load_dates; products by the Mondays of their lists."""

    orders: Mapping[date, list[dict[str, Any]]]
    events: Mapping[date, list[tuple[Any, ...]]]
    products: Mapping[date, list[dict[str, Any]]]

    def write(self, folder: Path) -> None:
        """Write the files under their keys."""
        for day, orders in self.orders.items():
            _write(folder / f"orders/{day}/orders.json", json.dumps(orders))
        for monday, products in self.products.items():
            _write(folder / f"products/{monday}/products.json", json.dumps({"products": products}))
        for day, events in self.events.items():
            path = folder / f"events/{day}/events.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                header = ("event_id", "user_id", "product_id", "event_type", "event_ts")
                csv.writer(file, lineterminator="\n").writerows([header, *events])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


STATUSES = ["paid", "paid", "cancelled", "refunded", "pending", "shipped", None]
EVENT_TYPES = ["page_view", "view_product", "add_to_cart", "checkout", "purchase", "swipe"]
DAYS = [MONDAY, MONDAY + timedelta(days=1), MONDAY + timedelta(days=7), MONDAY + timedelta(days=9)]


def money(least: int) -> st.SearchStrategy[float]:
    return st.integers(least, 9999).map(lambda cents: cents / 100)


@st.composite
def files(draw: st.DrawFn) -> Files:
    """Draw four load_dates, on which little is as it should be: ids come twice, and rules are broken."""
    products = st.fixed_dictionaries(
        {
            "product_id": st.integers(1, 4),
            "product_name": st.sampled_from(["Pan", "Blåbær", '"12" Mug', "Pan", "Tea", None]),
            "category": st.sampled_from(["Kitchen", "Food", "Food", None]),
            "brand": st.sampled_from(["Alder", "", None]),
            "current_price": money(-200),
        }
    )

    def instants(day: date) -> st.SearchStrategy[str]:
        seconds = st.one_of(st.integers(0, 86_399), st.sampled_from([86_399, 86_400, -1, 0, -10 * 86_400]))
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001  the Z is written behind it
        return seconds.map(lambda each: f"{midnight + timedelta(seconds=each):%Y-%m-%dT%H:%M:%SZ}")

    def orders(day: date) -> st.SearchStrategy[list[dict[str, Any]]]:
        order = st.fixed_dictionaries(
            {
                "order_id": st.integers(1, 12),
                "user_id": st.sampled_from([1, 1, 2, 3, None]),
                "product_id": st.integers(1, 5),
                "quantity": st.integers(0, 3),
                "price": money(-50),
                "timestamp": instants(day),
                "status": st.sampled_from(STATUSES),
            }
        )
        return st.lists(order, min_size=1, max_size=14)

    def events(day: date) -> st.SearchStrategy[list[tuple[Any, ...]]]:
        number = st.integers(1, 5)
        event = st.tuples(
            st.integers(1, 20),
            st.sampled_from([1, 1, 2, 3, None]),
            st.one_of(st.none(), number),
            st.sampled_from(EVENT_TYPES),
            instants(day),
        )
        return st.lists(event, min_size=1, max_size=25)

    return Files(
        {day: draw(orders(day)) for day in DAYS},
        {day: draw(events(day)) for day in DAYS},
        {day: draw(st.lists(products, min_size=1, max_size=6)) for day in (DAYS[0], DAYS[2])},
    )


@pytest.fixture
def any_shop(shop: PipelineHarness) -> BuildContext:
    """The context of builds that accept any number of rows, and set any number aside."""
    for path in shop.folder.rglob("*.sql"):
        text = path.read_text()
        for limit in ("  rows: 500\n  share: 0.01\n", "  share: 0.01\n"):
            text = text.replace(limit, "  share: 1\n")
        path.write_text(text.replace("{of_previous: 0.5}", "{of_previous: 0}"))
    least = {f"{shop.name}.{relation}": 0 for relation in shop.pipeline().tables}
    return replace(shop.prepared(), pipeline=shop.pipeline(least))


@settings(
    max_examples=15 if ALL else 1,  # each builds four load_dates of 14 tables
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],  # each example replaces the one before
)
@given(drawn=files())
def test_random_small_shops_equal_the_oracle(
    drawn: Files, shop: PipelineHarness, any_shop: BuildContext, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    drawn.write(folder)
    land_all(shop, folder)

    for day in DAYS:
        run_all(any_shop, day)

    assert_equal(shop, folder, DAYS)
