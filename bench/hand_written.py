"""A hand-written job: one connection in autocommit, tables with keys, and gates and tables one after another.

Its SQL is kept for comparison, not as an example.
"""

import psycopg

from bench.context import BenchContext, Kpis, kpis_in

RAW = {
    "aisles": ("aisles.csv", "aisle_id integer primary key, aisle text"),
    "departments": ("departments.csv", "department_id integer primary key, department text"),
    "products": (
        "products.csv",
        "product_id integer primary key, product_name text, aisle_id integer, department_id integer",
    ),
    "orders": (
        "orders.csv",
        "order_id integer primary key, user_id integer, eval_set text, order_number smallint, order_dow smallint, "
        "order_hour_of_day smallint, days_since_prior_order numeric(4, 1)",
    ),
    "order_products_prior": (
        "order_products__prior.csv",
        "order_id integer, product_id integer, add_to_cart_order smallint, reordered smallint, "
        "primary key (order_id, product_id)",
    ),
}
KEYS = {
    "aisles": "aisle_id",
    "departments": "department_id",
    "products": "product_id",
    "orders": "order_id",
    "order_products_prior": "order_id, product_id",
}
GATES = [
    *(f"select count(*) > 0 from raw.{table}" for table in RAW),
    *(
        f"select count(*) = 0 from raw.{table} where {' or '.join(f'{key} is null' for key in keys.split(', '))}"
        for table, keys in KEYS.items()
    ),
    *(
        f"select count(*) = 0 from (select {keys} from raw.{table} group by {keys} having count(*) > 1) as d"
        for table, keys in KEYS.items()
    ),
    "select count(*) = 0 from raw.order_products_prior as l left join raw.orders as o using (order_id) "
    "where o.order_id is null",
    "select count(*) = 0 from raw.order_products_prior where reordered not in (0, 1)",
]
TABLES = [
    ("stg.stg_orders", ["order_id", "user_id"], "select * from raw.orders"),
    (
        "stg.stg_order_products_prior",
        ["order_id", "product_id"],
        "select order_id, product_id, add_to_cart_order, reordered from raw.order_products_prior",
    ),
    (
        "stg.stg_products",
        ["product_id"],
        "select p.product_id, p.product_name, p.aisle_id, a.aisle, p.department_id, d.department "
        "from raw.products as p left join raw.aisles as a using (aisle_id) "
        "left join raw.departments as d using (department_id)",
    ),
    ("marts.dim_products", ["product_id"], "select * from stg.stg_products"),
    (
        "marts.fact_order_items",
        ["order_id", "product_id"],
        "select l.order_id, l.product_id, l.add_to_cart_order, l.reordered, o.user_id, o.order_dow, "
        "o.order_hour_of_day from stg.stg_order_products_prior as l inner join stg.stg_orders as o using (order_id)",
    ),
    (
        "marts.fact_orders",
        ["order_id", "user_id"],
        "select o.order_id, o.user_id, o.order_number, o.order_dow, o.order_hour_of_day, o.days_since_prior_order, "
        "b.items as items_in_order, b.reordered_items as reordered_items_in_order, "
        "b.reordered_items::numeric / b.items as reorder_item_rate, b.reordered_items > 0 as has_any_reorder "
        "from stg.stg_orders as o left join ("
        "select order_id, count(*) as items, sum(reordered) as reordered_items "
        "from stg.stg_order_products_prior group by order_id) as b using (order_id)",
    ),
    (
        "marts.kpi_orders_by_dow",
        ["order_dow"],
        "select order_dow, count(*) as total_orders, avg(items_in_order) as avg_items_per_order, "
        "avg(has_any_reorder::integer) as pct_orders_with_any_reorder, "
        "avg(reorder_item_rate) as avg_reorder_item_rate from marts.fact_orders group by order_dow",
    ),
    (
        "marts.kpi_products_reorder",
        ["product_id"],
        "select i.product_id, p.product_name, count(distinct i.order_id) as orders_with_product, "
        "sum(i.reordered) as times_reordered, "
        "sum(i.reordered)::numeric / count(distinct i.order_id) as product_reorder_rate "
        "from marts.fact_order_items as i left join marts.dim_products as p using (product_id) "
        "group by i.product_id, p.product_name",
    ),
]


NAME = "hand-written job"
DATABASE = "bench_hand_written"


def prepare(context: BenchContext) -> None:
    """Make the tables into which the job loads every day."""
    with psycopg.connect(context.fresh_database(DATABASE), autocommit=True) as connection:
        for schema in ("raw", "stg", "marts"):
            connection.execute(f"create schema {schema}".encode())
        for table, (_, columns) in RAW.items():
            connection.execute(f"create table raw.{table} ({columns})".encode())


def run(context: BenchContext) -> None:
    """Build one load_date from files to KPIs. Raises AssertionError if a gate fails."""
    with psycopg.connect(context.url(DATABASE), autocommit=True) as connection:
        for table, (file, _) in RAW.items():
            connection.execute(f"truncate raw.{table}".encode())
            context.copy(connection, f"raw.{table}", file)
            connection.execute(f"select count(*) from raw.{table}".encode())
        for gate in GATES:
            assert connection.execute(gate.encode()).fetchone() == (True,), gate
        for table, keys, select in TABLES:
            connection.execute(f"drop table if exists {table}".encode())
            connection.execute(f"create table {table} as {select}".encode())
            for key in keys:
                connection.execute(f"create index on {table} ({key})".encode())


def kpis(context: BenchContext) -> Kpis:
    """Return the computed KPIs."""
    return kpis_in(context.url(DATABASE), "marts.")
