"""The oracle: Instacart's KPIs, computed a second time from the five CSV files by DuckDB and exact fractions.

It is written from the meaning of the KPIs, not from sql/: DuckDB joins and counts integers, Python divides them without
error and rounds once. Not here: the comparison (test_oracle.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from math import floor
from pathlib import Path
from typing import Any

import duckdb

FILES = {
    "orders": {
        "order_id": "BIGINT",
        "user_id": "BIGINT",
        "eval_set": "VARCHAR",
        "order_number": "BIGINT",
        "order_dow": "BIGINT",
        "order_hour_of_day": "BIGINT",
        "days_since_prior_order": "VARCHAR",
    },
    "order_products__prior": {
        "order_id": "BIGINT",
        "product_id": "BIGINT",
        "add_to_cart_order": "BIGINT",
        "reordered": "BIGINT",
    },
    "products": {"product_id": "BIGINT", "product_name": "VARCHAR", "aisle_id": "BIGINT", "department_id": "BIGINT"},
    "aisles": {"aisle_id": "BIGINT", "aisle": "VARCHAR"},
    "departments": {"department_id": "BIGINT", "department": "VARCHAR"},
}

LOW_VOLUME = 20  # with fewer orders of a product, its share of reorders is noise

# One row for each kind of basket on a day of the week: number of lines, of reorders, and of orders.
BASKETS = """
with sizes as (
    from orders as o
    select
        o.order_dow,
        (select count(*) from order_products__prior as l where l.order_id = o.order_id) as lines,
        (select count(*) from order_products__prior as l where l.order_id = o.order_id and l.reordered = 1) as reorders
)

from sizes
select order_dow, lines, reorders, count(*) as orders
group by all
order by all
"""

# The same over several deliveries of the files: the last delivery that contains an order counts, with its lines.
BASKETS_OF_DELIVERIES = """
with last as (
    from every_orders
    select order_id, max(delivery) as delivery
    group by order_id
),

sizes as (
    from every_orders as o
    semi join last as t on t.order_id = o.order_id and t.delivery = o.delivery
    left join every_order_products__prior as l on l.order_id = o.order_id and l.delivery = o.delivery
    select o.order_id, o.order_dow, count(l.product_id) as lines, count(*) filter (where l.reordered = 1) as reorders
    group by all
)

from sizes
select order_dow, lines, reorders, count(*) as orders
group by all
order by all
"""

PRODUCTS = """
from order_products__prior as l
join products as p on p.product_id = l.product_id
select
    p.product_id,
    p.product_name,
    count(distinct l.order_id) as orders,
    count(distinct l.order_id) filter (where l.reordered = 1) as reorders
group by all
order by p.product_id
"""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Kpis:
    """The KPI tables of one load_date by their keys, and the number of rows of each mart."""

    by_dow: list[
        Row
    ]  # day, orders, mean lines of an order, share of orders with a reorder, mean of the rates of the orders
    by_product: list[
        Row
    ]  # product, its name, orders with it, reorders among them, their share, whether the share is noise
    by_dow_28d: list[Row]  # as by_dow, of all orders of 28 load_dates
    rows: dict[str, int]


def kpis(folder: Path, *before: Path) -> Kpis:
    """Return the KPIs of the five files in a folder; `before` are the earlier load_dates of the window, in order."""
    with duckdb.connect() as database:
        for name in FILES:
            _read(database, folder, name).create(name)
        for number, each in enumerate((*before, folder)):
            for name in ("orders", "order_products__prior"):
                delivered = _read(database, each, name).project(f"*, {number} as delivery")
                delivered.insert_into(f"every_{name}") if number else delivered.create(f"every_{name}")
        baskets = database.execute(BASKETS).fetchall()
        baskets_28d = database.execute(BASKETS_OF_DELIVERIES).fetchall()
        products = database.execute(PRODUCTS).fetchall()
        sizes = {name: len(database.table(name)) for name in FILES}
    by_dow, by_dow_28d = _by_dow(baskets), _by_dow(baskets_28d)
    by_product = [(*row, rounded(Fraction(row[3], row[2])), row[2] < LOW_VOLUME) for row in products]
    return Kpis(
        by_dow,
        by_product,
        by_dow_28d,
        {
            "marts.fact_orders": sizes["orders"],
            "marts.fact_order_items": sizes["order_products__prior"],
            "marts.dim_products": sizes["products"],
            "marts.kpi_orders_by_dow": len(by_dow),
            "marts.kpi_orders_by_dow_28d": len(by_dow_28d),
            "marts.kpi_products_reorder": len(by_product),
        },
    )


def _read(database: duckdb.DuckDBPyConnection, folder: Path, name: str) -> duckdb.DuckDBPyRelation:
    return database.read_csv(
        str(folder / f"{name}.csv"),
        header=True,
        columns=FILES[name],
        delimiter=",",
        quotechar='"',
        escapechar='"',
        allow_quoted_nulls=False,
        strict_mode=True,
        parallel=False,  # a name may contain line ends
    )


def _by_dow(baskets: Sequence[Row]) -> list[Row]:
    return [_of_day(dow, [kind[1:] for kind in kinds]) for dow, kinds in groupby(baskets, key=lambda kind: kind[0])]


def _of_day(dow: int, kinds: Iterable[tuple[int, int, int]]) -> Row:
    """Return one row of the KPIs by day: every order counts, and the means are over orders with known lines."""
    kinds = list(kinds)
    total = sum(orders for _, _, orders in kinds)
    known = [kind for kind in kinds if kind[0]]
    baskets = sum(orders for _, _, orders in known)
    if not baskets:
        return (dow, total, None, None, None)
    items = sum(lines * orders for lines, _, orders in known)
    with_reorder = sum(orders for _, reorders, orders in known if reorders)
    rates = sum((Fraction(reorders, lines) * orders for lines, reorders, orders in known), Fraction())
    return (dow, total, *(rounded(Fraction(part) / baskets) for part in (items, with_reorder, rates)))


def rounded(value: Fraction) -> Decimal:
    """Round a non-negative number to 6 decimals, a half away from zero, as Postgres rounds a numeric.

    The marts round each order's rate to 12 decimals before they average, which moves the mean by less than 5e-13: only
    a mean that is so close to a half could be rounded the other way there. All other quotients are exact enough.
    """
    return Decimal(floor(value * 10**6 + Fraction(1, 2))).scaleb(-6)
