"""Rows that break a rule are set aside: each lands in one place, is counted, and is judged by the budget."""

import pytest

from kpi_assets.model.checks import keys
from kpi_assets.warehouse import set_aside
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.orders_pipeline import (
    ASIDE,
    HERE,
    LINES,
    PARTS,
    SLICED,
    built,
    declare,
    deliver,
    message,
    sliced,
)
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness, failed

RULES = {
    "not_null": ("not_null: [product_id]", "5,,5.00,paid", "not_null(product_id)"),
    "accepted_values": ("accepted_values: {status: [paid, open]}", "5,1,5.00,lost", "accepted_values(status)"),
    "range": ("range: {price: [0, 100]}", "5,1,-5.00,paid", "range(price)"),
    "foreign_key": ("foreign_key: {product_id: raw.products.product_id}", "5,3,5.00,paid", "foreign_key(product_id)"),
    "a predicate": ('cheap: {bad_rows: "select * from {this} where price > 4.50"}', "5,1,5.00,paid", "cheap"),
    "another table": (
        'known: {bad_rows: "select t.* from {this} as t left join raw.products as p on p.load_date = %(load_date)s and '
        'p.product_id = t.product_id where p.product_id is null"}',
        "5,3,5.00,paid",
        "known",
    ),
    "only the key": (
        'first: {bad_rows: "select order_id from {this} group by order_id having max(price) > 4.50"}',
        "5,1,5.00,paid",
        "first",
    ),
    "two SELECTs": (
        'either: {bad_rows: "select * from {this} where price > 4.50 union all select * from {this} where price < 0"}',
        "5,1,5.00,paid",
        "either",
    ),
}


@pytest.mark.parametrize("kind", RULES)
def test_each_kind_of_rule_alone_sets_its_rows_aside(orders: PipelineHarness, kind: str) -> None:
    rule, bad, name = RULES[kind]
    declare(orders, rule)
    outcome = built(orders, bad)
    assert not outcome.held, failed(outcome.results)
    assert message(outcome) == f"1 row set aside: 1 by {name}"
    assert message(outcome, "reconcile") == "5 rows of raw.orders = 4 here + 1 set aside + 0 dropped by test"
    assert message(outcome, "amounts") == (
        f"{10 + float(bad.split(',')[2]):.2f} as sum(price) of raw.orders = 10.00 here + {bad.split(',')[2]} set aside "
        "+ 0 dropped by test"
    )
    assert orders.rows(ASIDE) == [({"order_id": 5}, [name], "waiting")]
    assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4]
    assert orders.rows(
        "select rows_quarantined, rows_loaded_staging from ops.pipeline_runs where job = 'stg.orders'"
    ) == [(1, 4)]


def test_all_copies_of_a_doubled_key_go(orders: PipelineHarness) -> None:
    declare(orders, "unique: {key: [order_id]}")
    outcome = built(orders, "5,1,5.00,paid", "5,1,5.00,paid", "5,2,6.00,paid")
    assert message(outcome) == "3 rows set aside: 3 by unique(key)"
    assert not outcome.held
    assert orders.rows("select record from ops.quarantine order by record") == [
        ('{"order_id":5,"product_id":1,"price":5.00,"status":"paid"}',),
        ('{"order_id":5,"product_id":1,"price":5.00,"status":"paid"}',),
        ('{"order_id":5,"product_id":2,"price":6.00,"status":"paid"}',),
    ]


TWO = """\
not_null: [product_id, order_id]
revenue_is_positive: {bad_rows: "select * from {this} where price <= 0"}
few: {bad_rows: "select * from {this} as t where exists (select 1 from {this} as o where o.order_id = t.order_id
      and o.price < t.price)"}"""


def test_a_row_that_breaks_two_rules_is_one_row(orders: PipelineHarness) -> None:
    declare(orders, TWO)
    outcome = built(orders, "5,,-5.00,paid", "6,,6.00,paid", "7,1,0,test")
    assert message(outcome) == "2 rows set aside: 2 by not_null(product_id), 1 by revenue_is_positive"
    assert orders.rows(ASIDE) == [
        ({"order_id": 5}, ["not_null(product_id)", "revenue_is_positive"], "waiting"),
        ({"order_id": 6}, ["not_null(product_id)"], "waiting"),
    ]
    assert message(outcome, "reconcile") == "7 rows of raw.orders = 4 here + 2 set aside + 1 dropped by test"
    assert message(outcome, "amounts") == (
        "11.00 as sum(price) of raw.orders = 10.00 here + 1.00 set aside + 0.00 dropped by test"
    )


