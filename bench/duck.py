"""DuckDB in process: the same tables in a file, with two threads, no server, no indexes and no gates.

Without gates nothing proves that an order has a product only once. So the KPI counts distinct orders, as the
hand-written job does.
"""

from collections.abc import Sequence

import duckdb

from bench.context import BY_DOW, BY_PRODUCT, FILES, BenchContext, Kpis, as_numbers

NAME = "DuckDB"
THREADS = 2
TYPES = {
    "orders": "order_id: 'integer', user_id: 'integer', eval_set: 'varchar', order_number: 'smallint', "
    "order_dow: 'smallint', order_hour_of_day: 'smallint', days_since_prior_order: 'decimal(4, 1)'",
    "order_products_prior": "order_id: 'integer', product_id: 'integer', add_to_cart_order: 'smallint', "
    "reordered: 'smallint'",
    "products": "product_id: 'integer', product_name: 'varchar', aisle_id: 'integer', department_id: 'integer'",
    "aisles": "aisle_id: 'integer', aisle: 'varchar'",
    "departments": "department_id: 'integer', department: 'varchar'",
}
TABLES = {
    "stg_orders": "select * replace (days_since_prior_order::smallint as days_since_prior_order) from orders",
    "stg_order_products_prior": "select * from order_products_prior",
    "stg_products": "select p.*, a.aisle, d.department from products as p left join aisles as a using (aisle_id) "
    "left join departments as d using (department_id)",
    "dim_products": "select * from stg_products",
    "fact_order_items": "select l.*, o.user_id, o.order_dow, o.order_hour_of_day "
    "from stg_order_products_prior as l inner join stg_orders as o using (order_id)",
    "fact_orders": "select o.*, b.items_in_order, b.reordered_items_in_order, "
    "b.reordered_items_in_order / b.items_in_order as reorder_item_rate, "
    "b.reordered_items_in_order > 0 as has_any_reorder from stg_orders as o left join ("
    "select order_id, count(*) as items_in_order, sum(reordered) as reordered_items_in_order "
    "from stg_order_products_prior group by order_id) as b using (order_id)",
    "kpi_orders_by_dow": "select order_dow, count(*) as total_orders, avg(items_in_order) as avg_items_per_order, "
    "avg(has_any_reorder::integer) as pct_orders_with_any_reorder, "
    "avg(reorder_item_rate) as avg_reorder_item_rate from fact_orders group by order_dow",
    "kpi_products_reorder": "select i.product_id, p.product_name, {orders} as orders_with_product, "
    "sum(i.reordered) as times_reordered, sum(i.reordered) / {orders} as product_reorder_rate "
    "from fact_order_items as i left join dim_products as p using (product_id) "
    "group by i.product_id, p.product_name",
}


def prepare(context: BenchContext) -> None:
    """Remove the file of an earlier run."""
    (context.scratch / "bench.duckdb").unlink(missing_ok=True)


def run(context: BenchContext) -> None:
    """Build all tables, until the file is complete and closed."""
    build(context)


def build(context: BenchContext, gates: Sequence[str] = ()) -> None:
    """Build the tables, and check the gates on the raw ones. Raises AssertionError if a gate fails."""
    orders = "count(*)" if gates else "count(distinct i.order_id)"  # the gates prove that both are equal
    with duckdb.connect(context.scratch / "bench.duckdb", config={"threads": THREADS}) as connection:
        for table, columns in TYPES.items():
            connection.execute(
                f"create table {table} as select * from "
                f"read_csv('{context.files / FILES[table]}', header = true, columns = {{{columns}}})"
            )
        for gate in gates:
            assert connection.execute(gate).fetchone() == (True,), gate
        for table, select in TABLES.items():
            connection.execute(f"create table {table} as {select.format(orders=orders)}")


def kpis(context: BenchContext) -> Kpis:
    """Return the computed KPIs."""
    with duckdb.connect(context.scratch / "bench.duckdb", read_only=True) as connection:
        return as_numbers(
            row for query in (BY_DOW, BY_PRODUCT) for row in connection.execute(query.format("")).fetchall()
        )
