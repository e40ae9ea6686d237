"""The oracle of the shop: its facts, dimensions and KPIs, computed a second time from the files by DuckDB.

It is written from the meaning of the tables, not from sql/: what Postgres carries on from day to day is computed here
from the files of all days, and quotients are exact fractions that are rounded once. A load_date is what its files say,
and the list of products is the latest of the two weeks before. Not here: the comparison (test_ecommerce_oracle.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import duckdb

Row = tuple[Any, ...]
CARRIED = 13  # days for which a list of products stands in

ORDER_FIELDS = {
    "order_id": "BIGINT",
    "user_id": "BIGINT",
    "product_id": "BIGINT",
    "quantity": "INTEGER",
    "price": "DECIMAL(12, 2)",
    "timestamp": "VARCHAR",
    "status": "VARCHAR",
}
PRODUCT_FIELDS = {
    "product_id": "BIGINT",
    "product_name": "VARCHAR",
    "category": "VARCHAR",
    "brand": "VARCHAR",
    "current_price": "DECIMAL(12, 2)",
}
EVENT_FIELDS = {
    "event_id": "BIGINT",
    "user_id": "BIGINT",
    "product_id": "BIGINT",
    "event_type": "VARCHAR",
    "event_ts": "VARCHAR",
}

# What was delivered on each load_date: the last word on each id, with what is wrong with it.
LISTINGS = """
create table listings as
select load_date, product_id, product_name, category, brand, current_price
from products
qualify row_number() over (partition by load_date, product_id order by n desc) = 1
"""
BAD_LISTINGS = """
create table bad_listings as
select load_date, product_id,
    list_filter([
        case when product_name is null then 'not_null(product_name)' end,
        case when category is null then 'not_null(category)' end,
        case when current_price < 0 then 'range(current_price)' end
    ], lambda rule: rule is not null) as rules
from listings
"""
GOOD_LISTINGS = """
create table good_listings as
select l.* from listings as l
anti join (from bad_listings where len(rules) > 0) as b on b.load_date = l.load_date and b.product_id = l.product_id
"""
FIRST_LISTED = "create table first_listed as select product_id, min(load_date) as since from good_listings group by all"
LAST_ORDERS = """
create table last_orders as
select o.load_date, o.order_id, o.user_id, o.product_id, o.quantity, o.price, o.status,
    o.quantity * o.price as amount,
    replace(o.timestamp, 'Z', '')::timestamp as placed,
    o.product_id is null
    or o.product_id in (select f.product_id from first_listed as f where f.since <= o.load_date) as is_known
from orders as o
qualify row_number() over (partition by o.load_date, o.order_id order by o.n desc) = 1
"""
BAD_ORDERS = """
create table bad_orders as
select load_date, order_id,
    list_filter([
        case when user_id is null then 'not_null(user_id)' end,
        case when product_id is null then 'not_null(product_id)' end,
        case when quantity is null then 'not_null(quantity)' end,
        case when price is null then 'not_null(unit_price)' end,
        case when placed is null then 'not_null(order_ts)' end,
        case when status is null then 'not_null(status)' end,
        case when status not in ('paid', 'cancelled', 'refunded', 'pending') then 'accepted_values(status)' end,
        case when not is_known then 'foreign_key(product_id)' end,
        case when not amount > 0 then 'revenue_is_positive' end,
        case when placed >= load_date + interval 1 day then 'not_in_the_future' end
    ], lambda rule: rule is not null) as rules
from last_orders
"""
GOOD_ORDERS = """
create table good_orders as
select o.* from last_orders as o
anti join (from bad_orders where len(rules) > 0) as b on b.load_date = o.load_date and b.order_id = o.order_id
"""
LAST_EVENTS = """
create table last_events as
select e.load_date, e.event_id, e.user_id, e.product_id, e.event_type,
    replace(e.event_ts, 'Z', '')::timestamp as happened,
    e.product_id is null
    or e.product_id in (select f.product_id from first_listed as f where f.since <= e.load_date) as is_known
