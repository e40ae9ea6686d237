"""From a row that is set aside to its decision and the next build: each kind of decision, and an empty database."""

import json
from typing import Any

import pytest

from kpi_assets.ledger import bad_rows
from kpi_assets.materialize.decide import Asked, Made, UndecidableError, decide
from kpi_assets.materialize.prepare import prepare
from kpi_assets_tests.materialize.orders_pipeline import HERE, built, declare, deliver, message
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

RULE = 'positive: {bad_rows: "select * from {this} where price <= 0"}'
BAD = ("5,1,-5.00,paid", "6,1,-6.00,paid", "7,2,0.00,gift", "8,2,-8.00,paid")


def ask(lab: PipelineHarness, kind: Any, order: int, again: bool = False, **corrected: Any) -> list[Made]:
    with lab.session() as session:
        rows, _ = bad_rows.find(session, tables=["stg.orders"], load_date=DAY)
    [id_] = [row.id for row in rows if row.key == json.dumps({"order_id": order})]
    return list(decide(lab.context(), Asked(kind, {id_: corrected}, "it is so", "ana", again)))


def states(lab: PipelineHarness) -> dict[int, str]:
    with lab.session() as session:
        rows, count = bad_rows.find(session, tables=["stg.orders"], load_date=DAY)
    assert count == len(rows)
    return {json.loads(row.key or "")["order_id"]: row.state for row in rows}


def test_what_is_decided_is_in_the_next_build_and_in_that_of_an_empty_database(orders: PipelineHarness) -> None:
    declare(orders, RULE, "rows: 1")
    assert built(orders, *BAD).held
    assert states(orders) == dict.fromkeys([5, 6, 7, 8], "waiting")
    ask(orders, "correct", 5, price=5.5)
    ask(orders, "discard", 6)
    ask(orders, "accept", 7)
    outcome = orders.build("stg.orders")
    assert not outcome.held
    assert message(outcome) == ("1 row set aside: 1 by positive; by decision: 1 corrected, 1 accepted, 1 discarded")
    assert states(orders) == {5: "corrected", 6: "discarded", 7: "accepted", 8: "waiting"}
    assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4, 5, 7]
    with pytest.raises(UndecidableError, match=r"was corrected by ana on .* --again decides on it anew"):
        ask(orders, "discard", 5)
    ask(orders, "correct", 8, price=-1)
    orders.build("stg.orders")
    assert states(orders)[8] == "waiting", "it still breaks the rule"
    ask(orders, "correct", 8, price=8)
    ask(orders, "accept", 6, again=True)
    last = orders.build("stg.orders")
    assert states(orders) == {5: "corrected", 6: "accepted", 7: "accepted", 8: "corrected"}
    assert last.rows == 8

    orders.in_postgres(f'drop database "{orders.name}" with (force)')
    orders._ready = None
    prepare(orders.pipeline(), orders.server)
    deliver(orders, *BAD)
    again = orders.build("stg.orders")
    assert (again.rows, again.checksum) == (last.rows, last.checksum)
    assert states(orders) == {5: "corrected", 6: "accepted", 7: "accepted", 8: "corrected"}


def test_a_better_object_makes_decisions_void(orders: PipelineHarness) -> None:
    declare(orders, RULE, "rows: 1")
    built(orders, "5,1,-5.00,paid")
    ask(orders, "correct", 5, price=5.5)
    orders.build("stg.orders")
    outcome = built(orders, "5,1,7.00,paid")
    assert outcome.rows == 5
    assert [float(row[2]) for row in orders.rows(HERE)][-1] == 7
    assert "1 decision" in message(outcome)


def test_records_that_cannot_be_read_are_corrected_and_discarded(things: PipelineHarness) -> None:
    things.put_things(b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\nx,saw,2.00\n4,axe,two\n")
    assert things.build("raw.things").held
    with things.session() as session:
        saw, axe = bad_rows.find(session, tables=["raw.things"])[0]
    assert [(row.line, row.column_name, row.state) for row in (saw, axe)] == [
        (4, "thing_id", "waiting"),
        (5, "weight", "waiting"),
    ]
    corrected = {saw.id: {"record": "3,saw,2.00"}}
    [made] = decide(things.context(), Asked("correct", corrected, "a number was lost", "ana"))
    assert made.key == f"decisions/raw.things/load_date={DAY}/0001.jsonl"
    list(decide(things.context(), Asked("discard", {axe.id: {}}, "a test", "ana")))
    outcome = things.build("raw.things")
    assert not outcome.held
    assert [row[0] for row in things.rows("select thing_id from raw.things order by 1")] == [1, 2, 3]
    with things.session() as session:
        found, _ = bad_rows.find(session, tables=["raw.things"])
    assert [(row.state, row.corrected, row.decision) for row in found] == [
        ("corrected", "3,saw,2.00", f"decisions/raw.things/load_date={DAY}/0001.jsonl:1"),
        ("discarded", None, f"decisions/raw.things/load_date={DAY}/0002.jsonl:1"),
    ]
    things.put_things(b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\nx,saw,9.00\n")
    assert things.build("raw.things").held, "another record stands on that line"
