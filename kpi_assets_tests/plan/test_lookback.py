"""When a load_date is published late or changes, only load_dates whose lookback includes it become stale."""

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


def test_a_late_load_date_makes_only_load_dates_stale_whose_window_includes_it(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 2, 3, 4, 5)
    run(shop, 0, 2, 3, 4, 5)
    assert states(shop) == [FINE, ("missing", None), FINE, FINE, FINE, FINE]
    land(shop, 1, labels(t1="light", t2="light"))
    run(shop, 1)
    assert states(shop) == [FINE, FINE, LATER, LATER, FINE, FINE]
    stale = shop.plan(days(shop)[2], days(shop)[2])[0]
    assert stale.reason == "Built before an earlier load_date was published that it reads: marts.recent."
    assert stale.is_due(rebuild_on_sql_change=False)
    assert stale.tables_to_build == ("marts.recent",)
    run(shop, 2, 3)
    assert states(shop) == [FINE] * 6


@pytest.mark.nightly
def test_a_rebuilt_load_date_makes_its_readers_stale_only_if_its_rows_changed(
    shop: TwoSourcePipeline,
) -> None:
    land_all(shop, *range(6))
    run(shop, *range(6))
    land(shop, 1, labels(t1="heavy"))
    run(shop, 1)
    assert states(shop) == [FINE] * 6, "the same rows were published again, so nothing is stale"
    land(shop, 1, labels(t1="light"))
    assert states(shop)[1:3] == [("stale", "objects"), FINE]
    run(shop, 1)
    assert states(shop) == [FINE, FINE, OTHER, OTHER, FINE, FINE]
    assert [status.tables_to_build for status in shop.plan(days(shop)[1], days(shop)[2])] == [(), ("marts.recent",)]


def test_a_held_load_date_makes_nothing_stale_until_it_is_published(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 2, 3)
    land(shop, 1, DOUBLED)
    run(shop, 0, 1, 2, 3)
    assert states(shop)[:4] == [FINE, ("held", None), FINE, FINE]
    land(shop, 1, labels(t1="light"))
    run(shop, 1)
    assert states(shop)[:4] == [FINE, FINE, LATER, LATER]


def test_of_two_load_dates_built_at_once_the_later_one_becomes_stale(shop: TwoSourcePipeline) -> None:
    """The table with the lookback was built before the rows of the earlier load_date were published."""
    land_all(shop, 0, 1)
    run(shop, 1)
    assert shop.plan(*days(shop)[1:2] * 2)[0].state == "published"
    run(shop, 0)
    assert states(shop)[:2] == [FINE, LATER]


@pytest.mark.nightly
def test_following_the_plan_gives_the_same_rows_in_any_order_of_builds(shop: TwoSourcePipeline) -> None:
    """Build newest first, then follow the plan until nothing is stale: the rows equal those of a build in order."""
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


@pytest.mark.nightly
def test_a_changed_window_length_is_changed_sql_and_builds_nothing_by_itself(shop: TwoSourcePipeline) -> None:
    land_all(shop, *range(6))
    run(shop, *range(6))
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: 4"))
    assert states(shop) == [("stale", "sql")] * 6
    assert not shop.status().is_due(rebuild_on_sql_change=False)


@pytest.mark.nightly
def test_reading_all_rows_of_the_window_instead_of_the_latest_is_changed_sql(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 1)
    run(shop, 0, 1)
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: {days: 3}"))
    assert states(shop)[:2] == [FINE] * 2
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: {days: 3, rows: all}"))
    assert states(shop)[:2] == [("stale", "sql")] * 2
    run(shop, 0, 1)
    assert states(shop)[:2] == [FINE] * 2
    assert [row[2] for row in shop.rows(OF_RECENT.format(days(shop)[0]))] == [1, 2]


def test_a_changed_grain_of_a_table_read_over_a_window_is_changed_sql(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0)
    run(shop, 0)
    path = shop.folder / "raw/labels.sql"
    path.write_text(path.read_text().replace("grain: [thing_id]", "grain: [thing_id, label]"))
    assert states(shop)[0] == ("stale", "sql")


def test_a_held_load_date_is_due_when_an_earlier_one_of_its_window_is_published(shop: TwoSourcePipeline) -> None:
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


def test_dropped_rows_in_its_window_do_not_make_a_load_date_stale(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 1)
    run(shop, 0, 1)
    with shop.session() as session:
        session.execute(
            f"update ops.publishes set superseded_at = now() where asset = 'raw.labels' and load_date = '{shop.day}'"
        )
    assert states(shop)[:2] == [FINE, FINE]


def test_a_window_has_no_load_dates_before_the_start_date(shop: TwoSourcePipeline) -> None:
    land_all(shop, 0, 1)
    run(shop, 1, 0)
    assert states(shop)[1] == LATER
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("start_date: 2025-01-01", f"start_date: {days(shop)[1]}"))
    assert shop.plan(days(shop)[1], days(shop)[1])[0].state == "published"


def test_tables_that_read_a_stale_table_with_a_lookback_are_built_with_it(shop: TwoSourcePipeline) -> None:
    again = RECENT.replace("lookback: 3\n", "").replace("raw.labels", "marts.recent").replace("sum(things)", "count(*)")
    select = "select label, things from marts.recent where load_date = %(load_date)s\n"
    shop.file("marts/recent_again.sql", again.replace(again.partition("@end */\n")[2], select))
    land_all(shop, 0, 1)
    run(shop, 1, 0)
    assert shop.plan(*days(shop)[1:2] * 2)[0].tables_to_build == ("marts.recent", "marts.recent_again")
    (shop.folder / "marts/recent_again.sql").unlink()
