"""When the load_date before is published late or with other rows, a table that carries on becomes stale day by day."""

from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.carry_on import FILE, OF_SEEN, SEEN, CarryingPipeline
from kpi_assets_tests.examples import few
from kpi_assets_tests.lookback import labels
from kpi_assets_tests.pipeline_harness import failed
from kpi_assets_tests.two_source_pipeline import RAW_LABELS

INPUTS, WINDOW = ("inputs", ("marts.seen",)), ("window", ("marts.seen",))


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CarryingPipeline]:
    with CarryingPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, CarryingPipeline)
        yield shop


@pytest.fixture
def shop(opened: CarryingPipeline) -> CarryingPipeline:
    return opened.stock()


def test_a_load_date_that_is_published_late_makes_only_the_one_after_it_stale(shop: CarryingPipeline) -> None:
    for number, thing in ((1, 1), (3, 3), (4, 4)):
        shop.publish(number, thing)
    assert shop.stale() == {}
    shop.publish(2, 2)
    assert shop.stale() == {3: WINDOW}
    [status] = shop.plan(shop.at(3), shop.at(3))
    assert status.reason == "Built before an earlier load_date was published that it reads: marts.seen."
    assert status.is_due(rebuild_on_sql_change=False)
    shop.again(3)
    assert shop.stale() == {4: INPUTS}
    shop.again(4)
    assert shop.stale() == {}
    assert shop.seen(4) == [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)]


def test_a_replaced_load_date_makes_those_after_it_stale_one_after_the_other(shop: CarryingPipeline) -> None:
    for number in (1, 2, 3):
        shop.publish(number, number)
    shop.deliver(1, 7)
    assert shop.stale() == {1: INPUTS}
    shop.again(1)
    assert shop.stale() == {2: INPUTS}
    shop.again(2)
    assert shop.stale() == {3: INPUTS}
    shop.again(3)
    assert shop.stale() == {}
    assert shop.seen(3) == [(2, 2, 1), (3, 3, 1), (7, 1, 1)]


def test_the_load_dates_after_one_with_the_same_rows_do_not_become_stale(shop: CarryingPipeline) -> None:
    """Of each thing the latest load_date counts, so day 2 is the same whether or not day 1 had its things."""
    text = SEEN.replace("sum(times)::bigint as times", "1::bigint as times").replace("min(first_on)", "max(first_on)")
    shop.file(FILE, text)
    for number in (1, 2, 3):
        shop.publish(number, 1, number)
    shop.deliver(1, 2, 1)
    shop.again(1)
    assert shop.stale() == {2: INPUTS}
    shop.again(2)
    assert shop.stale() == {}, "day 2 has the same rows as before, so day 3 is not touched"


def test_a_held_load_date_is_passed_over_until_it_is_published(shop: CarryingPipeline) -> None:
    shop.publish(1, 1)
    shop.put(shop.key("labels", shop.at(2)), b"thing_id,label\n1,heavy\n1,light\n")
    assert shop.build("raw.labels", shop.at(2)).held
    shop.publish(3, 3)
    assert shop.carried_from(3) == [1]
    assert shop.stale() == {}
    shop.publish(2, 2)
    assert shop.stale() == {3: WINDOW}


def test_a_load_date_that_lacks_another_object_is_built_where_it_lacks_nothing(shop: CarryingPipeline) -> None:
    for number in (1, 3):
        shop.publish(number, number)
    shop.file("raw/others.sql", RAW_LABELS.replace("labels", "others"))
    try:
        [before] = shop.plan(shop.at(3), shop.at(3))
        shop.publish(2, 2)
        [after] = shop.plan(shop.at(3), shop.at(3))
        shop.again(3)
        [built] = shop.plan(shop.at(3), shop.at(3))
    finally:
        (shop.folder / "raw/others.sql").unlink()
    assert (before.state, after.state, built.state) == ("incomplete", "stale", "incomplete")
    assert (after.stale_reason, after.tables_to_build) == WINDOW
    assert after.reason == "Built before an earlier load_date was published that it reads: marts.seen."
    assert after.is_due(rebuild_on_sql_change=False)
    assert not after.is_complete
    assert built.reason == before.reason
    assert (before.stale_reason, before.tables_to_build) == (None, ())


