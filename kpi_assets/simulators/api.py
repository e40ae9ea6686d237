"""Which APIs are simulated, and the table that each of them answers from.

This module imports little, because every command that uses the embedded servers reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODULE = "kpi_assets.simulators"  # as in `python -m`
ENVIRONMENT = "KPI_SIMULATORS"  # the variable that gives the program its secrets, as JSON
MONEY = "numeric(12,2)"


@dataclass(frozen=True)
class SimulatedApi:
    """An API of a pipeline, and its table.

    `fields` are the fields of a record and their types in the table. Any of them may be NULL, since what arrives from
    others may lack anything. The column `day` says on which day the record is found, whatever its date says, and `key`
    numbers the records in the sequence in which they are given out. `number` is the field that faults of fields hit.
    """

    pipeline: str
    name: str
    table: str
    day: str
    key: str
    fields: Mapping[str, str]
    number: str

    @property
    def database(self) -> str:
        """Its database. No pipeline has this name, since names of pipelines have no dash."""
        return f"simulated-{self.name}"


RETAILER_1 = SimulatedApi(
    pipeline="retail",
    name="retailer_1",
    table="sales",
    day="booked_on",
    key="line_id",
    fields={
        "order_id": "text",
        "order_date": "date",
        "customer_id": "text",
        "store_id": "text",
        "sku": "text",
        "product_name": "text",
        "category": "text",
        "quantity": "integer",
        "price": MONEY,
        "total": MONEY,
        "discount_percentage": "integer",
        "payment_method": "text",
    },
    number="quantity",
)
RETAILER_2 = SimulatedApi(
    pipeline="retail",
    name="retailer_2",
    table="transactions",
    day="posted_on",
    key="entry_no",
    fields={
        "transaction_number": "bigint",
        "date": "date",
        "member_id": "integer",
        "location_id": "integer",
        "item_code": "integer",
        "item_name": "text",
        "department": "text",
        "qty": "integer",
        "unit_cost": MONEY,
        "amount": MONEY,
        "tax_amount": MONEY,
        "loyalty_points_earned": "integer",
        "promotion_code": "text",
        "sales_rep_id": "integer",
    },
    number="qty",
)
RETAILER_3 = SimulatedApi(
    pipeline="retail",
    name="retailer_3",
    table="sale_lines",
    day="business_day",
    key="row_no",
    fields={
        "sale_id": "text",
        "timestamp": "timestamp with time zone",
        "buyer_id": "text",
        "outlet_id": "text",
        "product_code": "text",
        "name": "text",
        "type": "text",
        "count": "integer",
        "price_per_unit": MONEY,
        "revenue": MONEY,
        "shipping_cost": MONEY,
        "warranty_months": "integer",
        "return_policy_days": "integer",
        "supplier_id": "integer",
    },
    number="count",
)
PRODUCTS = SimulatedApi(
    pipeline="ecommerce",
    name="products",
    table="products",
    day="listed_on",
    key="position",
    fields={
        "product_id": "integer",
        "product_name": "text",
        "category": "text",
        "brand": "text",
        "current_price": MONEY,
    },
    number="current_price",
)
RETAILERS = (RETAILER_1, RETAILER_2, RETAILER_3)
SIMULATED: Mapping[str, SimulatedApi] = {each.name: each for each in (*RETAILERS, PRODUCTS)}


def simulated_of(pipeline: str) -> list[str]:
    """Return the names of a pipeline's APIs that can be simulated."""
    return [api.name for api in SIMULATED.values() if api.pipeline == pipeline]


def fingerprint(secrets: Mapping[str, Any]) -> str:
    """Return what tells the secrets from others, without telling them: they are long and random."""
    return hashlib.sha256(json.dumps(secrets, sort_keys=True).encode()).hexdigest()[:16]
