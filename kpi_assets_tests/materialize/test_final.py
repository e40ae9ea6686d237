"""A number that is final changes no more without people being told, or not at all without a person's word."""

from datetime import timedelta

import pytest

from kpi_assets_tests.final_kpis import BY_DAY, NAME, OVER_A_WINDOW, declare_final
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
    lacks = f"select lacks from ops.published where asset = '{NAME}' and load_date = '{shop.next}'"
    assert shop.rows(lacks) == [([f"marts.weighed@{shop.day}"],)]
    shop.run()
    assert shop.run(shop.next)[NAME] == "published", "the gap is filled"
    assert shop.rows(lacks) == [([],)]
    shop.land(shop.next, things=MORE_THINGS)
    assert shop.run(shop.next)[NAME] == "held", "now it lacks nothing"


@pytest.mark.parametrize(("words", "became"), [("", "published"), (", on_change: hold", "held")])
def test_days_that_are_final_are_the_same_in_the_next_load_date(
    shop: TwoSourcePipeline, words: str, became: str
) -> None:
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
    declare_final(shop, "after_days: 0, by: day, on_change: hold", BY_DAY)
    last = shop.day + timedelta(days=3)
    for day in (shop.day, shop.next, last - timedelta(days=1), last):
        shop.land(day)
        assert shop.run(day)[NAME] == "published"
    assert status(shop) == ("pass", True, "")
