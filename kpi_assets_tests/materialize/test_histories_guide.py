"""The guide to histories is true: its files load and are built, and its queries return what it says."""

import re
from datetime import date
from textwrap import dedent
from typing import Any

import pytest

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.pipeline_harness import PipelineHarness

GUIDE = (CHECKOUT / "docs/guides/histories.md").read_text()
DIM, FACT = re.findall(r"```sql\n(/\* @asset.*?)```", GUIDE, re.DOTALL)
QUERIES = re.findall(r"```sql\n(select\s.*?)```\n\n((?:\|[^\n]*\n)+)", GUIDE, re.DOTALL)
[ADDS] = re.findall(r"```yaml\n(history:\n.*?)```", GUIDE, re.DOTALL)
DELIVERED = {
    date(2025, 3, 1): "C1,Ann,Kyiv\nC2,Ben,Lviv\nC3,Cho,Riga\n",
    date(2025, 3, 2): "C1,Ann,Oslo\nC2,Ben,Lviv\nC3,Cho,Riga\n",
    date(2025, 3, 4): "C1,Ann,Oslo\nC3,Cho,Riga\n",
}
RAW_CUSTOMERS = """\
/* @asset
description: Customers as delivered.
owner: team:tests
grain: [customer_id]
source: {object: "raw/customers/{load_date}.csv", format: csv}
columns:
  customer_id: {type: text, description: Customer.}
  name: {type: text, description: Name.}
  city: {type: text, description: City.}
@end */
"""
RAW_SALES = """\
/* @asset
description: Sales as delivered.
owner: team:tests
grain: [sale_id]
source: {object: "raw/sales/{load_date}.csv", format: csv}
columns:
  sale_id: {type: text, description: Sale.}
  customer_id: {type: text, description: Customer.}
  sold_on: {type: date, description: Day of the sale.}
@end */
"""


@pytest.fixture
def shop(lab: PipelineHarness) -> PipelineHarness:
    """The guide's pipeline, whose three load_dates were published, the one in the middle last."""
    lab.file("raw/customers.sql", RAW_CUSTOMERS)
    lab.file("raw/sales.sql", RAW_SALES)
    lab.file("marts/customers.sql", DIM)
    lab.file("marts/sales.sql", FACT)
    for day in sorted(DELIVERED, key=lambda day: day.day % 4):
        lab.put(f"raw/customers/{day}.csv", f"customer_id,name,city\n{DELIVERED[day]}".encode())
        for name in ("raw.customers", "marts.customers"):
            assert not lab.build(name, day).held
    return lab


def cells(table: str) -> list[list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [lines[0], *lines[2:]]


def shown(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_its_queries_return_what_it_says(shop: PipelineHarness) -> None:
    assert len(QUERIES) == 4
    for query, table in QUERIES:
        with shop.session() as session:
            cursor = session.execute(query.encode())
            names = [column.name for column in cursor.description or ()]
            found = [names, *([shown(value) for value in row] for row in cursor.fetchall())]
        assert found == cells(table), query


def test_its_fact_has_the_version_of_the_day_or_the_first_one(shop: PipelineHarness) -> None:
    day = date(2025, 3, 4)
    sales = ("A,C1,2025-03-01", "B,C1,2025-03-04", "C,C1,2024-12-31", "D,C2,2025-03-04", "E,C9,2025-03-04")
    shop.put(f"raw/sales/{day}.csv", "\n".join(["sale_id,customer_id,sold_on", *sales, ""]).encode())
    shop.build("raw.sales", day)
    shop.build("marts.sales", day)
    assert shop.rows(
        "select s.sale_id, c.city, c.effective_date from marts.sales as s "
        "left join marts.customers as c using (customer_sk) order by 1"
    ) == [
        ("A", "Kyiv", date(2025, 3, 1)),
        ("B", "Oslo", date(2025, 3, 2)),
        ("C", "Kyiv", date(2025, 3, 1)),
        ("D", "Lviv", date(2025, 3, 1)),
        ("E", None, None),
    ]


def test_the_columns_that_it_adds_are_added(shop: PipelineHarness) -> None:
    shop.file("marts/customers.sql", DIM.replace("history: {surrogate_key: customer_sk}\n", dedent(ADDS)))
    shop.build("marts.customers", date(2025, 3, 4))
    assert shop.rows("select is_active, updated_at from marts.customers where customer_id = 'C2'") == [
        (False, date(2025, 3, 4))
    ]
