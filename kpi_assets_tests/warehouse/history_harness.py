"""Histories of a test: what their load_dates say, and which versions follow from that, computed without Postgres."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from psycopg import sql

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets_tests.pipeline_harness import PipelineHarness

FIRST = date(2025, 1, 1)
Row = tuple[Any, ...]  # of texts, as they are delivered; None is NULL
Rows = Mapping[Row, Row]  # key -> the other values

RAW_CUSTOMERS = """\
/* @asset
description: Customers as delivered.
owner: team:tests
grain: [customer_id]
source: {object: "raw/customers/load_date={load_date}/customers.csv", format: csv, null: ["NULL"]}
columns:
  customer_id: {type: text, description: Customer.}
  name: {type: text, description: Name.}
  city: {type: text, description: City.}
  score: {type: numeric, description: "Score, of any scale."}
checks:
  min_rows: {at_least: 0}
@end */
"""
CUSTOMERS = """\
/* @asset
description: Customers and their history.
owner: team:tests
grain: [customer_id]
storage: history
history:
  surrogate_key: customer_sk
  max_changed: 1
  adds:
    is_active: {type: boolean, value: end_date is null, description: Whether the customer is still delivered so.}
    updated_at: {type: date, value: "coalesce(end_date + 1, effective_date)", description: Last day with a change.}
columns:
  customer_id: {type: text, description: Customer.}
  name: {type: text, description: Name.}
  city: {type: text, description: City.}
  score: {type: numeric, description: "Score, of any scale."}
checks:
  min_rows: {at_least: 0}
  accepted_values: {name: [John, Ann]}
@end */
select
    customer_id,
    name,
    city,
    score
from raw.customers
where load_date = %(load_date)s
"""
COLUMNS = ("customer_id", "name", "city", "score")


def day(number: int) -> date:
    """The load_date of this number."""
    return FIRST + timedelta(days=number)


def surrogate_key(key: Sequence[Any], effective: date) -> int:
    """The number of a version: the first 63 bits of the SHA-256 of its key and its first day."""
    text = json.dumps([*key, effective.isoformat()], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def expected_versions(said: Mapping[date, Rows]) -> list[tuple[Any, ...]]:
    """The versions of load_dates: (surrogate key, key, other values, effective_date, end_date), ordered by key."""
    found = []
    for key in sorted({key for rows in said.values() for key in rows}):
        since, held = date.min, None
        for load_date in [*sorted(said), None]:
            row = said[load_date].get(key) if load_date else None
            if held is not None and (load_date is None or row != held):
                end = load_date - timedelta(days=1) if load_date else None
                found.append((surrogate_key(key, since), *key, *held, since, end))
                held = None
            if load_date and held is None and row is not None:
                since, held = load_date, row
    return found


class Customers:
    """The history of customers in a pipeline, with the rows that each published load_date has."""

    def __init__(self, lab: PipelineHarness) -> None:
        self.lab, self.said = lab, dict[date, Rows]()
        lab.file("raw/customers.sql", RAW_CUSTOMERS)
        lab.file("marts/customers.sql", CUSTOMERS)

    def deliver(self, load_date: date, rows: Mapping[str, Row]) -> BuildOutcome:
        """Build a load_date with these rows of (name, city, score)."""
        self.land(load_date, rows)
        outcome = self.lab.build("marts.customers", load_date)
        if not outcome.held:
            self.said[load_date] = {(key,): row for key, row in rows.items()}
        return outcome

    def land(self, load_date: date, rows: Mapping[str, Row]) -> None:
        """Publish these rows of the raw table."""
        lines = [",".join(COLUMNS), *(",".join(map(_field, (key, *row))) for key, row in rows.items())]
        self.lab.put(f"raw/customers/load_date={load_date}/customers.csv", "".join(f"{x}\n" for x in lines).encode())
        assert not self.lab.build("raw.customers", load_date).held

    def versions(self) -> list[tuple[Any, ...]]:
        """The stored versions, as expected_versions has them."""
        return self.lab.rows(
            "select customer_sk, customer_id, name, city, score::text, effective_date, end_date "
            'from marts.customers order by customer_id collate "C", effective_date'
        )

    def check(self) -> None:
        """Assert that the versions are those that follow from the load_dates."""
        assert self.versions() == expected_versions(self.said)


def _field(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace('"', '""') + '"'


def as_of(name: sql.Composable, columns: Sequence[str], load_date: date) -> sql.Composable:
    """The query of the rows that a history has for a day, as texts."""
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)
    return sql.SQL(
        "select {} from {} where effective_date <= {day} and coalesce(end_date, 'infinity') >= {day}"
    ).format(texts, name, day=sql.Literal(load_date))
