"""The versions of tables: the values that the ledger of every installation holds do not move with a release of ours.

A value that moves makes every published load_date stale, or every held one be built again.
"""

import pytest

from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.model.conftest import Tree

# table -> (code_version, checks_version, object_version); never edit a value without an edit of its file below sql/.
SHIPPED = {
    "marts.dim_products": ("ea878df6b975cd77", "bc1c1c35d8fa1a09", None),
    "marts.fact_order_items": ("7426b8945d888bf0", "e1b52047b74f15fd", None),
    "marts.fact_orders": ("8e0f725aabfba20b", "4f135f33c219036b", None),
    "marts.kpi_orders_by_dow": ("f69e2ba37070e304", "f62428a97ec194d2", None),
    "marts.kpi_orders_by_dow_28d": ("ff59ec751aeb0ed1", "7b5848c911df40d1", None),
    "marts.kpi_products_reorder": ("9b5cef5096eb9b56", "d82340006f62093a", None),
    "raw.aisles": ("10ccbeb40e950360", "7a5c9b07cd6e7865", "632a77f635c93583"),
    "raw.departments": ("8c82760de87f216b", "5772c83145817ddf", "51eab914f0302297"),
    "raw.order_products_prior": ("aa29198c99b6a355", "99f8fffcb946208d", "bd0bee7c1869737f"),
    "raw.orders": ("0dec0faae4bf8cda", "d86d157f31d83e01", "c0c99037b222ae18"),
    "raw.products": ("4215126e2de10ee5", "954b447db762b470", "d4b32f03a2ac9714"),
    "stg.stg_order_products_prior": ("8dc860e8e0a95b63", "52a71b06105b7754", None),
    "stg.stg_orders": ("d704750e9dab6962", "ac273d8c3dda0107", None),
    "stg.stg_products": ("cd1077e0054a2ba0", "2d81357131fc0366", None),
}
# The same of a pipeline whose files hold every word that there was when these values were written down.
EVERY_WORD = {
    "marts.people": ("dd9217e24cc8978c", "bdd4f1da6fbccb40", None),
    "marts.recent": ("f067f582baaeb053", "b8dfbf43d1f00db7", None),
    "marts.sold": ("c6d8be1e6d2bae64", "76527ca2a294193f", None),
    "raw.people": ("897d8dee109c04d4", "a2dedf147f82c251", "2b7041d60a13650c"),
    "raw.things": ("a825d5e1979af12e", "a5a606c06318e028", "53b774aed56fea38"),
}
# With another minimum in the environment.
OF_THE_ENVIRONMENT = {
    "marts.sold": ("c6d8be1e6d2bae64", "9bc3a99d717eb05a", None),
}
SHOP = """\
description: A shop with every word.
bucket: kpi-shop
start_date: 2025-01-01
layers: {raw: raw, marts: marts}
readers: [marts]
defaults: {min_rows: {of_previous: 0.5}}
"""
RAW = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
versions: latest
storage: partitions
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
  quarantine_budget: 3
  ends_with_line_end: hold
  same_bytes: ignore
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
  share: {type: double precision, description: Share.}
checks:
  not_null: [thing_id]
  accepted_values: {name: [no, "ñ 辣", "it's"], thing_id: [1, 2.5e22]}
  range: {share: [-.inf, 1e-9], weight: [null, 1e22]}
@end */
"""
PEOPLE = """\
/* @asset
description: People as delivered.
owner: team:tests
grain: [thing_id, name]
source: {object: "raw/people/load_date={load_date}/people.csv", format: csv}
columns:
  thing_id: {type: bigint, description: Thing.}
  name: {type: text, description: Name.}
@end */
"""
KPI = """\
/* @asset
description: Things that were sold.
owner: name@example.com
grain: [thing_id]
lookback: {days: 7, rows: all}
kpi: {chart: {x: name, y: weight, top: 5}}
min_volume: {column: sold, at_least: 9}
freshness: {within_hours: 36}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
  sold: {type: bigint, description: Sales.}
checks:
  min_rows: {at_least: 2, of_previous: 0.25, of_usual: 1}
  unique: {names: [name, sold], weights: [weight]}
  foreign_key: {thing_id: raw.people.thing_id}
  reconcile: {source: raw.things, sum: weight, here: weight + 0, dropped: {free: weight = 0}}
  heavy: {bad_rows: "select * from {this} where weight > 50", severity: warn, description: No thing is heavy.}
  rows: {reconcile: {source: raw.things, counted: sum(sold), dropped: {light: weight < 1, odd: "name = 'odd'"}}}
@end */
select
    thing_id,
    name,
    weight,
    1::bigint as sold
from raw.things
where load_date between %(window_start)s and %(load_date)s
"""
RECENT = """\
/* @asset
description: Things seen lately.
owner: team:tests
grain: [thing_id]
lookback: 28
columns:
  thing_id: {type: integer, description: Thing.}
@end */
select thing_id
from raw.things
where load_date between %(window_start)s and %(load_date)s
"""
VIEW = """\
/* @asset
description: People as they are.
owner: team:tests
grain: [thing, name]
storage: view
columns:
  thing: {type: bigint, description: Thing.}
  name: {type: text, description: Name.}
@end */
select thing_id as thing, name
from raw.people
where load_date = %(load_date)s
"""
FILES = {
    "pipeline.yaml": SHOP,
    "raw/things.sql": RAW,
    "raw/people.sql": PEOPLE,
    "marts/sold.sql": KPI,
    "marts/recent.sql": RECENT,
    "marts/people.sql": VIEW,
}


def shop(tree: Tree) -> Tree:
    """The pipeline with every word."""
    for name, text in FILES.items():
        tree.write(f"shop/{name}", text)
    return tree


@pytest.mark.parametrize("name", SHIPPED)
def test_the_versions_of_a_shipped_table_are_what_they_were(name: str) -> None:
    table = load_pipelines(default_sql_dir())["instacart"].table(name)
    found = (table.code_version, table.checks_version, table.object_version if table.header.source else None)
    assert found == SHIPPED[name]


def test_every_shipped_table_is_pinned() -> None:
    tables = load_pipelines(default_sql_dir())["instacart"].tables
    assert {str(relation) for relation in tables} == {*SHIPPED}


@pytest.mark.parametrize("minimum", [None, 7])
def test_the_versions_of_files_with_every_word_are_what_they_were(tree: Tree, minimum: int | None) -> None:
    pipeline = shop(tree).load({"shop.marts.sold": minimum} if minimum is not None else None)
    found = {
        str(relation): (table.code_version, table.checks_version, table.object_version if table.header.source else None)
        for relation, table in pipeline.tables.items()
    }
    assert found == {**EVERY_WORD, **(OF_THE_ENVIRONMENT if minimum else {})}
