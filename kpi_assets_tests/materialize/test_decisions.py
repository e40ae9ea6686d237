"""Decisions on rows that were set aside are applied in a build, and a recheck counts what they did."""

from typing import Any

import pytest

from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.decision import Decision, Kind
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.orders_pipeline import (
    HERE,
    PARTS,
    a_decision,
    built,
    declare,
    deliver,
    message,
    sliced,
)
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness, failed


def decision(
    kind: Kind, key: dict[str, Any], was: dict[str, Any] | None = None, number: int = 1, **put: Any
) -> Decision:
    return a_decision(kind, key, was or {}, number, put)


DECISIONS = "select key, state, reason, decision, corrected from ops.quarantine order by id"
NEGATIVE = 'revenue_is_positive: {bad_rows: "select * from {this} where price <= 0"}'
BROKEN = "breaks revenue_is_positive"
PLACE = "decisions/0001.jsonl:1"


def test_a_corrected_row_is_in_the_table_and_sums_stay_exact(orders: PipelineHarness, decided: list[Decision]) -> None:
    declare(orders, NEGATIVE, "rows: 1")
    decided.append(decision("correct", {"order_id": 5}, {"price": -5.0}, price=5.5))
    outcome = built(orders, "5,1,-5.00,paid", "6,1,-6.00,paid")
    assert not outcome.held
    assert message(outcome) == "1 row set aside: 1 by revenue_is_positive; by decision: 1 corrected"
    assert orders.rows(HERE)[-1] == (5, 1, pytest.approx(5.5), "paid")
    corrected = '{"order_id":5,"product_id":1,"price":5.50,"status":"paid"}'
    assert orders.rows(DECISIONS) == [
        ({"order_id": 5}, "corrected", BROKEN, PLACE, corrected),
        ({"order_id": 6}, "waiting", BROKEN, None, None),
    ]
    assert message(outcome, "reconcile") == "6 rows of raw.orders = 5 here + 1 set aside + 0 dropped by test"
    assert message(outcome, "amounts") == (
        "-1.00 as sum(price) of raw.orders = 15.50 here + -6.00 set aside + -10.50 by corrections + 0 dropped by test"
    )
    again = orders.build("stg.orders")
    assert (again.rows, again.checksum) == (outcome.rows, outcome.checksum)


def test_an_accepted_row_is_in_the_table_as_it_is(orders: PipelineHarness, decided: list[Decision]) -> None:
    declare(orders, NEGATIVE, "rows: 0")
    decided.append(decision("accept", {"order_id": 5}, {"price": -5}))
    outcome = built(orders, "5,1,-5.00,paid")
    assert not outcome.held
    assert message(outcome) == "by decision: 1 accepted"
    assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4, 5]
    assert orders.rows(DECISIONS) == [({"order_id": 5}, "accepted", BROKEN, PLACE, None)]
    assert message(outcome, "amounts") == (
        "5.00 as sum(price) of raw.orders = 5.00 here + 0 set aside + 0 dropped by test"
    )


def test_a_discarded_row_stays_out_and_does_not_count_against_the_budget(
    orders: PipelineHarness, decided: list[Decision]
) -> None:
    declare(orders, NEGATIVE, "rows: 0")
    decided.append(decision("discard", {"order_id": 5}))
    outcome = built(orders, "5,1,-5.00,paid")
    assert not outcome.held
    assert message(outcome) == "by decision: 1 discarded"
    assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4]
    assert orders.rows(DECISIONS) == [({"order_id": 5}, "discarded", BROKEN, PLACE, None)]
    assert message(outcome, "reconcile") == "5 rows of raw.orders = 4 here + 1 set aside + 0 dropped by test"
    assert orders.rows("select rows_quarantined from ops.pipeline_runs where job = 'stg.orders'") == [(1,)]


def test_the_last_decision_on_a_row_wins(orders: PipelineHarness, decided: list[Decision]) -> None:
    declare(orders, NEGATIVE)
    decided += [
        decision("discard", {"order_id": 5}, number=1),
        decision("accept", {"order_id": 6}, number=2),
        decision("correct", {"order_id": 5}, number=3, price="7"),
        decision("discard", {"order_id": 6}, number=4),
    ]
    outcome = built(orders, "5,1,-5.00,paid", "6,1,-6.00,paid")
    assert message(outcome) == "by decision: 1 corrected, 1 discarded"
    assert [row[3] for row in orders.rows(DECISIONS)] == ["decisions/0001.jsonl:3", "decisions/0001.jsonl:4"]


