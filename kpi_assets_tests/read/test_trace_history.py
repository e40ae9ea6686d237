"""From a row of a fact down to the version of a history that it read, and to the rows that made the version."""

from datetime import timedelta

import pytest

from kpi_assets.read import beginnings
from kpi_assets.read.trace import Step
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.read.test_trace import traced
from kpi_assets_tests.warehouse.history_harness import Customers, day, surrogate_key

RAW_SALES = """\
/* @asset
description: Sales as delivered.
owner: team:tests
grain: [sale_id]
source: {object: "raw/sales/load_date={load_date}/sales.csv", format: csv}
columns:
  sale_id: {type: integer, description: Sale.}
  customer_id: {type: text, description: Customer.}
  sold_on: {type: date, description: Day of the sale.}
@end */
"""
FACT = """\
/* @asset
description: Sales, each with the version of its customer.
owner: team:tests
grain: [sale_id]
columns:
  sale_id: {type: integer, description: Sale.}
  customer_sk: {type: bigint, description: Version of the customer that held then.}
@end */
select s.sale_id, d.customer_sk
from raw.sales as s
"""
JOINED = """\
left join marts.customers as d
    on s.customer_id = d.customer_id and s.sold_on between d.effective_date and coalesce(d.end_date, 'infinity')
where s.load_date = %(load_date)s
"""
LATERAL = """\
left join lateral (
    select v.customer_sk from marts.customers as v
    where v.customer_id = s.customer_id
    order by v.effective_date <= s.sold_on desc, v.effective_date
    limit 1
) as d on true
where s.load_date = %(load_date)s
"""
NYC, LA = ("John", "NYC", "1.0"), ("John", "LA", "1.0")


@pytest.fixture
def customers(lab: PipelineHarness) -> Customers:
    """A customer who moves on day 3 and is the same on day 6, and two sales of day 6, before and after the move."""
    made = Customers(lab)
    lab.file("raw/sales.sql", RAW_SALES)
    for number, row in ((0, NYC), (3, LA), (6, LA)):
        made.deliver(day(number), {"C1": row, "C2": NYC})
    lines = f"sale_id,customer_id,sold_on\n1,C1,{day(1)}\n2,C1,{day(6)}\n"
    lab.put(f"raw/sales/load_date={day(6)}/sales.csv", lines.encode())
    lab.build("raw.sales", day(6))
    return made


def below(step: Step, *tables: str) -> Step:
    for name in tables:
        [step] = [each for each in step.sources if str(each.table.relation) == name]
    return step


@pytest.mark.parametrize("how", few(1, [JOINED, LATERAL]), ids=["join", "lateral"])
def test_a_row_of_a_fact_goes_back_to_the_version_and_to_the_load_date_that_began_it(
    customers: Customers, how: str
) -> None:
    lab = customers.lab
    lab.file("marts/sales.sql", FACT + how)
    lab.build("marts.sales", day(6))
    for sale, since in ((1, day(0)), (2, day(3)) if how == JOINED else (2, day(0))):
        fact = traced(lab, "marts.sales", str(sale))
        number = str(surrogate_key('"C1"', since))
        assert fact.rows[0].values["customer_sk"] == number
        version = below(fact, "marts.customers")
        assert (version.by, version.count, version.counts) == (["customer_sk"], 1, {day(6): 1})
        values = version.rows[0].values
        ended = str(day(2)) if since == day(0) else None
        assert (values["customer_sk"], values["effective_date"], values["end_date"]) == (number, str(since), ended)
        assert version.notes == ["followed to the rows of the load_dates on which the versions began"]
        raw = below(version, "raw.customers")
        assert (raw.counts, raw.by) == ({since: 1}, ["customer_id", "name", "city", "score"])
        [row] = raw.rows
        assert row.origin is not None
        assert row.origin.object.endswith(f"raw/customers/load_date={since}/customers.csv")
        assert (row.origin.line, row.values["city"]) == (2, "NYC" if since == day(0) else "LA")


def test_a_key_of_a_history_has_all_versions_that_were_known(customers: Customers) -> None:
    lab = customers.lab
    step = traced(lab, "marts.customers", "C1")
    shown = [(row.values["city"], row.values["effective_date"], row.values["is_current"]) for row in step.rows]
    assert shown == [("NYC", str(day(0)), "false"), ("LA", str(day(3)), "true")]
    assert (step.counts, below(step, "raw.customers").counts) == ({day(6): 2}, {day(0): 1, day(3): 1})
    before = traced(lab, "marts.customers", "C1", day=day(0))
    assert [(row.values["city"], row.values["end_date"], row.values["is_current"]) for row in before.rows] == [
        ("NYC", None, "true")
    ]
    number = surrogate_key('"C1"', day(3))
    [only] = traced(lab, "marts.customers", f"customer_sk={number}").rows
    assert only.values["effective_date"] == str(day(3))
    [first] = traced(lab, "marts.customers", "customer_id=C1", f"effective_date={day(0)}").rows
    assert first.values["city"] == "NYC"


def test_not_more_load_dates_are_followed_than_can_be_read(
    customers: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginnings, "MOST", 2)
    step = traced(customers.lab, "marts.customers", "C1")
    assert step.notes == ["followed to the rows of the load_dates on which the versions began"]
    monkeypatch.setattr(beginnings, "MOST", 1)
    step = traced(customers.lab, "marts.customers", "C1")
    assert step.notes == ["followed to the rows of the latest 1 of the 2 load_dates on which versions began"]
    assert below(step, "raw.customers").counts == {day(3): 1}


def test_a_load_date_whose_rows_are_gone_is_named(customers: Customers) -> None:
    lab = customers.lab
    with lab.session() as session:
        session.execute("update ops.publishes set superseded_at = now(), dropped_at = now() where publish_id = 1")
    raw = below(traced(lab, "marts.customers", "C1"), "raw.customers")
    assert (raw.counts, raw.notes) == ({day(3): 1}, [f"not published any more: {day(3) - timedelta(days=3)}"])