BOTH = """\
/* @asset
description: Things that were labelled, and the other labels.
owner: team:tests
grain: [what]
columns:
  what: {type: text, description: What is counted.}
  rows: {type: bigint, description: How many.}
@end */
select 'seen' as what, count(*) as rows from marts.seen where load_date = %(load_date)s
union all
select 'others' as what, count(*) as rows from raw.others where load_date = %(load_date)s
"""


def test_what_reads_a_table_that_lacks_its_object_waits_for_it(shop: CarryingPipeline) -> None:
    shop.file("raw/others.sql", RAW_LABELS.replace("labels", "others"))
    shop.file("marts/both.sql", BOTH)
    try:
        shop.put(shop.key("others", shop.at(3)), b"thing_id,label\n1,heavy\n")
        shop.publish(1, 1)
        shop.publish(3, 3)
        for name in ("raw.others", "marts.both"):
            assert not shop.build(name, shop.at(3)).held
        shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key("others", shop.at(3)))
        shop.publish(2, 2)
        [stale] = shop.plan(shop.at(3), shop.at(3))
        shop.again(3)
        [built] = shop.plan(shop.at(3), shop.at(3))
    finally:
        (shop.folder / "marts/both.sql").unlink()
        (shop.folder / "raw/others.sql").unlink()
    assert (stale.state, stale.tables_to_build) == ("stale", ("marts.seen",))
    assert (built.state, built.tables_to_build) == ("incomplete", ())


def test_a_held_load_date_is_released_when_the_one_before_changes(shop: CarryingPipeline) -> None:
    one_each = "  enough: {bad_rows: 'select 1 as few from {this} having count(*) < 3'}\n"
    shop.file(FILE, SEEN.replace("checks:\n", "checks:\n" + one_each))
    shop.publish(2, 1, 2, 3)
    shop.deliver(4, 3)
    shop.drop_seen()
    assert failed(shop.build("marts.seen", shop.at(4)).results).keys() == {"enough"}
    assert [status.state for status in shop.plan(shop.at(4), shop.at(4))] == ["held"]
    shop.again(2)
    assert shop.stale() == {4: ("released", ())}
    shop.again(4)
    assert shop.stale() == {}


@pytest.mark.parametrize("order", few(1, map(pytest.param, [(2, 4, 1, 3), (1, 2, 3, 4), (4, 3, 2, 1), (3, 1, 4, 2)])))
def test_a_replay_in_any_order_gives_the_rows_of_one_in_order(shop: CarryingPipeline, order: tuple[int, ...]) -> None:
    for number in (1, 2, 3, 4):
        shop.publish(number, number, number + 1)
    in_order = shop.rows(OF_SEEN)
    assert [rows for _, rows, _ in in_order] == [2, 3, 4, 5]
    shop.drop_seen()
    for number in order:
        shop.build("marts.seen", shop.at(number))
    shop.heal()
    assert shop.rows(OF_SEEN) == in_order


def test_a_changed_select_is_built_again_in_order_from_the_first_load_date(shop: CarryingPipeline) -> None:
    for number in (1, 2, 3):
        shop.publish(number, number)
    shop.file(FILE, SEEN.replace("sum(times)", "sum(10 * times)"))
    assert {number: reason for number, (reason, _) in shop.stale().items()} == {1: "sql", 2: "sql", 3: "sql"}
    assert not any(status.is_due(rebuild_on_sql_change=False) for status in shop.plan(shop.at(1), shop.at(3)))
    for number in (1, 2, 3):
        shop.again(number)
    assert shop.stale() == {}
    assert shop.seen(3) == [(1, 1, 1000), (2, 2, 100), (3, 3, 10)]


def test_what_is_dropped_as_a_whole_is_nothing_to_carry_on_from(shop: CarryingPipeline) -> None:
    shop.publish(1, 1)
    shop.publish(2, 2)
    shop.drop_seen()
    shop.again(2)
    assert (shop.carried_from(2), shop.seen(2)) == ([], [(2, 2, 1)])
    assert shop.stale() == {1: ("unbuilt", ())}
    shop.put(shop.key("labels", shop.at(1)), labels(t1="heavy"))
    assert shop.heal() == [1, 2]
    assert shop.seen(2) == [(1, 1, 1), (2, 2, 1)]
