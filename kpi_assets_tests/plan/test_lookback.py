"""Which later load_dates a late or replaced one makes stale: exactly those that look back on it."""

from datetime import date, timedelta

import pytest

from kpi_assets_tests.lookback import DOUBLED, RECENT, labels
from kpi_assets_tests.two_source_pipeline import THINGS, TwoSourcePipeline

pytestmark = pytest.mark.usefixtures("looks_back")

OF_RECENT = "select load_date, label, things from marts.recent where load_date >= '{}' order by 1, 2"


def days(shop: TwoSourcePipeline) -> list[date]:
    """Six load_dates."""
    return [shop.day + timedelta(days=n) for n in range(6)]


def states(shop: TwoSourcePipeline) -> list[tuple[str, str | None]]:
    return [(status.state, status.stale_reason) for status in shop.plan(days(shop)[0], days(shop)[-1])]


FINE, LATER, OTHER = ("published", None), ("stale", "window"), ("stale", "inputs")


def run(shop: TwoSourcePipeline, *numbers: int) -> None:
    for number in numbers:
        shop.run(days(shop)[number])


def land(shop: TwoSourcePipeline, number: int, body: bytes, things: bytes | None = THINGS) -> None:
    shop.land(days(shop)[number], things=things, labels=body)


def land_all(shop: TwoSourcePipeline, *numbers: int) -> None:
    for number in numbers:
        land(shop, number, labels(t1="heavy"))


def test_a_late_load_date_makes_those_stale_in_whose_window_it_lies_and_no_others(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 2, 3, 4, 5)
    run(shop, 0, 2, 3, 4, 5)
    assert states(shop) == [FINE, ("missing", None), FINE, FINE, FINE, FINE]
    land(shop, 1, labels(t1="light", t2="light"))
    run(shop, 1)
    assert states(shop) == [FINE, FINE, LATER, LATER, FINE, FINE]
    stale = shop.plan(days(shop)[2], days(shop)[2])[0]
    assert stale.reason == "Built before a load_date of its window was published: marts.recent."
    assert stale.is_due(rebuild_on_sql_change=False)
    assert stale.tables_to_build == ("marts.recent",)
    run(shop, 2, 3)
    assert states(shop) == [FINE] * 6


def test_a_replaced_load_date_makes_those_stale_that_read_its_rows_and_only_where_they_are_others(
    shop: TwoSourcePipeline,
) -> None:
    land_all(shop, *range(6))
    run(shop, *range(6))
    land(shop, 1, labels(t1="heavy"))
    run(shop, 1)
    assert states(shop) == [FINE] * 6, "the same rows were published again"
    land(shop, 1, labels(t1="light"))
    assert states(shop)[1:3] == [("stale", "objects"), FINE]
    run(shop, 1)
    assert states(shop) == [FINE, FINE, OTHER, OTHER, FINE, FINE]
    assert [status.tables_to_build for status in shop.plan(days(shop)[1], days(shop)[2])] == [(), ("marts.recent",)]


def test_a_load_date_that_is_held_makes_nothing_stale_until_it_is_published(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 2, 3)
    land(shop, 1, DOUBLED)
    run(shop, 0, 1, 2, 3)
    assert states(shop)[:4] == [FINE, ("held", None), FINE, FINE]
    land(shop, 1, labels(t1="light"))
    run(shop, 1)
    assert states(shop)[:4] == [FINE, FINE, LATER, LATER]


def test_of_two_built_at_once_the_later_one_is_found_stale(shop: TwoSourcePipeline) -> None:
    """The table that looks back was built before the other's rows were published."""
    land_all(shop, 0, 1)
    run(shop, 1)
    assert shop.plan(*days(shop)[1:2] * 2)[0].state == "published"
    run(shop, 0)
    assert states(shop)[:2] == [FINE, LATER]


