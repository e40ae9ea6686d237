"""What a number comes from, and why it changed, where it is made of several load_dates, a history or itself."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.read.kpis import Point, read_kpis
from kpi_assets.read.lineage import Lineage
from kpi_assets_tests.carry_on import CarryingPipeline
from kpi_assets_tests.lookback import RECENT, labels
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.read.shown import shown_lineage
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline
from kpi_assets_tests.warehouse.history_harness import Customers, day

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def of(lab: PipelineHarness, name: str, load_date: date) -> Lineage:
    with lab.session() as session:
        return shown_lineage(session, lab.pipeline(), name, load_date)


def point(lab: PipelineHarness, name: str, load_date: date) -> Point:
    pipeline = lab.pipeline()
    with lab.session() as session:
        [kpi] = read_kpis(session, pipeline, now=NOW, only=pipeline.table(name), first=load_date, last=load_date)
    found = kpi.point(load_date)
    assert found
    return found


@pytest.fixture(scope="module")
def recent(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSourcePipeline]:
    with TwoSourcePipeline.open(stack, tmp_path_factory.mktemp("shop")) as shop:
        assert isinstance(shop, TwoSourcePipeline)
        shop.stock().prepared()
        shop.file("marts/recent.sql", RECENT)
        for number in (0, 1, 2):
            shop.put(shop.key("labels", shop.day + timedelta(days=number)), labels(**{f"t{number}": "heavy"}))
        for number in (0, 2):
            shop.build("raw.labels", shop.day + timedelta(days=number))
        shop.build("marts.recent", shop.day + timedelta(days=2))
        yield shop


def test_a_window_is_followed_to_each_of_its_load_dates(recent: TwoSourcePipeline) -> None:
    last = recent.day + timedelta(days=2)
    found = of(recent, "marts.recent", last)
    assert [(node.asset, node.load_date) for node in found.nodes] == [
        ("raw.labels", recent.day),
        ("raw.labels", last),
        ("marts.recent", last),
    ]
    assert (len(found.files), found.records, found.is_accounted) == (2, 2, True)
    assert {check.load_date for check in found.checks if check.asset == "s3.labels"} == {recent.day, last}


def test_a_load_date_of_the_window_came_late_and_was_replaced(recent: TwoSourcePipeline) -> None:
    first, middle, last = (recent.day + timedelta(days=number) for number in (0, 1, 2))
    recent.build("raw.labels", middle)
    recent.build("marts.recent", last)
    recent.put(recent.key("labels", first), labels(t0="light", t7="light"))
    recent.build("raw.labels", first)
    recent.build("marts.recent", last)
    assert [each.why for each in point(recent, "marts.recent", last).restated] == [
        "labels of Thu 6 Mar was published later",
        "the source object of labels of Wed 5 Mar was replaced",
    ]


def test_a_table_that_carries_on_is_followed_to_the_load_date_before(stack: Stack, tmp_path: Path) -> None:
    with CarryingPipeline.open(stack, tmp_path) as lab:
        assert isinstance(lab, CarryingPipeline)
        lab.stock()
        for number in (1, 2, 3):
            lab.publish(number, number)
        found = of(lab, "marts.seen", lab.at(3))
        assert [(node.asset, node.load_date, node.is_before) for node in found.nodes] == [
            ("marts.seen", lab.at(2), True),
            ("raw.labels", lab.at(3), False),
            ("marts.seen", lab.at(3), False),
        ]
        assert {check.load_date for check in found.checks} == {lab.at(3)}
        assert found.records == 1


CITIES = """\
/* @asset
description: Customers by city.
owner: team:tests
grain: [city]
kpi: {chart: {x: city, y: customers}}
columns:
  city: {type: text, description: City.}
  customers: {type: bigint, description: Customers.}
@end */
select city, count(*) as customers
from marts.customers
group by city
"""


def test_a_history_is_read_up_to_a_mark(lab: PipelineHarness) -> None:
    customers = Customers(lab)
    lab.file("marts/cities.sql", CITIES)
    customers.deliver(day(0), {"A": ("John", "NYC", "1.0")})
    customers.deliver(day(1), {"A": ("John", "NYC", "1.0"), "B": ("Ann", "NYC", "1.0")})
    lab.build("marts.cities", day(1))
    found = of(lab, "marts.cities", day(1))
    assert [(node.asset, node.load_date, node.is_history, node.is_followed) for node in found.nodes] == [
        ("raw.customers", day(1), False, True),
        ("marts.customers", day(1), True, True),
        ("marts.cities", day(1), False, True),
    ]
    customers.deliver(day(0), {"A": ("John", "SF", "1.0")})
    lab.build("marts.cities", day(1))
    assert [
        (node.load_date, node.is_followed) for node in of(lab, "marts.cities", day(1)).nodes if node.is_history
    ] == [
        (day(1), True),
        (day(0), False),
    ]
    customers.deliver(day(0), {"A": ("John", "LA", "1.0")})
    customers.deliver(day(1), {"A": ("John", "LA", "1.0"), "B": ("Ann", "NYC", "1.0")})
    lab.build("marts.cities", day(1))
    assert [each.why for each in point(lab, "marts.cities", day(1)).restated] == [
        "the history customers was corrected",
        "the source object of customers was replaced and the history customers was corrected",
    ]
