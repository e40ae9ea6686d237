"""People are told once of each final number that was restated, whatever restated it."""

from datetime import date, timedelta
from typing import Any

import pytest

from kpi_assets.alerts.message import message_of
from kpi_assets.ledger.deliveries import Alert
from kpi_assets.monitoring import alerting_checks
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.monitoring.restated import report_restated
from kpi_assets_tests.final_kpis import BY_DAY, NAME, OVER_A_WINDOW, begin, declare_final
from kpi_assets_tests.read.kpi_shop import MORE_THINGS
from kpi_assets_tests.two_source_pipeline import HEAVY, TwoSourcePipeline
from kpi_assets_tests.waivers import waived

ALERTS = "select kind, job, load_date, publish_id, details, closed_at is null from ops.alerts where kind = 'restated'"


def told(shop: TwoSourcePipeline, since: date | None = None) -> list[tuple[Any, ...]]:
    """Judge twice, as each pass of the daemon does; return what people are told of the load_dates."""
    pipeline = shop.pipeline()
    with shop.session() as session:
        for _ in range(2):
            report_restated(session, pipeline)
            close_recovered(session, pipeline)
    return shop.rows(f"{ALERTS} and load_date >= '{since or shop.day}' order by id")


def last_publish(shop: TwoSourcePipeline, day: date | None = None) -> int:
    query = f"select publish_id from ops.published where asset = '{NAME}' and load_date = '{day or shop.day}'"
    [(found,)] = shop.rows(query)
    return int(found)


def test_what_it_was_what_it_is_and_why_are_told_once(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3")
    shop.land()
    shop.run()
    shop.run()
    assert told(shop) == []
    shop.land(things=MORE_THINGS)
    shop.run()
    details = [
        f"{NAME} of {shop.day} was final since {shop.day + timedelta(days=4)}",
        "Weight: 20.5 → 30.5 kg",
        "the cause: the source object of things was replaced",
    ]
    assert told(shop) == [("restated", NAME, shop.day, last_publish(shop), details, False)]


def test_a_provisional_number_is_nobody_told_of(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3660")
    shop.land()
    shop.run()
    shop.land(things=MORE_THINGS)
    shop.run()
    assert told(shop) == []


def test_a_gap_that_is_filled_is_nobody_told_of(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3", OVER_A_WINDOW)
    for day in (shop.day, shop.next):
        shop.land(day)
    for day in (shop.next, shop.day, shop.next):
        shop.run(day)
    assert told(shop) == []


def test_rows_that_change_no_measure_are_told_too(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3", HEAVY)
    shop.land()
    shop.run()
    shop.land(things=MORE_THINGS)
    shop.run()
    [found] = told(shop)
    assert found[4][1] == "no measure of it has another value, and its rows are others"


def test_a_waiver_that_lifts_a_hold_is_told(shop: TwoSourcePipeline) -> None:
    declare_final(shop, "after_days: 3, on_change: hold")
    shop.land()
    shop.run()
    shop.land(things=MORE_THINGS)
    assert shop.run()[NAME] == "held"
    assert told(shop) == [], "readers see what they saw"
    waived(shop, shop.day, "final", table=NAME)
    shop.run()
    assert [row[3] for row in told(shop)] == [last_publish(shop)]


@pytest.mark.parametrize(("words", "count"), [("", 1), (", on_change: hold", 0)])
def test_rows_of_days_are_told_by_their_check(shop: TwoSourcePipeline, words: str, count: int) -> None:
    begin(shop)
    declare_final(shop, f"after_days: 0, by: day{words}", BY_DAY)
    shop.land()
    shop.run()
    shop.land(things=MORE_THINGS)
    for each in ("raw.things", "marts.weighed"):
        shop.build(each, shop.day)
    shop.land(shop.next)
    shop.run(shop.next)
    with shop.session() as session:
        alerting_checks.report_failing(session, shop.pipeline())
    query = f"select job, check_name, load_date from ops.alerts where kind = 'breached' and load_date >= '{shop.day}'"
    assert shop.rows(query) == [(NAME, "final", shop.next)] * count
    assert told(shop) == []


def test_the_message(shop: TwoSourcePipeline) -> None:
    [(now,)] = shop.rows("select now()")

    def alert(number: int, day: date) -> Alert:
        return Alert(number, "shop", day, "restated", "run", NAME, ["was final", "20.5 → 30.5"], now)

    one = message_of([alert(1, shop.day)], "http://ui")
    assert one.title == f"shop, load_date {shop.day} was restated, and had been final"
    assert one.details == ["was final", "20.5 → 30.5"]
    several = message_of([alert(1, shop.day), alert(2, shop.next)], "http://ui")
    assert several.title == f"shop, 2 load_dates from {shop.day} to {shop.next} were restated, and had been final"