def test_a_decision_on_a_row_that_reads_otherwise_does_nothing(
    orders: PipelineHarness, decided: list[Decision]
) -> None:
    declare(orders, NEGATIVE)
    decided += [decision("accept", {"order_id": 5}, {"price": -5.01}), decision("discard", {"order_id": 1})]
    outcome = built(orders, "5,1,-5.00,paid")
    assert message(outcome) == ("1 row set aside: 1 by revenue_is_positive; 2 decisions on rows that are not there")
    assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4]


def test_a_list_that_has_the_items_of_another_is_another(orders: PipelineHarness, decided: list[Decision]) -> None:
    declare(
        orders,
        NEGATIVE,
        **{
            "status: {type: text": "status: {type: jsonb",
            "price, status\nfrom": "price, to_jsonb(string_to_array(status, '+')) as status\nfrom",
        },
    )
    decided.append(decision("discard", {"order_id": 5}, {"status": ["a"]}))
    outcome = built(orders, "5,1,-5.00,a+b", "5,1,-5.00,a")
    assert message(outcome) == "1 row set aside: 1 by revenue_is_positive; by decision: 1 discarded"
    assert orders.rows("select record::jsonb -> 'status', state from ops.quarantine order by id") == [
        (["a"], "discarded"),
        (["a", "b"], "waiting"),
    ]


REFUSED = {
    "an unknown column": (
        {"prize": 5},
        "it was corrected in the column 'prize', which is none of order_id, product_id, price, status",
    ),
    "load_date": (
        {"load_date": "2025-01-01"},
        "it was corrected in the column 'load_date', which is none of order_id, product_id, price, status",
    ),
    "a wrong type": (
        {"price": "five"},
        "it was corrected by price 'five': a decimal number has digits and at most one point",
    ),
    "a lost decimal": (
        {"price": 5.001},
        "it was corrected by price '5.001': more than 2 decimals would be rounded",
    ),
    "too large": ({"price": 12345678901}, "it was corrected by price '12345678901': numeric field overflow"),
    "still bad": ({"price": 0}, "it was corrected, and then breaks revenue_is_positive"),
    "another's key": (
        {"order_id": 3, "price": 1},
        "it was corrected, and then another row has its key: order_id 3",
    ),
    "no key": ({"order_id": None, "price": 1}, "it was corrected, and then its key would be NULL: order_id NULL"),
}


@pytest.mark.parametrize("case", few(4, REFUSED))
def test_a_correction_that_cannot_be_applied_leaves_the_row_with_the_reason(
    orders: PipelineHarness, decided: list[Decision], case: str
) -> None:
    put, reason = REFUSED[case]
    declare(orders, NEGATIVE)
    decided.append(decision("correct", {"order_id": 5}, **put))
    outcome = built(orders, "5,1,-5.00,paid")
    assert not outcome.held, failed(outcome.results)
    ((key, state, said, place, corrected),) = orders.rows(DECISIONS)
    assert (key, state, place, corrected) == ({"order_id": 5}, "waiting", PLACE, None)
    assert said.startswith(reason)
    assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4]
    assert message(outcome) == (
        "1 row set aside: 1 by revenue_is_positive; 1 decision could not be applied: see the reason in ops.quarantine"
    )


def test_an_accepted_row_with_anothers_key_stays_aside(orders: PipelineHarness, decided: list[Decision]) -> None:
    declare(orders, NEGATIVE)
    decided += [decision("accept", {"order_id": 3}), decision("accept", {"order_id": 5})]
    outcome = built(orders, "3,1,-5.00,paid", "5,1,-5.00,paid", "5,1,-5.00,paid")
    assert not outcome.held, failed(outcome.results)
    assert [row[1:3] for row in orders.rows(DECISIONS)] == [
        ("waiting", f"it was accepted, but another row has its key: order_id {number}") for number in (3, 5, 5)
    ]
    assert message(outcome, "reconcile") == "7 rows of raw.orders = 4 here + 3 set aside + 0 dropped by test"


def test_a_correction_is_judged_by_rules_across_rows_with_the_rows_that_stayed(
    orders: PipelineHarness, decided: list[Decision]
) -> None:
    declare(orders, "unique: {product: [product_id, price]}\nnot_null: [product_id]")
    decided += [
        decision("correct", {"order_id": 5}, product_id=1),
        decision("correct", {"order_id": 6}, number=2, product_id=2),
    ]
    outcome = built(orders, "5,,1.00,paid", "6,,1.00,paid")
    assert not outcome.held, failed(outcome.results)
    assert [row[:3] for row in orders.rows(DECISIONS)] == [
        ({"order_id": 5}, "waiting", "it was corrected, and then breaks unique(product)"),
        ({"order_id": 6}, "corrected", "breaks not_null(product_id)"),
    ]


