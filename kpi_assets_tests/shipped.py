"""The files below sql/: those that are shipped, and those that a reader of the README has added.

The tests require fixtures for the shipped files, and accept the others as they are.
"""

from kpi_assets.cli.selection import parents_of
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import default_sql_dir

NAME = "instacart"
TABLES = frozenset(
    {
        *(f"raw.{name}" for name in ("aisles", "departments", "order_products_prior", "orders", "products")),
        *(f"stg.{name}" for name in ("stg_order_products_prior", "stg_orders", "stg_products")),
        *(f"marts.{name}" for name in ("dim_products", "fact_order_items", "fact_orders")),
        *(f"marts.kpi_{name}" for name in ("orders_by_dow", "orders_by_dow_28d", "products_reorder")),
    }
)
PIPELINES = load_pipelines(default_sql_dir())  # once in a process: it takes a second
PIPELINE = PIPELINES[NAME]
ASSETS = len(parents_of(PIPELINE))  # objects and tables, including those that were added
ADDED = [name for name in map(str, PIPELINE.tables) if name not in TABLES]
