"""The oracle of the retailers: the star and its summaries, computed a second time from the retailers' own databases.

It is written from the meaning of the tables, not from sql/ and not from what was landed: the rows of each retailer are
read from its database, and DuckDB computes the rest. What Postgres carries on from day to day, and adds up from days to
quarters, is computed here from the sales of all days, and quotients are exact fractions that are rounded once. Nothing
is decided on rows that are set aside. Not here: the comparison (test_retail_oracle.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
from psycopg import sql

from kpi_assets.simulators.api import RETAILERS
from kpi_assets_tests.ecommerce_oracle import quotient

Row = tuple[Any, ...]
Sessions = Mapping[str, psycopg.Connection[Any]]  # on the retailers' databases, by the name of the API

# What is read of a retailer's table: sale, product, name, category, pieces, price, its part that is paid in percent,
# amount, day, customer and store.
TOLD = {
    "retailer_1": "order_id, sku, product_name, category, quantity, price, 100 - coalesce(discount_percentage, 0), "
    "total, order_date, customer_id, store_id",
    "retailer_2": "transaction_number::text, item_code::text, item_name, department, qty, unit_cost, 100, "
    "amount, date, member_id::text, location_id::text",
    "retailer_3": 'sale_id, product_code, name, type, count, price_per_unit, 100, revenue, "timestamp"::date, '
    "buyer_id, outlet_id",
}
COLUMNS = pa.schema(
    [
        ("load_date", pa.date32()),
        ("retailer", pa.string()),
        ("n", pa.int64()),
        *((name, pa.string()) for name in ("sale", "product", "name", "category")),
        ("pieces", pa.int64()),
        ("price", pa.decimal128(12, 2)),
        ("paid_percent", pa.int32()),
        ("amount", pa.decimal128(16, 2)),
        ("day", pa.date32()),
        *((name, pa.string()) for name in ("customer", "store", "record")),
    ]
)
# Records that are alike in everything count once.
ONCE = """
create table once as
select load_date, retailer, sale, product, nullif(name, '') as name, nullif(category, '') as category, pieces, amount,
    (price * paid_percent * 0.01)::decimal(16, 6) as price, day,
    ifnull(nullif(customer, ''), 'unknown') as customer, ifnull(nullif(store, ''), 'unknown') as store, record
from told
qualify n = min(n) over (partition by load_date, retailer, sale, product, record)
"""
BAD = """
create table judged as
select *, list_filter([
        if(name is null, 'not_null(product_name)', null),
        if(category is null, 'not_null(category)', null),
        if(pieces is null, 'not_null(quantity)', null),
        if(price is null, 'not_null(unit_price)', null),
        if(amount is null, 'not_null(total_amount)', null),
        if(day is null, 'not_null(transaction_date)', null),
        if(pieces < 1, 'range(quantity)', null),
        if(price < 0, 'range(unit_price)', null),
        if(amount < 0, 'range(total_amount)', null),
        if(count(*) over (partition by load_date, retailer, sale, product) > 1, 'unique(conflicting_key)', null),
        if(amount - pieces * price not between -0.01 and 0.01, 'total_is_quantity_times_unit_price', null),
        if(day <> load_date, 'sold_on_the_load_date', null)
    ], lambda rule: rule is not null) as rules
from once
"""
GOOD = "create table good as select * exclude (rules) from judged where len(rules) = 0"
STEPS = (ONCE, BAD, GOOD)

# Of one load_date, $day; `good` is of all load_dates.
SET_ASIDE = "select retailer, sale, product, rules from judged where load_date = $day and len(rules) > 0"
SALES = """
select retailer, sale, product, name, category, pieces, price, amount, day, customer, store, record
from good where load_date = $day order by retailer, sale, product
"""
FACTS = """
select retailer, sale, product, day, customer, store, pieces, price, amount
from good where load_date = $day order by retailer, sale, product
"""
DIM_PRODUCT = """
select retailer, product, arg_max(name, (load_date, sale)), arg_max(category, (load_date, sale)), min(day), max(day)
from good where load_date <= $day group by all order by all
"""
DIM_OF = """
select retailer, {0}, min(day), max(day) from good where load_date <= $day group by all order by all
"""
DIM_DATE = """
select d::date, year(d), quarter(d), month(d), day(d), isoyear(d), week(d), isodow(d), isodow(d) >= 6
from range(timestamp '2025-01-01', make_timestamp(year($day::date) + 1, 1, 1, 0, 0, 0), interval 1 day) as days (d)
"""
# Sales of the part of a period that is over, by retailer. A sale that two load_dates deliver counts twice.
PERIOD = """
select retailer, date_trunc('{0}', $day::date)::date, count(distinct day), count(distinct (load_date, sale)),
    count(*), sum(pieces)::bigint, sum(amount)::decimal(30, 2)
from good
where load_date <= $day and date_trunc('{0}', load_date) = date_trunc('{0}', $day::date)
group by all order by retailer
"""
BY_CATEGORY = """
with newest as (
    select retailer, product, arg_max(category, (load_date, sale)) as category
    from good where load_date <= $day group by all
)

select n.category, count(distinct retailer), count(distinct (retailer, g.sale)), count(*), sum(g.pieces)::bigint,
    sum(g.amount)::decimal(30, 2)
