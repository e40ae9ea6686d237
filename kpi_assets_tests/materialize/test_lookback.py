"""A table with a lookback: the rows that it reads, the inputs that the ledger records, and its window."""

from datetime import date, timedelta

import pytest

from kpi_assets.materialize.context import BuildOutcome, UpstreamError
from kpi_assets.materialize.inputs import resolve_inputs
from kpi_assets.materialize.recheck import recheck
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.lookback import DOUBLED, SELECT, UNRECONCILED, labels
from kpi_assets_tests.pipeline_harness import RAW_THINGS
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

pytestmark = pytest.mark.usefixtures("looks_back")

BOUND_TO = "select inputs from ops.published where asset = 'marts.recent' and load_date = '{}'"


def day(shop: TwoSourcePipeline, number: int) -> date:
    return shop.day + timedelta(days=number)


def deliver(shop: TwoSourcePipeline, number: int, **of: str) -> None:
    """Publish raw.labels of a load_date with these labels."""
    shop.put(shop.key("labels", day(shop, number)), labels(**of))
    assert not shop.build("raw.labels", day(shop, number)).held


def recent(shop: TwoSourcePipeline, number: int) -> BuildOutcome:
    outcome = shop.build("marts.recent", day(shop, number))
    assert not outcome.held, outcome.results
    return outcome


def rows(shop: TwoSourcePipeline, number: int) -> list[tuple[str, int]]:
    return shop.rows(f"select label, things from marts.recent where load_date = '{day(shop, number)}' order by 1")


def test_the_latest_row_of_each_key_within_the_window_is_read(
    shop: TwoSourcePipeline,
) -> None:
    deliver(shop, 0, t1="out", t9="out")
    deliver(shop, 1, t1="light", t2="light")
    deliver(shop, 2, t1="heavy", t3="heavy")
    deliver(shop, 3, t2="heavy")
    deliver(shop, 4, t3="out")
    outcome = recent(shop, 3)
    assert rows(shop, 3) == [("heavy", 3)]
    assert {result.name: (result.passed, result.metric) for result in outcome.results}["reconcile"] == (True, 0)


def test_a_condition_on_the_latest_row_does_not_select_an_older_one(shop: TwoSourcePipeline) -> None:
    shop.file("marts/recent.sql", UNRECONCILED.replace("group by", "and label <> 'heavy'\ngroup by"))
    deliver(shop, 0, t1="light", t2="light")
    deliver(shop, 1, t1="heavy")
    recent(shop, 1)
    assert rows(shop, 1) == [("light", 1)]


def test_a_table_tied_to_the_load_date_is_read_for_that_load_date_only(shop: TwoSourcePipeline) -> None:
    """One table is read over the window and the other for the load_date, even with a CTE and a join."""
    joined = """\
with l as (
    select thing_id, label from raw.labels
    where load_date between %(window_start)s and %(load_date)s and label not like 'x%%'
)
select l.label, count(*) as things
from l inner join raw.things as t on l.thing_id = t.thing_id and t.load_date = %(load_date)s
group by l.label
"""
    shop.file("marts/recent.sql", UNRECONCILED.replace(SELECT, joined))
    deliver(shop, 0, t1="heavy", t3="heavy")
    deliver(shop, 1, t2="light")
    for number in (0, 1):
        shop.put(shop.key("things", day(shop, number)), b"thing_id,name,weight\n1,anvil,2\n2,feather,\n")
    shop.build("raw.things", day(shop, 1))
    recent(shop, 1)
    assert rows(shop, 1) == [("heavy", 1), ("light", 1)]
    [(inputs,)] = shop.rows(BOUND_TO.format(day(shop, 1)))
    assert sorted(inputs) == ["raw.labels", f"raw.labels@{day(shop, 0)}", "raw.things"]


def test_held_and_missing_load_dates_of_a_window_are_absent_and_named(shop: TwoSourcePipeline) -> None:
    deliver(shop, 0, t1="light", t2="light")
    shop.put(shop.key("labels", day(shop, 1)), DOUBLED)
    assert shop.build("raw.labels", day(shop, 1)).held
    deliver(shop, 2, t2="heavy")
    outcome = recent(shop, 2)
    assert outcome.window is not None
    assert (outcome.window.there, outcome.window.absent) == ((day(shop, 0), day(shop, 2)), str(day(shop, 1)))
    assert rows(shop, 2) == [("heavy", 1), ("light", 1)]