from events as e
qualify row_number() over (partition by e.load_date, e.event_id order by e.n desc) = 1
"""
BAD_EVENTS = """
create table bad_events as
select load_date, event_id,
    list_filter([
        case when user_id is null then 'not_null(user_id)' end,
        case when event_type is null then 'not_null(event_type)' end,
        case when happened is null then 'not_null(event_ts)' end,
        case when event_type not in ('page_view', 'view_product', 'add_to_cart', 'checkout', 'purchase')
            then 'accepted_values(event_type)' end,
        case when not is_known then 'foreign_key(product_id)' end,
        case when happened >= load_date + interval 1 day then 'not_in_the_future' end
    ], lambda rule: rule is not null) as rules
from last_events
"""
GOOD_EVENTS = """
create table good_events as
select e.* from last_events as e
anti join (from bad_events where len(rules) > 0) as b on b.load_date = e.load_date and b.event_id = e.event_id
"""
STEPS = (
    *(LISTINGS, BAD_LISTINGS, GOOD_LISTINGS, FIRST_LISTED),
    *(LAST_ORDERS, BAD_ORDERS, GOOD_ORDERS, LAST_EVENTS, BAD_EVENTS, GOOD_EVENTS),
)

# Of one load_date, $day.
SET_ASIDE = """
select 'staging.products_clean' as table_name, product_id as id, rules from bad_listings where load_date = $day
union all select 'staging.orders_clean', order_id, rules from bad_orders where load_date = $day
union all select 'staging.events_clean', event_id, rules from bad_events where load_date = $day
"""
FACT_ORDERS = """
select order_id, user_id, product_id, placed, quantity, price, amount, status,
    placed::date, if(status = 'paid', amount, 0)::decimal(22, 2)
from good_orders where load_date = $day order by order_id
"""
FACT_EVENTS = """
select event_id, user_id, product_id, event_type, happened, happened::date
from good_events where load_date = $day order by event_id
"""
# Of each product the newest listing, among all lists so far.
DIM_PRODUCT = """
select product_id, arg_max(product_name, load_date), arg_max(category, load_date),
    arg_max([brand], load_date)[1], arg_max([current_price], load_date)[1],
    max(load_date) = $day, min(load_date), max(load_date)
from good_listings where load_date <= $day group by product_id order by product_id
"""
DIM_USER = """
with signs as (
    select user_id, placed as moment, 'order' as what, status, amount from good_orders where load_date <= $day
    union all
    select user_id, happened, 'event', null, null from good_events where load_date <= $day
)

select user_id, min(moment), max(moment),
    count(*) filter (what = 'order'),
    count(*) filter (status = 'paid'),
    coalesce(sum(amount) filter (status = 'paid'), 0)::decimal(30, 2),
    min(moment) filter (status = 'paid'), max(moment) filter (status = 'paid'),
    count(*) filter (what = 'event')
from signs group by user_id order by user_id
"""
REVENUE = """
select o.placed::date as day, p.category,
    count(*), sum(o.amount)::decimal(30, 2),
    coalesce(sum(o.amount) filter (o.status = 'paid'), 0)::decimal(30, 2),
    coalesce(sum(o.amount) filter (o.status = 'cancelled'), 0)::decimal(30, 2),
    coalesce(sum(o.amount) filter (o.status = 'refunded'), 0)::decimal(30, 2),
    coalesce(sum(o.amount) filter (o.status = 'pending'), 0)::decimal(30, 2),
    count(*) filter (o.status = 'paid')
from good_orders as o
join (
    select product_id, arg_max(category, load_date) as category from good_listings where load_date <= $day group by all
) as p on p.product_id = o.product_id
where o.load_date = $day
group by all
order by all
"""
FUNNEL = """
with did as (
    select happened::date as day, user_id, list(distinct event_type) as what
    from good_events where load_date = $day group by all
),

came as (
    select day, case
        when not list_has_any(what, ['page_view', 'view_product']) then 0
        when not list_contains(what, 'add_to_cart') then 1
        when not list_contains(what, 'checkout') then 2
        when not list_contains(what, 'purchase') then 3
        else 4 end as far
    from did
)

