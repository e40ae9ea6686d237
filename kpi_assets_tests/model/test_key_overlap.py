"""Two sources that can have the same object are found, with an example; those that cannot are not."""

from datetime import date, timedelta

import pytest

from kpi_assets.model.key_overlap import Shared, shared_object
from kpi_assets.model.object_key import ObjectKey

SINCE = date(2025, 1, 1)


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        ("raw/{load_date}.csv", "raw/{load_date}.csv", "raw/2025-01-01.csv"),
        ("raw/{load_date}.csv", "raw/{load_date:%Y-%m-%d}.csv", "raw/2025-01-01.csv"),
        ("raw/{load_date:%d-%m-%y}.csv", "raw/{load_date:%y-%m-%d}.csv", "raw/25-01-25.csv"),
        ("raw/{load_date}/2025-03-01.csv", "raw/2025-03-02/{load_date}.csv", "raw/2025-03-02/2025-03-01.csv"),
        ("raw/{load_date}/a*.csv", "raw/{load_date}/*b.csv", "raw/2025-01-01/ab.csv"),
        ("raw/{load_date}/orders*.csv", "raw/{load_date}/orders_items*.csv", "raw/2025-01-01/orders_items.csv"),
        ("raw/{load_date}/*", "raw/{load_date}/orders.csv", "raw/2025-01-01/orders.csv"),
        ("raw/{load_date}/orders.csv", "raw/{load_date}/*", "raw/2025-01-01/orders.csv"),
        ("raw/*{load_date}*", "raw/*-{load_date}.csv", "raw/-2025-01-01.csv"),
        ("raw/a.csv", "raw/a.csv", "raw/a.csv"),
        ("raw/2025-03-01.csv", "raw/{load_date}.csv", "raw/2025-03-01.csv"),
        ("raw/{load_date}*", "raw/2031-03-01.csv", "raw/2031-03-01.csv"),
    ],
)
def test_an_object_of_both_is_named(one: str, other: str, key: str) -> None:
    first, second = ObjectKey.parse(one), ObjectKey.parse(other)
    for found, keys in (
        (shared_object(first, second, SINCE), (first, second)),
        (shared_object(second, first, SINCE), (second, first)),
    ):
        assert found
        assert found.key == key
        assert all(day is None or of.matches(key, day) for of, day in zip(keys, found[1:], strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raw/{load_date}/a.csv", "raw/{load_date}/b.csv"),
        ("raw/{load_date}/a*.csv", "raw/{load_date}/b*.csv"),
        ("raw/{load_date}/*-a.csv", "raw/{load_date}/2025*-b.csv"),
        ("raw/{load_date}/a?.csv", "raw/{load_date}/a.csv"),
        ("raw/{load_date}/*", "raw/{load_date}/x/*"),
        ("raw/{load_date}/2025-02-30.csv", "raw/2025-02-30/{load_date}.csv"),
        ("raw/{load_date}/2024-12-31.csv", "raw/2024-12-31/{load_date}.csv"),
        ("raw/{load_date:%Y%m%d}.csv", "raw/{load_date:%d%m%Y}.csv"),
        ("raw/2024-12-31.csv", "raw/{load_date}.csv"),
        ("raw/{load_date:%b}{load_date:%Y%d}.csv", "raw/{load_date:%m%Y%d}.csv"),
        ("raw/{load_date}.csv", "raw/{load_date:%Y-%d-%m}/a.csv"),
    ],
)
def test_sources_without_a_common_object_are_told_apart(one: str, other: str) -> None:
    first, second = ObjectKey.parse(one), ObjectKey.parse(other)
    assert shared_object(first, second, SINCE) is None
    assert shared_object(second, first, SINCE) is None
    days = [SINCE + timedelta(days=n) for n in range(800)]
    assert not any(second.load_dates(first.key(day)) and second.load_dates(first.key(day))[0] >= SINCE for day in days)


def test_the_objects_of_a_period_are_named_with_the_days_on_which_they_come() -> None:
    end, start = (ObjectKey.parse("raw/{load_date:%Y-%m}.csv", every) for every in ("month-end", "month-start"))
    key = "raw/2025-01.csv"
    assert shared_object(end, start, SINCE) == Shared(key, date(2025, 1, 31), date(2025, 1, 1))
    assert shared_object(end, end, SINCE) == Shared(key, date(2025, 1, 31), date(2025, 1, 31))
