"""Readers are told whether a number is final; ops.kpi_trust says the same (kpi_shop.py compares both)."""

from datetime import datetime, timedelta, timezone

from kpi_assets.model.titles import day
from kpi_assets.read import said
from kpi_assets_tests.final_kpis import BY_DAY, OVER_A_WINDOW, begin, declare_final
from kpi_assets_tests.read.kpi_shop import KpiShop


def test_a_kpi_that_does_not_say_when_its_numbers_are_final(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest
    assert (kpi.is_final(kpi.latest), kpi.final_at(kpi_shop.day), said.finality(kpi, kpi.latest)) == (None, None, "")


def test_a_number_is_provisional_until_its_time_and_final_since(kpi_shop: KpiShop) -> None:
    declare_final(kpi_shop, "after_days: 3")
    kpi_shop.land()
    kpi_shop.run()
    at = datetime(*kpi_shop.day.timetuple()[:3], tzinfo=timezone.utc) + timedelta(days=4)
    for now, is_final, text in (
        (at - timedelta(seconds=1), False, f"provisional until {day(at.date())}"),
        (at, True, f"final since {day(at.date())}"),
    ):
        kpi = kpi_shop.kpi(now=now)
        assert kpi.latest
        assert (kpi.final_at(kpi_shop.day), kpi.is_final(kpi.latest)) == (at, is_final)
        assert said.finality(kpi, kpi.latest) == text


def test_a_number_that_lacks_a_load_date_is_provisional(kpi_shop: KpiShop) -> None:
    declare_final(kpi_shop, "after_days: 0", OVER_A_WINDOW)
    kpi_shop.land(kpi_shop.next)
    kpi_shop.run(kpi_shop.next)
    now = kpi_shop.noon(kpi_shop.day + timedelta(days=10))
    kpi = kpi_shop.kpi(now=now)
    assert kpi.latest
    assert kpi.is_final(kpi.latest) is False
    assert said.finality(kpi, kpi.latest) == f"provisional without weighed of {day(kpi_shop.day)}"
    [(then,)] = kpi_shop.rows("select clock_timestamp()")
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.run(kpi_shop.next)
    kpi = kpi_shop.kpi(now=now)
    assert kpi.latest
    assert said.finality(kpi, kpi.latest) == f"final since {day(kpi_shop.day + timedelta(days=2))}"
    before = kpi_shop.kpi(as_of=then)
    assert before.latest
    assert before.is_final(before.latest) is False


def test_a_kpi_whose_rows_are_of_several_days(kpi_shop: KpiShop) -> None:
    begin(kpi_shop)
    declare_final(kpi_shop, "after_days: 1, by: day", BY_DAY)
    kpi_shop.land()
    kpi_shop.run()
    kpi = kpi_shop.kpi()
    assert kpi.latest
    through = kpi_shop.day - timedelta(days=1)
    assert (kpi.is_final(kpi.latest), kpi.final_at(kpi_shop.day), kpi.final_through(kpi.latest)) == (
        *(None, None, through),
    )
    assert said.finality(kpi, kpi.latest) == f"the days up to {day(through)} are final"
    kpi_shop.land(last := kpi_shop.day + timedelta(days=2))
    kpi_shop.run(last)
    kpi = kpi_shop.kpi()
    assert kpi.latest
    assert (kpi.is_final(kpi.latest), kpi.final_at(last), kpi.final_through(kpi.latest)) == (False, None, None)
    assert said.finality(kpi, kpi.latest) == f"provisional without weighed of {day(kpi_shop.next)}"