def test_the_order_in_which_load_dates_are_built_does_not_matter_in_the_end(shop: TwoSourcePipeline) -> None:
    """Newest first, then what the plan says, until it says nothing more: as if they had been built day by day."""
    for number in range(6):
        land(shop, number, labels(t1=f"of {number}", **{f"t{number + 2}": "new"}))
    run(shop, *range(6))
    day_by_day = shop.rows(OF_RECENT.format(days(shop)[0]))
    with shop.session() as session:
        session.execute(f"delete from ops.publishes where load_date >= '{days(shop)[0]}'")
        session.execute(f"delete from marts.recent where load_date >= '{days(shop)[0]}'")
    run(shop, *reversed(range(6)))
    assert shop.rows(OF_RECENT.format(days(shop)[0])) != day_by_day
    while stale := [status.load_date for status in shop.plan(days(shop)[0], days(shop)[-1]) if status.stale_reason]:
        for day in stale:
            shop.run(day)
    assert shop.rows(OF_RECENT.format(days(shop)[0])) == day_by_day


def test_another_length_of_the_window_is_other_sql_and_builds_nothing_by_itself(shop: TwoSourcePipeline) -> None:
    land_all(shop, *range(6))
    run(shop, *range(6))
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: 4"))
    assert states(shop) == [("stale", "sql")] * 6
    assert not shop.status().is_due(rebuild_on_sql_change=False)


def test_all_rows_of_the_window_instead_of_the_latest_are_other_sql_too(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 1)
    run(shop, 0, 1)
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: {days: 3}"))
    assert states(shop)[:2] == [FINE] * 2
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: {days: 3, rows: all}"))
    assert states(shop)[:2] == [("stale", "sql")] * 2
    run(shop, 0, 1)
    assert states(shop)[:2] == [FINE] * 2
    assert [row[2] for row in shop.rows(OF_RECENT.format(days(shop)[0]))] == [1, 2]


def test_another_grain_of_what_it_reads_is_other_sql_too(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0)
    run(shop, 0)
    path = shop.folder / "raw/labels.sql"
    path.write_text(path.read_text().replace("grain: [thing_id]", "grain: [thing_id, label]"))
    assert states(shop)[0] == ("stale", "sql")


def test_a_held_one_is_let_go_when_its_window_is_complete(shop: TwoSourcePipeline) -> None:
    few = "checks:\n  enough: {bad_rows: 'select 1 as few from {this} having sum(things) < 2'}\n"
    shop.file("marts/recent.sql", RECENT.replace("checks:\n", few))
    land(shop, 0, labels(t2="heavy"))
    land(shop, 1, labels(t1="heavy"))
    run(shop, 1)
    assert states(shop)[1] == ("held", None)
    run(shop, 0)
    assert states(shop)[1] == ("stale", "released")
    run(shop, 1)
    assert states(shop)[1] == FINE


def test_rows_of_its_window_that_were_dropped_to_save_room_are_no_need(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 1)
    run(shop, 0, 1)
    with shop.session() as session:
        session.execute(
            f"update ops.publishes set superseded_at = now() where asset = 'raw.labels' and load_date = '{shop.day}'"
        )
    assert states(shop)[:2] == [FINE, FINE]


def test_a_window_ends_where_the_pipeline_begins(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 1)
    run(shop, 1, 0)
    assert states(shop)[1] == LATER
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("start_date: 2025-01-01", f"start_date: {days(shop)[1]}"))
    assert shop.plan(days(shop)[1], days(shop)[1])[0].state == "published"


def test_what_reads_a_table_that_looks_back_is_built_with_it(shop: TwoSourcePipeline) -> None:
    again = RECENT.replace("lookback: 3\n", "").replace("raw.labels", "marts.recent").replace("sum(things)", "count(*)")
    select = "select label, things from marts.recent where load_date = %(load_date)s\n"
    shop.file("marts/recent_again.sql", again.replace(again.partition("@end */\n")[2], select))
    land_all(shop, 0, 1)
    run(shop, 1, 0)
    assert shop.plan(*days(shop)[1:2] * 2)[0].tables_to_build == ("marts.recent", "marts.recent_again")
    (shop.folder / "marts/recent_again.sql").unlink()