def test_a_corrected_row_may_move_to_another_slice(orders: PipelineHarness, decided: list[Decision]) -> None:
    decided += [
        decision("correct", {"line": 46}, line=9999, price=1),
        decision("discard", {"line": 1}),
        decision("accept", {"line": 47}),
        decision("accept", {"line": 2222}),
    ]
    whole, parts = sliced(orders, "range: {price: [0, null]}")
    assert orders.rows(PARTS) == [(9,)]
    assert whole.set_aside is not None
    assert whole.set_aside.text.endswith("by decision: 1 corrected, 1 accepted; 2 decisions on rows that are not there")
    assert (whole.rows, whole.checksum, whole.set_aside) == (parts.rows, parts.checksum, parts.set_aside)
    assert orders.rows("select line, price from marts.lines where line > 395") == [(9999, 1)]


def test_a_held_build_shows_its_decisions_first(
    orders: PipelineHarness, decided: list[Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpi_assets.materialize.audit.MOST_OF_HELD", 1)
    declare(orders, NEGATIVE, "rows: 0")
    decided.append(decision("accept", {"order_id": 6}))
    assert built(orders, "5,1,-5.00,paid", "6,1,-6.00,paid").held
    assert [row[:2] for row in orders.rows(DECISIONS)] == [({"order_id": 6}, "accepted")]


# ---- recheck


def test_a_recheck_counts_what_the_published_build_set_aside(orders: PipelineHarness, decided: list[Decision]) -> None:
    declare(orders, NEGATIVE)
    decided += [
        decision("correct", {"order_id": 5}, price=5.5),
        decision("discard", {"order_id": 6}),
        decision("accept", {"order_id": 7}),
    ]
    outcome = built(orders, "5,1,-5.00,paid", "6,1,-6.00,paid", "7,1,-7.00,paid", "8,1,-8.00,paid")
    assert not outcome.held, failed(outcome.results)
    context = orders.prepared()
    results = recheck(context, context.pipeline.table("stg.orders"), DAY)
    assert not failed(results)
    assert "quarantine" not in [result.name for result in results]
    said = {result.name: result.message for result in results}
    assert {name: said[name] for name in ("reconcile", "amounts")} == {
        name: message(outcome, name) for name in ("reconcile", "amounts")
    }
    assert "by corrections" in said["amounts"]


ODD = ("a", "t", "b", "q", "m", "d", "r", "rules", "number", "kind", "put", "row", "state", "reason", "this", "of_row")
ODD_TABLE = """\
/* @asset
description: Orders with columns of names that our own statements have.
owner: team:tests
grain: [a, t]
quarantine:
  rows: 9
  rules:
    not_null: [rules]
    unique: {key: [number, kind]}
    foreign_key: {put: raw.products.product_id}
    few: {bad_rows: "select a, t from {this} group by a, t having max(row) > 100"}
columns:
COLUMNS
checks:
  reconcile: {source: raw.orders, sum: price, here: r}
@end */
select
SELECTED
from raw.orders
where load_date = %(load_date)s
"""


def test_columns_may_have_names_that_the_statements_have(orders: PipelineHarness, decided: list[Decision]) -> None:
    of = dict.fromkeys(ODD, "line") | {"put": "product_id", "r": "price", "rules": "nullif(line, 5)"}
    types = dict.fromkeys(ODD, "integer") | {"r": "numeric(8,2)"}
    columns = "\n".join(f'  {name}: {{type: "{type_}", description: Value.}}' for name, type_ in types.items())
    selected = ",\n".join(f'    {of[name]} as "{name}"' for name in ODD)
    orders.file("marts/odd.sql", ODD_TABLE.replace("COLUMNS", columns).replace("SELECTED", selected))
    deliver(orders, "5,1,5.00,paid", "6,7,6.00,paid", "7,8,7.00,paid")
    decided += [
        decision("correct", {"a": 5, "t": 5}, {"kind": 5, "state": 5}, rules=9, r="5.5"),
        decision("accept", {"a": 6}, {"number": 6}),
    ]
    outcome = orders.build("marts.odd")
    assert not outcome.held, failed(outcome.results)
    assert message(outcome) == "1 row set aside: 1 by foreign_key(put); by decision: 1 corrected, 1 accepted"
    assert message(outcome, "reconcile") == (
        "28.00 as sum(price) of raw.orders = 21.50 here + 7.00 set aside + -0.50 by corrections"
    )
    assert orders.rows("select key, record::jsonb ->> 'reason', corrected::jsonb ->> 'rules' from ops.quarantine") == [
        ({"a": 5, "t": 5}, "5", "9"),
        ({"a": 6, "t": 6}, "6", None),
        ({"a": 7, "t": 7}, "7", None),
    ]
    context = orders.prepared()
    assert not failed(recheck(context, context.pipeline.table("marts.odd"), DAY))