def test_of_rows_that_share_a_key_only_the_bad_one_goes(orders: PipelineHarness) -> None:
    declare(orders, TWO)
    outcome = built(orders, "5,1,5.00,paid", "5,1,-1.00,paid", ",1,6.00,paid", ",1,-6.00,paid", ",1,-6.00,paid")
    assert not outcome.held, failed(outcome.results)
    assert message(outcome) == ("5 rows set aside: 3 by not_null(order_id), 3 by revenue_is_positive, 1 by few")
    assert sorted(orders.rows(ASIDE), key=lambda row: (str(row[0]), row[1])) == [
        ({"order_id": 5}, ["few"], "waiting"),
        ({"order_id": 5}, ["revenue_is_positive"], "waiting"),
        ({"order_id": None}, ["not_null(order_id)"], "waiting"),
        ({"order_id": None}, ["not_null(order_id)", "revenue_is_positive"], "waiting"),
        ({"order_id": None}, ["not_null(order_id)", "revenue_is_positive"], "waiting"),
    ]
    assert message(outcome, "reconcile") == "9 rows of raw.orders = 4 here + 5 set aside + 0 dropped by test"


def test_a_rule_by_the_key_alone_takes_every_row_of_the_key_and_null_too(orders: PipelineHarness) -> None:
    declare(orders, 'much: {bad_rows: "select order_id from {this} group by order_id having sum(price) > 9"}')
    outcome = built(orders, "5,1,5.00,paid", "5,1,5.00,paid", ",1,6.00,paid", ",1,6.00,paid")
    assert not outcome.held, failed(outcome.results)
    assert message(outcome) == "4 rows set aside: 4 by much"


def test_what_no_rule_takes_is_still_judged_by_the_checks(orders: PipelineHarness) -> None:
    declare(orders, "not_null: [product_id]")
    outcome = built(orders, "5,1,5.00,paid", "5,2,5.00,paid", "6,,1.00,paid")
    assert [*failed(outcome.results)] == ["grain"]
    assert message(outcome, "reconcile") == "7 rows of raw.orders = 6 here + 1 set aside + 0 dropped by test"


@pytest.mark.parametrize(
    ("budget", "most", "is_held"),
    few(
        4,
        [
            ("rows: 2", 2, False),
            ("rows: 1", 1, True),
            ("share: 0.34", 2, False),
            ("share: 0.33", 1, True),
            ("rows: 2\n  share: 0.33", 1, True),
            ("rows: 1\n  share: 0.5", 1, True),
            ("rows: 2\n  share: 0.5", 2, False),
            ("", 0, True),
        ],
    ),
)
def test_the_budget(orders: PipelineHarness, budget: str, most: int, is_held: bool) -> None:
    declare(orders, "not_null: [product_id]", budget)
    outcome = built(orders, "5,,5.00,paid", "6,,6.00,paid")
    result = next(result for result in outcome.results if result.name == "quarantine")
    assert (result.metric, result.threshold, result.passed, outcome.held) == (2, most, not is_held, is_held)
    assert result.samples[0] == {
        "rules broken": "not_null(product_id)",
        "order_id": 5,
        "product_id": None,
        "price": 5,
        "status": "paid",
    }
    assert orders.rows("select count(*) from ops.bad_rows") == [(2,)]


def test_the_rows_lie_beside_a_held_candidate_and_go_with_it(orders: PipelineHarness) -> None:
    declare(orders, "not_null: [product_id]", "rows: 0")
    outcome = built(orders, "5,,5.00,paid")
    assert outcome.held
    tables = "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r' order by 1"
    beside = f"builds.{outcome.candidate.table}_bad"
    assert orders.rows(f'select order_id, "RULES", "STATE" from {beside}') == [(5, ["not_null(product_id)"], "waiting")]
    declare(orders, "not_null: [product_id]", "rows: 1")
    assert not orders.build("stg.orders").held
    assert not [name for (name,) in orders.rows(tables) if name.endswith("_bad")]
    assert len(orders.rows(tables)) == 2, "the partitions of the raw table and of this one"


