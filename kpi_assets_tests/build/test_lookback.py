"""A table that looks back: which rows it reads, which publishes it is bound to, and what it says of its window."""

from datetime import date, timedelta

import pytest

from kpi_assets.build.context import BuildOutcome
from kpi_assets_tests.lookback import RECENT
from kpi_assets_tests.shop import Shop

DOUBLED = b"thing_id,label\n1,heavy\n1,light\n"


def labels(**of: str) -> bytes:
    """An object of raw.labels: t1="heavy" is the label of thing 1."""
    return "".join(["thing_id,label\n", *(f"{thing[1:]},{label}\n" for thing, label in of.items())]).encode()


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The shop with a table that looks back, and ten load_dates that no other test sees."""
    shop = open_shop.stock()
    shop.day += timedelta(days=10)
    shop.file("marts/recent.sql", RECENT)
    return shop


def day(shop: Shop, number: int) -> date:
    return shop.day + timedelta(days=number)


def deliver(shop: Shop, number: int, **of: str) -> None:
    """Publish the labels of a load_date."""
    shop.put(shop.key("labels", day(shop, number)), labels(**of))
    assert not shop.build("raw.labels", day(shop, number)).held


def recent(shop: Shop, number: int) -> BuildOutcome:
    outcome = shop.build("marts.recent", day(shop, number))
    assert not outcome.held, outcome.results
    return outcome


def rows(shop: Shop, number: int) -> list[tuple[str, int]]:
    return shop.rows(f"select label, things from marts.recent where load_date = '{day(shop, number)}' order by 1")


def test_of_each_key_the_row_of_the_latest_load_date_counts_and_of_no_load_date_outside(shop: Shop) -> None:
    deliver(shop, 0, t1="out", t9="out")
    deliver(shop, 1, t1="light", t2="light")
    deliver(shop, 2, t1="heavy", t3="heavy")
    deliver(shop, 3, t2="heavy")
    deliver(shop, 4, t3="out")
    outcome = recent(shop, 3)
    assert rows(shop, 3) == [("heavy", 3)]
    assert {result.name: (result.passed, result.metric) for result in outcome.results}["reconcile"] == (True, 0)
