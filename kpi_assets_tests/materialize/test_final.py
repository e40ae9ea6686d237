"""A number that is final changes no more without people being told, or not at all without a person's word."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.final_kpis import BY_DAY, NAME, OF_RECENT, OVER_A_WINDOW, RECENT, begin, declare_final
from kpi_assets_tests.read.kpi_shop import MORE_THINGS
from kpi_assets_tests.two_source_pipeline import THINGS, TwoSourcePipeline
from kpi_assets_tests.waivers import waived


def status(shop: TwoSourcePipeline) -> tuple[str, bool, str]:
    """Return the last result of the check."""
    query = "select status, blocking, message from ops.data_quality_results where check_name = 'final' order by id desc"
    [found, *_] = shop.rows(query)
    return found


def weights(shop: TwoSourcePipeline) -> list[str]:
    return [str(weight) for (weight,) in shop.rows(f"select weight from {NAME} where load_date = '{shop.day}'")]


def test_a_final_number_that_changes_is_published_with_a_warning(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3")
    shop.land(things=THINGS)
    assert set(shop.run().values()) == {"published"}
    assert status(shop) == ("pass", False, ""), "the first publish changes nothing"
    assert set(shop.run().values()) == {"published"}
    assert status(shop) == ("pass", False, ""), "a replay gives the same"
    shop.land(things=MORE_THINGS)
    assert set(shop.run().values()) == {"published"}
    since = shop.day + timedelta(days=4)
    message = f"its numbers are final since {since} 00:00 UTC, and these are others"
    assert status(shop) == ("warn", False, message)


def test_a_final_number_is_held_and_changes_by_a_waiver(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3, on_change: hold")
    shop.land(things=THINGS)
    shop.run()
    shop.land(things=MORE_THINGS)
    assert shop.run()[NAME] == "held"
    assert shop.run()[NAME] == "held", "in every run"
    assert weights(shop) == ["20.50"]
    waived(shop, shop.day, "final", table=NAME)
    assert shop.run()[NAME] == "published"
    assert weights(shop) == ["30.50"]
    assert shop.run()[NAME] == "published", "a replay of it changes nothing"
    assert status(shop) == ("pass", True, "")
    shop.land(things=THINGS)
    assert shop.run()[NAME] == "held", "the waiver was of one build"


@pytest.mark.parametrize("days", [3660])
def test_a_provisional_number_may_change(shop: TwoSourcePipeline, days: int) -> None:
    declare_final(shop, f"after_days: {days}, on_change: hold")
    shop.land(things=THINGS)
    shop.run()
    shop.land(things=MORE_THINGS)
    assert shop.run()[NAME] == "published"


def test_what_lacks_a_load_date_of_its_window_is_not_final(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3, on_change: hold", OVER_A_WINDOW)
    for day in (shop.day, shop.next):
        shop.land(day)
    assert shop.run(shop.next)[NAME] == "published"
    assert lacks(shop) == [f"marts.weighed@{shop.day}"]
    shop.run()
    assert shop.run(shop.next)[NAME] == "published", "the gap is filled"
    assert lacks(shop) == []
    shop.land(shop.next, things=MORE_THINGS)
    assert shop.run(shop.next)[NAME] == "held", "now it lacks nothing"


def lacks(shop: TwoSourcePipeline, name: str = NAME) -> list[str]:
    """Return what is published of the second day without."""
    query = f"select lacks from ops.published where asset = '{name}' and load_date = '{shop.next}'"
    [(found,)] = shop.rows(query)
    return list(found)


@pytest.fixture
def behind(stack: Stack, tmp_path: Path) -> Iterator[TwoSourcePipeline]:
    """The shop, whose KPI is held when it is final, and reads a table over a window that lacks the first day."""
    with TwoSourcePipeline.open(stack, tmp_path) as shop:
        assert isinstance(shop, TwoSourcePipeline)
        shop.stock()
        shop.file("marts/recent.sql", RECENT)
        declare_final(shop, "after_days: 3, on_change: hold", OF_RECENT)
        shop.prepared()
        for day in (shop.day, shop.next):
            shop.land(day)
        assert shop.run(shop.next)[NAME] == "published"
        yield shop


def test_what_is_made_of_a_table_that_lacks_a_load_date_is_not_final(behind: TwoSourcePipeline) -> None:
    assert lacks(behind, "marts.recent") == lacks(behind) == [f"marts.weighed@{behind.day}"]
    behind.run()
    assert behind.run(behind.next)[NAME] == "published", "the gap is filled"
    assert lacks(behind) == []
    behind.land(behind.next, things=MORE_THINGS)
    assert behind.run(behind.next)[NAME] == "held", "now nothing behind it lacks anything"


def test_a_gap_that_is_filled_without_rows_makes_what_was_made_of_it_stale(behind: TwoSourcePipeline) -> None:
    behind.land(things=b"thing_id,name,weight\n1,anvil,\n")
    behind.run()
    published = f"select checksum from ops.published where asset = '{NAME}' and load_date = '{behind.next}'"
    before = behind.rows(published)
    assert not behind.build("marts.recent", behind.next).held
    assert lacks(behind, "marts.recent") == []
    [planned] = behind.plan(behind.next, behind.next)
    assert (planned.stale_reason, planned.tables_to_build) == ("inputs", (NAME,))
    assert not behind.build(NAME, behind.next).held
    assert lacks(behind) == []
    assert behind.rows(published) == before, "the rows are the same"
    [planned] = behind.plan(behind.next, behind.next)
    assert planned.state == "published"


@pytest.mark.parametrize(("words", "became"), [("", "published"), (", on_change: hold", "held")])
def test_days_that_are_final_are_the_same_in_the_next_load_date(
    shop: TwoSourcePipeline, words: str, became: str
) -> None:
    begin(shop)
    declare_final(shop, f"after_days: 1, by: day{words}", BY_DAY)
    third = shop.next + timedelta(days=1)
    for day in (shop.day, shop.next, third):
        shop.land(day)
    assert shop.run()[NAME] == "published"
    assert status(shop)[0] == "pass"
    shop.run(shop.next)
    assert status(shop) == ("pass", bool(words), ""), "no row was final on the first day"

    shop.land(shop.next, things=MORE_THINGS)
    for each in ("raw.things", "marts.weighed"):
        shop.build(each, shop.next)
    assert shop.run(third)[NAME] == "published", "the second day was not final yet"
    assert status(shop) == ("pass", bool(words), "")

    shop.land(things=MORE_THINGS)
    for each in ("raw.things", "marts.weighed"):
        shop.build(each, shop.day)
    assert shop.run(third)[NAME] == became
    message = (
        f"the days up to {shop.day} are final since {shop.next}, and 1 of their rows are others: 1 changed, 0 absent"
    )
    assert status(shop) == ("fail" if words else "warn", bool(words), message)


def test_days_that_left_the_window_do_not_count(shop: TwoSourcePipeline) -> None:
    begin(shop)
    declare_final(shop, "after_days: 0, by: day, on_change: hold", BY_DAY)
    last = shop.day + timedelta(days=3)
    for day in (shop.day, shop.next, last - timedelta(days=1), last):
        shop.land(day)
        assert shop.run(day)[NAME] == "published"
    assert status(shop) == ("pass", True, "")


def test_days_are_not_judged_after_a_load_date_that_lacked_one(shop: TwoSourcePipeline) -> None:
    begin(shop)
    declare_final(shop, "after_days: 0, by: day, on_change: hold", BY_DAY)
    third = shop.next + timedelta(days=1)
    for day in (shop.day, shop.next, third):
        shop.land(day)
    shop.run(shop.next)
    shop.run()
    assert shop.run(third)[NAME] == "published"
    assert status(shop) == ("pass", True, f"not judged: {shop.next} was published without marts.weighed@{shop.day}")