def test_a_held_build_keeps_the_first_rows_and_counts_all(
    orders: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpi_assets.materialize.audit.MOST_OF_HELD", 2)
    declare(orders, "not_null: [product_id]", "rows: 2")
    outcome = built(orders, "7,,5.00,paid", "5,,6.00,paid", "6,,6.00,paid")
    assert outcome.held
    assert message(outcome) == "3 rows set aside: 3 by not_null(product_id)"
    assert orders.rows(ASIDE) == [({"order_id": number}, ["not_null(product_id)"], "waiting") for number in (5, 6)]
    assert orders.rows("select rows_quarantined from ops.pipeline_runs where status = 'held'") == [(3,)]


def test_a_replay_sets_the_same_rows_aside(orders: PipelineHarness) -> None:
    declare(orders, TWO)
    first = built(orders, "5,,-5.00,paid", ",2,6.00,paid")
    again = orders.build("stg.orders")
    assert (first.checksum, first.rows) == (again.checksum, again.rows)
    rows = "select key, rules from ops.quarantine where build_id = {} order by id"
    assert orders.rows(rows.format(first.build_id)) == orders.rows(rows.format(again.build_id))
    assert len(orders.rows("select * from ops.bad_rows")) == 2


def test_a_rule_that_does_not_say_which_rows_is_an_error(orders: PipelineHarness) -> None:
    declare(orders, 'odd: {bad_rows: "select a.*, b.* from {this} as a join {this} as b on a.price < b.price"}')
    with pytest.raises(
        DefinitionError, match=r"the rule odd does not say which rows it sets aside: return each of ord"
    ):
        built(orders)


def test_a_rule_that_cannot_be_computed_fails_the_build(orders: PipelineHarness) -> None:
    declare(orders, 'odd: {bad_rows: "select * from {this} where 1 / (price - 1) > 0"}')
    with pytest.raises(WarehouseError, match="division by zero"):
        built(orders)


# ---- slices


ROW_WISE = """\
not_null: [product_id]
range: {price: [0, null]}
foreign_key: {product_id: raw.products.product_id}
known: {bad_rows: "select t.* from {this} as t left join raw.products as p on p.load_date = %(load_date)s and
        p.product_id = t.product_id + 1 where p.product_id is null and t.price > 20"}"""


def test_slices_set_aside_the_same_rows_as_a_whole_build(orders: PipelineHarness) -> None:
    whole, parts = sliced(orders, ROW_WISE)
    assert orders.rows(PARTS) == [(9,)]
    assert not whole.held
    assert (whole.rows, whole.checksum, whole.set_aside) == (parts.rows, parts.checksum, parts.set_aside)
    assert whole.set_aside is not None
    assert whole.set_aside.out + whole.rows == 395
    assert (
        message(whole, "reconcile") == f"395 rows of raw.orders = {whole.rows} here + {whole.set_aside.out} set aside"
    )
    rows = "select key, rules, record from ops.quarantine where build_id = {} order by id"
    assert orders.rows(rows.format(whole.build_id)) == orders.rows(rows.format(parts.build_id))
    assert len(orders.rows(rows.format(parts.build_id))) == whole.set_aside.out


def test_a_rule_across_rows_forbids_slices(orders: PipelineHarness) -> None:
    sliced(
        orders, ROW_WISE + '\nmost: {bad_rows: "select * from {this} where price = (select max(price) from {this})"}'
    )
    assert orders.rows(PARTS) == [(1,)]


def test_a_rule_takes_rows_without_a_key_out_of_slices(orders: PipelineHarness) -> None:
    text = LINES.replace("RULES", "not_null: [line]").replace("select line,", "select nullif(line, 17) as line,")
    orders.file("marts/lines.sql", text)
    whole, parts = sliced(orders, "not_null: [line]")
    assert whole.rows == parts.rows == 395
    orders.file("marts/lines.sql", text)
    parts = orders.build("marts.lines", **SLICED)
    assert (parts.rows, parts.held, message(parts)) == (394, False, "1 row set aside: 1 by not_null(line)")


def test_a_foreign_key_to_a_large_table_sets_the_same_rows_aside(
    orders: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(orders, "foreign_key: {product_id: raw.products.product_id}")
    bad = ("5,3,5.00,paid", "6,5,6.00,paid", "7,,7.00,paid")
    deliver(orders, *bad)
    orders.put(f"raw/products/load_date={DAY}/products.csv", b"product_id\n1\n2\n4\n5\n")  # 3 is lacking
    orders.build("raw.products")
    for small in (200_000, 0):
        monkeypatch.setattr(keys, "_SMALL", small)
        outcome = orders.build("stg.orders")
        assert not outcome.held, failed(outcome.results)
        assert message(outcome) == "1 row set aside: 1 by foreign_key(product_id)"
        assert [row[0] for row in orders.rows(HERE)] == [1, 2, 3, 4, 6, 7]


def test_many_rows_are_taken_out_as_few_are(orders: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(orders, TWO)
    few = built(orders, "5,,-5.00,paid", "6,,6.00,paid")
    monkeypatch.setattr(set_aside, "_FEW", 1)
    many = orders.build("stg.orders")
    assert (many.checksum, many.set_aside) == (few.checksum, few.set_aside)
    assert message(many) == "2 rows set aside: 2 by not_null(product_id), 1 by revenue_is_positive"
