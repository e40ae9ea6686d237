"""The oracle of Instacart's questions: each answer a second time, by DuckDB from the CSV files of two load_dates.

It is written from what the questions ask, not from sql/: the files are read as they are, and DuckDB counts. Shares are
left to Python as two whole numbers, and divided there without error.

Not here: the comparison (test_questions_oracle.py).
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb

from kpi_assets_tests.oracle import FILES

# A pair of columns (x, y) whose names end with _of and _in is the share x / y.
ORDERS = """
create view baskets as
select o.*, l.items
from orders as o
left join (select order_id, count(*) as items from order_products__prior group by order_id) as l using (order_id);
create view lines as
select l.*, o.order_number, p.product_name, a.aisle, d.department
from order_products__prior as l
join orders as o using (order_id)
join products as p using (product_id)
join aisles as a using (aisle_id)
join departments as d using (department_id);
create view now_in as
select product_id, product_name, count(distinct order_id) as baskets,
    count(distinct order_id) filter (where reordered = 1) as again,
    count(distinct order_id) filter (where add_to_cart_order = 1) as first
from lines group by all;
create view before_in as
select product_id, count(distinct order_id) as baskets from before_order_products__prior group by product_id;
"""
QUESTIONS = {
    "products_people_come_back_for": """
        select product_name, baskets, again as rate_of, baskets as rate_in from now_in
        where baskets >= 30 order by again / baskets desc, baskets desc, product_id limit 15
    """,
    "weekdays_against_a_week_before": """
        select order_dow, b.orders as before, n.orders, n.orders - b.orders as growth_of, b.orders as growth_in
        from (select order_dow, count(*) as orders from orders group by all) as n
        full join (select order_dow, count(*) as orders from before_orders group by all) as b using (order_dow)
        order by order_dow
    """,
    "baskets_by_department": """
        select department, count(*) as lines, count(*) as share_of, (select count(*) from lines) as share_in
        from lines group by department order by lines desc, department limit 25
    """,
    "reorder_rate_by_aisle": """
        select aisle, department, count(*) as lines,
            count(*) filter (where reordered = 1) as rate_of, count(*) as rate_in
        from lines where order_number > 1 group by aisle, department having count(*) >= 50
        order by rate_of / rate_in desc, lines desc, aisle limit 25
    """,
    "first_orders_and_later_ones": """
        select order_number = 1, count(distinct user_id), count(*), count(*) as share_of,
            (select count(*) from baskets) as share_in, count(items), sum(items) as mean_of, count(items) as mean_in
        from baskets group by order_number = 1 order by 1 desc
    """,
    "basket_size_by_hour": """
        select order_hour_of_day, count(*), count(items), sum(items) as mean_of, count(items) as mean_in,
            median(items)
        from baskets group by order_hour_of_day order by 1
    """,
    "products_gaining_in_a_week": """
        with sizes as (
            select (select count(distinct order_id) from order_products__prior) as now_all,
                (select count(distinct order_id) from before_order_products__prior) as before_all
        )
        select n.product_name, coalesce(b.baskets, 0), n.baskets,
            coalesce(b.baskets, 0) as before_of, before_all as before_in, n.baskets as share_of, now_all as share_in,
            n.baskets * before_all - coalesce(b.baskets, 0) * now_all as gain_of, now_all * before_all as gain_in
        from now_in as n cross join sizes left join before_in as b using (product_id)
        where n.baskets >= 20 and n.baskets * before_all > coalesce(b.baskets, 0) * now_all
        order by gain_of desc, n.baskets desc, product_id limit 15
    """,
    "products_put_first_into_baskets": """
        select product_name, baskets, first, first as share_of, baskets as share_in from now_in
        where baskets >= 40 order by first / baskets desc, baskets desc, product_id limit 15
    """,
    "small_baskets_by_weekday": """
        select order_dow, count(items), count(*) filter (where items <= 5),
            count(*) filter (where items <= 5) as share_of, count(items) as share_in, count(*) - count(items)
        from baskets group by order_dow order by order_dow
    """,
    "days_until_the_next_order": """
        with days as (
            select cast(cast(days_since_prior_order as double) as integer) as days, count(*) as orders
            from orders where days_since_prior_order is not null group by all
        )
        select days, orders, orders as share_of, (select sum(orders) from days) as share_in,
            (select sum(d.orders) from days as d where d.days <= days.days) as so_far_of,
            (select sum(orders) from days) as so_far_in
        from days order by days
    """,
}
# The values that a reader gives in the test.
GIVEN = {
    "products_people_come_back_for": {"at_least": "30"},
    "reorder_rate_by_aisle": {"at_least": "50", "without_first_orders": "true"},
    "products_put_first_into_baskets": {"at_least": "40"},
    "small_baskets_by_weekday": {"at_most": "5"},
}


def answers(folder: Path, before: Path) -> dict[str, list[list[Any]]]:
    """Return the rows of each question, with shares as fractions; `before` has the files of a week before."""
    with duckdb.connect() as database:
        for prefix, place in (("", folder), ("before_", before)):
            for name, columns in FILES.items():
                database.execute(
                    f'create table "{prefix}{name}" as from read_csv(?, columns = {columns}, header = true, '
                    "quote = '\"', escape = '\"', strict_mode = true)",
                    [str(place / f"{name}.csv")],
                )
        database.execute(ORDERS)
        return {question: _rows(database, query) for question, query in QUESTIONS.items()}


def _rows(database: duckdb.DuckDBPyConnection, query: str) -> list[list[Any]]:
    cursor = database.execute(query)
    assert cursor.description is not None
    names = [column[0] for column in cursor.description]
    return [_divided(names, row) for row in cursor.fetchall()]


def _divided(names: Sequence[str], row: Sequence[Any]) -> list[Any]:
    found, left = [], list(zip(names, row, strict=True))
    while left:
        name, value = left.pop(0)
        if name.endswith("_of"):
            _, under = left.pop(0)
            value = Fraction(int(value), int(under)) if value is not None and under else None
        found.append(value)
    return found
