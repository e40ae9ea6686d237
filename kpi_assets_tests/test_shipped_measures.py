"""The measures of the shipped KPIs, computed by Postgres from a few rows whose numbers can be checked by hand.

Ratios are the point: the average of the rows' averages is not the average of all.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.table import Table
from kpi_assets.settings import settings
from kpi_assets_tests import shipped

DAY = "2026-11-24"
BEFORE = "2026-11-23"
PIPELINES = shipped.PIPELINES
KPIS = {
    f"{pipeline.name}.{relation.table}": table
    for pipeline in PIPELINES.values()
    for relation, table in pipeline.tables.items()
    if table.header.kpi
}


@pytest.fixture(scope="module")
def session(stack: Stack) -> Iterator[Connection[Any]]:
    server = settings().postgres_url
    assert server
    with psycopg.connect(server.get_secret_value(), autocommit=True) as opened:
        yield opened


def rows(names: str, *values: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(names.split(), each, strict=True)) for each in values]


def computed(session: Connection[Any], table: Table, given: Sequence[Mapping[str, Any]]) -> dict[str, Decimal | None]:
    """Return every measure of a KPI over these rows; columns that they do not name are NULL."""
    assert table.header.kpi
    types = {"load_date": "date", **table.types}
    unknown = {name for row in given for name in row} - types.keys()
    assert not unknown
    names = list(table.header.kpi.measures)
    query = sql.SQL("select {} from jsonb_to_recordset(%s) as r ({})").format(
        sql.SQL(", ").join(sql.SQL(table.header.measure_sql(name)) for name in names),  # type: ignore[arg-type]
        sql.SQL(", ").join(sql.SQL(f'"{name}" {type_}') for name, type_ in types.items()),  # type: ignore[arg-type]
    )
    [row] = session.execute(query, [json.dumps([{"load_date": DAY, **each} for each in given])]).fetchall()
    return dict(zip(names, row, strict=True))


DOW = rows(
    "order_dow total_orders avg_items_per_order pct_orders_with_any_reorder avg_reorder_item_rate",
    (0, 300, "10.0", "0.9", "0.5"),
    (1, 100, "6.0", "0.5", "0.5"),
    (2, 600, None, None, None),  # no basket of the day is known: it must not count as an empty one
)
DOW_VALUES = {"orders": "1000", "items_per_order": "9", "orders_with_reorder": "0.8", "busiest_day": "0.6"}
SALES = "retailer_id days transactions sales quantity revenue average_basket"
SO_FAR = rows(SALES, ("a", 2, 90, 95, 100, "900.00", "10.00"), ("b", 1, 10, 10, 10, "1000.00", "100.00"))
SO_FAR_VALUES = {"revenue": "1900.00", "revenue_per_day": "950", "basket": "19", "days": "2"}
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, str | None]]] = {
    "instacart.kpi_orders_by_dow": (DOW, {**DOW_VALUES}),
    "instacart.kpi_orders_by_dow_28d": (DOW, {**DOW_VALUES}),
    "instacart.kpi_products_reorder": (
        rows(
            "product_id orders_with_product times_reordered product_reorder_rate",
            (1, 90, 81, "0.9"),
            (2, 10, 1, "0.1"),
        ),
        {"reorder_rate": "0.82", "products": "2", "mostly_reordered": "1", "top_product": "90"},
    ),
    "ecommerce.kpi_revenue_by_category": (
        rows(
            "order_date category orders gross_revenue paid_revenue refunded_revenue",
            (DAY, "toys", 3, "100.00", "80.00", "20.00"),
            (DAY, "books", 1, "200.00", "70.00", "0.00"),
            (BEFORE, "toys", 1, "100.00", "50.00", "0.00"),
        ),
        {
            "revenue": "200.00",
            "orders": "5",
            "order_value": "80",
            "paid_share": "0.5",
            "refunded_share": "0.05",
            "late_share": "0.2",
        },
    ),
    "ecommerce.kpi_conversion_funnel": (
        rows(
            "event_date viewed_users carted_users checked_out_users purchased_users",
            (DAY, 100, 40, 20, 5),
            (BEFORE, 4, 4, 4, 4),
        ),
        {"conversion": "0.05", "viewers": "100", "buyers": "5", "cart_rate": "0.4", "purchase_rate": "0.25"},
    ),
    "ecommerce.kpi_repeat_customers": (
        rows("user_id paid_orders paid_revenue", (1, 2, "30.00"), (2, 5, "70.50")),
        {"customers": "2", "revenue": "100.50", "orders_per_customer": "3.5"},
    ),
    "retail.kpi_sales_day": (
        [
            {**row, "sales_date": DAY}
            for row in rows(
                SALES.replace(" days", ""),
                ("a", 90, 95, 100, "900.00", "10.00"),
                ("b", 10, 10, 10, "1000.00", "100.00"),
            )
        ],
        {"revenue": "1900.00", "transactions": "100", "basket": "19", "pieces": "110", "retailers": "2"},
    ),
    "retail.kpi_sales_week": (SO_FAR, {**SO_FAR_VALUES}),
    "retail.kpi_sales_month": (SO_FAR, {**SO_FAR_VALUES}),
    "retail.kpi_sales_quarter": (SO_FAR, {**SO_FAR_VALUES}),
    "retail.kpi_sales_by_category": (
        rows("category quantity revenue", ("toys", 60, "600.00"), ("books", 30, "200.00"), ("unknown", 10, "200.00")),
        {"top_category": "0.6", "categories": "3", "price_of_a_piece": "10", "unknown_share": "0.2"},
    ),
    "retail.kpi_top_products": (
        rows("retailer_id product_id revenue transactions", ("a", "1", "75.00", 9), ("b", "1", "25.00", 5)),
        {"products": "2", "revenue": "100.00", "top_product": "0.75"},
    ),
    "retail.kpi_returning_customers": (
        rows(
            "retailer_id customers came_back revenue revenue_without_customer",
            ("a", 90, 18, "900.00", "100.00"),
            ("b", 10, 7, "100.00", "0.00"),
        ),
        {"came_back": "0.25", "customers": "100", "unknown_share": "0.1"},
    ),
    "realtime.kpi_revenue_by_minute": (
        rows(
            "minutes_ago currency orders gross_revenue",
            (0, "EUR", 1, "10.00"),
            (59, "GBP", 2, "99.00"),
            (59, "EUR", 3, "20.50"),
            (60, "EUR", 4, "40.00"),
        ),
        {"orders_last_hour": "6", "eur_last_hour": "30.50", "orders": "10", "eur": "70.50"},
    ),
    "realtime.kpi_revenue_pace": (
        rows(
            "currency orders revenue orders_week_ago revenue_week_ago",
            ("EUR", 5, "30.00", 4, "40.00"),
            ("GBP", 1, "500.00", 2, "1.00"),
        ),
        {"orders": "6", "orders_week_ago": "6", "eur_against_week_ago": "0.75"},
    ),
    "realtime.kpi_revenue_daily": (
        rows(
            "order_date currency orders_placed cancelled_orders gross_revenue net_revenue",
            (DAY, "EUR", 4, 1, "40.00", "25.00"),
            (DAY, "GBP", 4, 1, "99.00", "98.00"),
            (BEFORE, "EUR", 10, 10, "100.00", "7.00"),
        ),
        {"net_eur": "25.00", "orders": "8", "order_value_eur": "10", "cancelled_share": "0.25", "net_eur_28": "32.00"},
    ),
    "realtime.kpi_conversion_hourly": (
        rows("hour sessions with_cart with_checkout", (f"{DAY}T10:00Z", 90, 40, 9), (f"{DAY}T11:00Z", 10, 10, 1)),
        {"checkout_share": "0.1", "cart_share": "0.5", "sessions": "100"},
    ),
    "realtime.customer_360": (
        rows("customer_id orders", (1, 0), (2, 1), (3, 2), (4, 5), (5, 1)),
        {"customers": "5", "buyers": "4", "repeat_share": "0.5"},
    ),
    "realtime.kpi_stock": (
        rows(
            "sku warehouse_id quantity is_out",
            ("a", "x", 5, False),
            ("a", "y", -2, True),
            ("b", "x", 0, True),
            ("b", "y", None, None),
        ),
        {"out_of_stock": "2", "unknown": "1", "pieces": "5"},
    ),
    "realtime.kpi_sla_delivery": (
        rows("promised_date channel due on_time late_open", (DAY, "web", 90, 80, 4), (DAY, "app", 10, 5, 1)),
        {"on_time_share": "0.85", "late_open": "5", "due": "100"},
    ),
    "realtime.kpi_trust": (
        rows(
            "stream events repeated_events late_events unexpected_events",
            ("clicks", 900, 9, 90, 0),
            ("order_events", 100, 1, 10, 5),
        ),
        {"events": "1000", "repeated_share": "0.01", "late_share": "0.1", "unexpected_share": "0.005"},
    ),
    "storefront.agg_daily_sales": (
        rows(
            "date transactions items revenue profit items_without_cost",
            (DAY, 2, 5, "50.00", "20.00", 0),
            (BEFORE, 3, 5, "150.00", "30.00", 0),
            ("2026-11-20", 1, 10, "100.00", "1.00", 4),  # some costs are not known: its profit is not that of all
        ),
        {
            "revenue": "50.00",
            "transactions": "2",
            "basket": "25",
            "total_revenue": "300.00",
            "margin": "0.25",
            "cost_unknown": "0.2",
        },
    ),
    "storefront.agg_product_sales": (
        rows("product_id quantity revenue", ("a", 6, "90.00"), ("b", 4, "10.00")),
        {"products": "2", "pieces": "10", "top_product": "0.9", "price_of_a_piece": "10"},
    ),
}


def test_every_shipped_kpi_has_measures_and_each_pipeline_boards() -> None:
    assert CASES.keys() == KPIS.keys()
    for table in KPIS.values():
        assert table.header.kpi
        assert table.header.kpi.title
    assert all(pipeline.boards for pipeline in PIPELINES.values())


@pytest.mark.parametrize("name", CASES)
def test_a_measure_is_the_number_that_its_title_says(session: Connection[Any], name: str) -> None:
    given, expected = CASES[name]
    assert computed(session, KPIS[name], given) == {
        name: None if value is None else Decimal(value) for name, value in expected.items()
    }


@pytest.mark.parametrize("name", KPIS)
def test_a_kpi_without_rows_has_zeros_or_no_numbers_and_no_error(session: Connection[Any], name: str) -> None:
    assert set(computed(session, KPIS[name], []).values()) <= {None, Decimal(0)}


@pytest.mark.parametrize("name", KPIS)
def test_zeros_in_every_column_raise_no_error(session: Connection[Any], name: str) -> None:
    numbers = {"smallint", "integer", "bigint", "numeric"}
    zeros = {column: 0 for column, type_ in KPIS[name].types.items() if type_.split("(")[0] in numbers}
    assert all(value is None or value in (0, 1) for value in computed(session, KPIS[name], [zeros]).values())