select day, count(*) filter (far >= 1), count(*) filter (far >= 2), count(*) filter (far >= 3),
    count(*) filter (far = 4)
from came group by day order by day
"""


@dataclass(frozen=True)
class Shop:
    """The tables of one load_date, each sorted by its key; times are in UTC, without a time zone."""

    set_aside: list[Row]  # table, id, the names of the rules
    fact_orders: list[Row]
    fact_events: list[Row]
    dim_product: list[Row]
    dim_user: list[Row]
    revenue_by_category: list[Row]
    conversion_funnel: list[Row]
    repeat_customers: list[Row]


def shops(folder: Path, days: Sequence[date]) -> dict[date, Shop]:
    """Return the tables of each load_date, of which `folder` has the files under their keys."""
    with duckdb.connect(config={"threads": 1}) as database:
        _read(database, folder, days)
        for step in STEPS:
            database.execute(step)
        return {day: _shop(database, day) for day in days}


def _read(database: duckdb.DuckDBPyConnection, folder: Path, days: Sequence[date]) -> None:
    for table, fields in (("orders", ORDER_FIELDS), ("events", EVENT_FIELDS), ("products", PRODUCT_FIELDS)):
        columns = ", ".join(f'"{name}" {type_}' for name, type_ in fields.items())
        database.execute(f"create table {table} (load_date date, n bigint, {columns})")
    for day in days:
        monday = next(
            each
            for each in (day - timedelta(days=back) for back in range(CARRIED + 1))
            if each.weekday() == 0 and (folder / f"products/{each}/products.json").exists()
        )
        of_file = "select ?::date, row_number() over (), * from"
        database.execute(
            f"insert into orders {of_file} read_json(?, format = 'array', columns = {ORDER_FIELDS})",
            [day, str(folder / f"orders/{day}/orders.json")],
        )
        database.execute(
            f"insert into events {of_file} read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', "
            f"columns = {EVENT_FIELDS})",
            [day, str(folder / f"events/{day}/events.csv")],
        )
        type_ = "STRUCT(" + ", ".join(f'"{name}" {each}' for name, each in PRODUCT_FIELDS.items()) + ")[]"
        database.execute(
            "insert into products select ?::date, row_number() over (), product.* from (select unnest(products) as "
            f"product from read_json(?, columns = {{'products': '{type_}'}}, maximum_object_size = 100000000))",
            [day, str(folder / f"products/{monday}/products.json")],
        )


def _shop(database: duckdb.DuckDBPyConnection, day: date) -> Shop:
    def rows(query: str) -> list[Row]:
        return database.execute(query, {"day": day}).fetchall()

    users = rows(DIM_USER)
    return Shop(
        set_aside=sorted((table, id_, sorted(rules)) for table, id_, rules in rows(SET_ASIDE) if rules),
        fact_orders=rows(FACT_ORDERS),
        fact_events=rows(FACT_EVENTS),
        dim_product=rows(DIM_PRODUCT),
        dim_user=users,
        revenue_by_category=[(*row[:-1], quotient(row[4], row[-1], 2)) for row in rows(REVENUE)],
        conversion_funnel=[_funnel(*row) for row in rows(FUNNEL)],
        repeat_customers=[
            (user, paid, revenue, first.date(), last.date(), (last.date() - first.date()).days)
            for user, _, _, _, paid, revenue, first, last, _ in users
            if paid >= 2
        ],
    )


def _funnel(day: date, viewed: int, carted: int, checked_out: int, purchased: int) -> Row:
    rates = ((carted, viewed), (checked_out, carted), (purchased, checked_out), (purchased, viewed))
    return (day, viewed, carted, checked_out, purchased, *(quotient(part, all_, 6) for part, all_ in rates))


def quotient(part: Decimal | int, whole: int, digits: int) -> Decimal | None:
    """Return part / whole, rounded once, a half away from zero as Postgres does; None over 0."""
    if not whole:
        return None
    return Decimal(floor(Fraction(part) / whole * 10**digits + Fraction(1, 2))).scaleb(-digits)
