"""Histories of a test: what their load_dates say, and which versions follow from that, computed without Postgres."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets_tests.pipeline_harness import PipelineHarness

FIRST = date(2025, 1, 1)
Row = tuple[str | None, ...]  # of texts; None is NULL
Rows = Mapping[Any, Row]  # key -> row

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


def surrogate_key(key: str, effective: date) -> int:
    """The number of a version: the first 63 bits of the SHA-256 of its key, as values of JSON, and its first day."""
    digest = hashlib.sha256(f'[{key}, "{effective}"]'.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def expected_versions(said: Mapping[date, Rows], key_text: Callable[[Row], str]) -> list[tuple[Any, ...]]:
    """The versions of load_dates: (surrogate key, *row, effective_date, end_date, is_current), ordered by key.

    `said` has the rows of each load_date by key; `key_text` gives the key of a row as values of JSON.
    """
    found = []
    for key in sorted({key for rows in said.values() for key in rows}):
        since, held = date.min, None
        for load_date in [*sorted(said), None]:
            row = said[load_date].get(key) if load_date else None
            if held is not None and (load_date is None or row != held):
                end = load_date - timedelta(days=1) if load_date else None
                found.append((surrogate_key(key_text(held), since), *held, since, end, end is None))
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
            self.said[load_date] = {key: (key, *row) for key, row in rows.items()}
        return outcome

    def land(self, load_date: date, rows: Mapping[str, Row]) -> None:
        """Publish these rows of the raw table."""
        lines = [",".join(COLUMNS), *(",".join(map(_field, (key, *row))) for key, row in rows.items())]
        self.lab.put(f"raw/customers/load_date={load_date}/customers.csv", "".join(f"{x}\n" for x in lines).encode())
        assert not self.lab.build("raw.customers", load_date).held

    def versions(self) -> list[tuple[Any, ...]]:
        """The stored versions, as expected_versions has them."""
        return self.lab.rows(
            "select customer_sk, customer_id, name, city, score::text, effective_date, end_date, is_current "
            'from marts.customers order by customer_id collate "C", effective_date'
        )

    def check(self) -> None:
        """Assert that the versions are those that follow from the load_dates."""
        assert self.versions() == expected_versions(self.said, lambda row: json.dumps(row[0], ensure_ascii=False))


def _field(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace('"', '""') + '"'