def test_earlier_rows_of_a_load_date_whose_latest_build_is_held_are_read_with_a_warning(
    shop: TwoSourcePipeline,
) -> None:
    deliver(shop, 0, t1="light")
    deliver(shop, 1, t2="heavy")
    shop.put(shop.key("labels", day(shop, 0)), DOUBLED)
    assert shop.build("raw.labels", day(shop, 0)).held
    outcome = recent(shop, 1)
    assert rows(shop, 1) == [("heavy", 1), ("light", 1)]
    [warning] = outcome.warnings
    assert warning.startswith(f"raw.labels of {day(shop, 0)} is read as published on ")
    assert warning.endswith("; its latest build is held")


def test_the_ledger_records_every_publish_that_was_read(shop: TwoSourcePipeline) -> None:
    for number in range(3):
        deliver(shop, number, t1="light")
    recent(shop, 2)
    [(inputs,)] = shop.rows(
        f"select inputs from ops.published where asset = 'marts.recent' and load_date = '{day(shop, 2)}'"
    )
    published = dict(
        shop.rows(
            "select load_date, publish_id from ops.published where asset = 'raw.labels' "
            f"and load_date >= '{day(shop, 0)}'"
        )
    )
    assert inputs == {
        "raw.labels": published[day(shop, 2)],
        f"raw.labels@{day(shop, 0)}": published[day(shop, 0)],
        f"raw.labels@{day(shop, 1)}": published[day(shop, 1)],
    }


def test_the_input_of_its_own_load_date_must_be_published(shop: TwoSourcePipeline) -> None:
    deliver(shop, 0, t1="light")
    with pytest.raises(UpstreamError, match="labels of that load_date must be published first"):
        shop.build("marts.recent", day(shop, 1))


def test_the_first_load_dates_of_a_pipeline_have_a_shorter_window(shop: TwoSourcePipeline) -> None:
    first = shop.pipeline().config.start_date
    for number in range(2):
        shop.put(shop.key("labels", first + timedelta(days=number)), labels(t1="light"))
        shop.build("raw.labels", first + timedelta(days=number))
    windows = [shop.build("marts.recent", first + timedelta(days=number)).window for number in range(2)]
    assert [(len(window.load_dates), len(window.there), window.absent) for window in windows if window] == [
        (1, 1, ""),
        (2, 2, ""),
    ]


def test_a_load_date_is_read_only_if_all_tables_of_the_window_have_it(shop: TwoSourcePipeline) -> None:
    shop.file("raw/things.sql", RAW_THINGS.replace("grain:", "versions: latest\ngrain:"))
    joined = SELECT.replace("where", "inner join raw.things using (load_date, thing_id)\nwhere")
    shop.file("marts/recent.sql", UNRECONCILED.replace(SELECT, joined))
    for number in range(3):
        deliver(shop, number, **{f"t{number}": "light"})
        things = f"thing_id,name,weight\n{number},thing,1\n".encode()
        shop.put(shop.key("things", day(shop, number)), things if number != 1 else things + things[21:])
        assert shop.build("raw.things", day(shop, number)).held == (number == 1)
    outcome = recent(shop, 2)
    assert outcome.window is not None
    assert outcome.window.absent == str(day(shop, 1))
    assert rows(shop, 2) == [("light", 2)]


def test_no_load_date_of_the_window_is_published_while_it_is_read(shop: TwoSourcePipeline) -> None:
    """A publish of another load_date waits, so the recorded inputs are those that were read."""
    for number in (0, 2):
        deliver(shop, number, t1="light")
    context = shop.prepared()
    with context.session(context.pipeline.table("marts.recent"), "reader") as reading:
        resolve_inputs(context, reading, context.pipeline.table("marts.recent"), day(shop, 2))
        shop.put(shop.key("labels", day(shop, 1)), labels(t1="heavy"))
        with pytest.raises(WarehouseError, match="A reader has held the table for 0 seconds"):
            shop.build("raw.labels", day(shop, 1), publish_timeout=0.0)
    deliver(shop, 1, t1="heavy")


@pytest.mark.parametrize(("there", "later"), [(0, 1), (1, 0)])
def test_a_recheck_compares_with_the_load_dates_that_the_build_read(
    shop: TwoSourcePipeline, there: int, later: int
) -> None:
    deliver(shop, there, t1="light")
    deliver(shop, 2, t2="light")
    recent(shop, 2)
    deliver(shop, later, t3="light")
    context = shop.prepared()
    results = {result.name: result for result in recheck(context, context.pipeline.table("marts.recent"), day(shop, 2))}
    assert results["reconcile"].message == "2 rows of raw.labels = 2 here"
