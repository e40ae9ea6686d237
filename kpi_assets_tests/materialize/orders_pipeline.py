"""A small pipeline whose orders are set aside by rules that a test gives."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.model.decision import Decision, Kind
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

RAW = """\
/* @asset
description: Orders as delivered.
owner: team:tests
grain: [line]
storage: partitions
source:
  object: raw/orders/load_date={load_date}/orders.csv
  format: csv
columns:
  line: {type: integer, description: Line of the file.}
  order_id: {type: integer, description: Order.}
  product_id: {type: integer, description: Product.}
  price: {type: "numeric(8,2)", description: Price.}
  status: {type: text, description: What became of it.}
@end */
"""
PRODUCTS = """\
/* @asset
description: Products as delivered.
owner: team:tests
grain: [product_id]
source:
  object: raw/products/load_date={load_date}/products.csv
  format: csv
columns:
  product_id: {type: integer, description: Product.}
@end */
"""
ORDERS = """\
/* @asset
description: Orders that can be counted.
owner: team:tests
grain: [order_id]
storage: partitions
quarantine:
  BUDGET
  rules:
    RULES
columns:
  order_id: {type: integer, description: Order.}
  product_id: {type: integer, description: Product.}
  price: {type: "numeric(8,2)", description: Price.}
  status: {type: text, description: What became of it.}
checks:
  reconcile: {source: raw.orders, dropped: {test: "status = 'test'"}}
  amounts: {reconcile: {source: raw.orders, sum: price, dropped: {test: "status = 'test'"}}}
@end */
select order_id, product_id, price, status
from raw.orders
where load_date = %(load_date)s and status <> 'test'
"""
HEADER = "line,order_id,product_id,price,status\n"
GOOD = ["1,1.00,paid", "2,2.00,paid", "1,3.00,open", "2,4.00,paid"]  # orders 1 to 4
ASIDE = "select key, rules, state from ops.quarantine where rules is not null order by id"
HERE = "select order_id, product_id, price, status from stg.orders order by 1, 2, 3"


def declare(lab: PipelineHarness, rules: str, budget: str = "rows: 9", **changes: str) -> None:
    text = ORDERS.replace("RULES", rules.replace("\n", "\n    ")).replace("BUDGET\n", f"{budget}\n" if budget else "\n")
    for old, new in changes.items():
        text = text.replace(old, new)
    lab.file("stg/orders.sql", text)


def deliver(lab: PipelineHarness, *bad: str) -> None:
    """Deliver four good orders, 1 to 4, and others, each as order_id,product_id,price,status."""
    rows = [*(f"{number},{text}" for number, text in enumerate(GOOD, start=1)), *bad]
    body = HEADER + "".join(f"{number},{row}\n" for number, row in enumerate(rows, start=1))
    lab.put(f"raw/orders/load_date={DAY}/orders.csv", body.encode())
    lab.put(f"raw/products/load_date={DAY}/products.csv", b"product_id\n1\n2\n")
    lab.build("raw.orders")
    lab.build("raw.products")


def built(lab: PipelineHarness, *bad: str, **changes: Any) -> BuildOutcome:
    deliver(lab, *bad)
    return lab.build("stg.orders", **changes)


def message(outcome: BuildOutcome, name: str = "quarantine") -> str:
    return next(result.message for result in outcome.results if result.name == name)


SLICED = {"writers": 3, "slice_bytes": 900}
LINES = """\
/* @asset
description: Lines of orders that can be counted.
owner: team:tests
grain: [line]
storage: partitions
quarantine:
  rows: 999
  rules:
    RULES
columns:
  line: {type: integer, description: Line of the file.}
  product_id: {type: integer, description: Product.}
  price: {type: "numeric(8,2)", description: Price.}
checks:
  reconcile: {source: raw.orders}
@end */
select line, product_id, price
from raw.orders
where load_date = %(load_date)s
"""
PARTS = "select count(*) from pg_partition_tree('marts.lines') where isleaf"


def sliced(lab: PipelineHarness, rules: str) -> tuple[BuildOutcome, BuildOutcome]:
    """Build marts.lines as a whole and in slices."""
    lab.file("marts/lines.sql", LINES.replace("RULES", rules.replace("\n", "\n    ")))
    rows = [f"{number},{number % 4 or ''},{number % 50 - 5},paid" for number in range(5, 400)]
    body = HEADER + "".join(f"{number},{row}\n" for number, row in enumerate(rows, start=1))
    lab.put(f"raw/orders/load_date={DAY}/orders.csv", body.encode())
    lab.put(f"raw/products/load_date={DAY}/products.csv", b"product_id\n1\n2\n")
    lab.build("raw.orders", **SLICED)
    lab.build("raw.products")
    whole = lab.build("marts.lines")
    return whole, lab.build("marts.lines", **SLICED)


def a_decision(
    kind: Kind, key: Mapping[str, Any], was: Mapping[str, Any], number: int, put: Mapping[str, Any]
) -> Decision:
    """Return a decision on line `number` of an object."""
    at = datetime(2025, 3, 2, tzinfo=timezone.utc)
    return Decision(kind, key, was, put, "It is so.", "ana", at, f"decisions/0001.jsonl:{number}")