from good as g join newest as n using (retailer, product)
where g.load_date = $day group by all order by all
"""
TOP_PRODUCTS = """
select retailer, product, arg_max(name, (load_date, sale)), arg_max(category, (load_date, sale)),
    count(distinct (load_date, sale)) filter (is_near), sum(pieces) filter (is_near)::bigint,
    sum(amount) filter (is_near)::decimal(30, 2), count(distinct (load_date, sale)) filter (is_near) < 5
from (select *, load_date > $day::date - 28 as is_near from good where load_date <= $day)
group by all having bool_or(is_near) order by retailer, product
"""
# Of each retailer, who bought on how many days of the last 28, and what was sold to nobody who is known.
RETURNING = """
with buyers as (
    select retailer, customer, count(distinct day) as days
    from good where load_date <= $day and load_date > $day::date - 28 and customer <> 'unknown' group by all
),

sold as (
    select retailer, sum(amount)::decimal(30, 2) as amount,
        coalesce(sum(amount) filter (customer = 'unknown'), 0)::decimal(30, 2) as of_nobody
    from good where load_date <= $day and load_date > $day::date - 28 group by all
)

select s.retailer, count(b.customer), count(b.customer) filter (b.days > 1), any_value(s.amount), any_value(s.of_nobody)
from sold as s left join buyers as b on b.retailer = s.retailer
group by s.retailer order by s.retailer
"""
LAST_DAYS = {
    "week": lambda day: day.weekday() == 6,
    "month": lambda day: (day + timedelta(days=1)).day == 1,
    "quarter": lambda day: (day + timedelta(days=1)).day == 1 and day.month % 3 == 0,
}


@dataclass(frozen=True)
class Retail:
    """The tables of one load_date, each sorted by its key."""

    set_aside: list[Row]  # retailer, sale, product, the names of the rules; sorted
    sales: list[Row]
    fact_sales: list[Row]
    dim_product: list[Row]
    dim_store: list[Row]
    dim_customer: list[Row]
    dim_retailer: list[Row]
    dim_date: list[Row]
    kpi_sales_day: list[Row]
    kpi_sales_week: list[Row]
    kpi_sales_month: list[Row]
    kpi_sales_quarter: list[Row]
    kpi_sales_by_category: list[Row]
    kpi_top_products: list[Row]
    kpi_returning_customers: list[Row]


def computed(sessions: Sessions, days: Sequence[date]) -> dict[date, Retail]:
    """Return the tables of each load_date, when there are no others."""
    with duckdb.connect(config={"threads": 1}) as database:
        columns = zip(*(row for day in days for row in told(sessions, day)), strict=True)
        database.register("told", pa.table(list(columns), schema=COLUMNS))
        for step in STEPS:
            database.execute(step)
        return {day: _day(database, day) for day in days}


def told(sessions: Sessions, day: date) -> list[Row]:
    """Return what the retailers' databases have of a day, in the order in which they give it out."""
    found = []
    for api in RETAILERS:
        query = sql.SQL(
            "select row_number() over (order by {key}), {told}, to_jsonb(t) - {own}::text[] from {table} as t "
            "where {day} = %s order by {key}"
        ).format(
            key=sql.Identifier(api.key),
            told=sql.SQL(TOLD[api.name]),
            own=sql.Literal([api.key, api.day]),
            table=sql.Identifier(api.table),
            day=sql.Identifier(api.day),
        )
        for number, *values, record in sessions[api.name].execute(query, [day]).fetchall():
            found.append((day, api.name, number, *values, json.dumps(record, sort_keys=True)))
    return found


def _day(database: duckdb.DuckDBPyConnection, day: date) -> Retail:
    def rows(query: str) -> list[Row]:
        return database.execute(query, {"day": day}).fetchall()

    def of_period(name: str) -> list[Row]:
        return [
            (retailer, start, LAST_DAYS[name](day), days, sales, items, pieces, amount, quotient(amount, sales, 2))
            for retailer, start, days, sales, items, pieces, amount in rows(PERIOD.format(name))
        ]

    return Retail(
        set_aside=sorted((*key, sorted(rules)) for *key, rules in rows(SET_ASIDE)),
        sales=[(*values, json.loads(record)) for *values, record in rows(SALES)],
        fact_sales=rows(FACTS),
        dim_product=rows(DIM_PRODUCT),
        dim_store=rows(DIM_OF.format("store")),
        dim_customer=rows(DIM_OF.format("customer")),
        dim_retailer=[(f"retailer_{number}", f"Retailer {number}") for number in (1, 2, 3)],
        dim_date=rows(DIM_DATE),
        kpi_sales_day=[
            (start, retailer, sales, items, pieces, amount, quotient(amount, sales, 2))
            for retailer, start, _, sales, items, pieces, amount in rows(PERIOD.format("day"))
        ],
        kpi_sales_week=of_period("week"),
        kpi_sales_month=of_period("month"),
        kpi_sales_quarter=of_period("quarter"),
        kpi_sales_by_category=rows(BY_CATEGORY),
        kpi_top_products=rows(TOP_PRODUCTS),
        kpi_returning_customers=rows(RETURNING),
    )
