"""A table that carries on heals through the plan: by the sensor day by day, and after runs at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import dagster as dg
import pytest

from kpi_assets.materialize.drop import drop_table
from kpi_assets.model.names import Relation
from kpi_assets_tests.automation.conftest import SensorHarness, definitions
from kpi_assets_tests.carry_on import FILE, SEEN
from kpi_assets_tests.lookback import labels

COUNT = 5
ROWS = "select load_date, thing_id, first_on, times from marts.seen where load_date >= '{}' order by 1, 2"


@pytest.fixture
def carrying(harness: SensorHarness) -> Iterator[SensorHarness]:
    """The harness with a table that carries on, and load_dates that no other test sees."""
    harness.shop.day += timedelta(days=10)
    harness.shop.file(FILE, SEEN)
    yield harness
    drop_seen(harness)
    (harness.shop.folder / FILE).unlink()


def drop_seen(harness: SensorHarness) -> None:
    """Drop the table as `kpi drop` does."""
    if harness.shop.rows("select 1 from ops.published where asset = 'marts.seen'"):
        name, seen = harness.shop.name, Relation("marts", "seen")
        drop_table(harness.shop.server, name, seen, lambda _phase, _done, _total: None)


def days(harness: SensorHarness) -> list[date]:
    return [harness.shop.day + timedelta(days=n) for n in range(COUNT)]


def land(harness: SensorHarness, number: int) -> None:
    body = labels(**{f"t{thing}": "heavy" for thing in (1, number + 2)})
    harness.shop.land(days(harness)[number], labels=body)


def settle(harness: SensorHarness) -> list[dict[int, list[str]]]:
    """Tick and run until nothing is requested; return the tables of each tick by load_date, none meaning all."""
    asked = []
    while requests := harness.tick():
        tick = {}
        for request in requests:
            number = (date.fromisoformat(str(request.partition_key)) - harness.shop.day).days
            tick[number] = [".".join(key.path[1:]) for key in request.asset_selection or []]
            harness.execute(request)
        asked.append(tick)
    return asked


def rows(harness: SensorHarness) -> list[tuple[date, int, date, int]]:
    return harness.shop.rows(ROWS.format(harness.shop.day))


@pytest.mark.nightly
def test_a_late_load_date_is_run_and_then_those_after_it_one_by_one(carrying: SensorHarness) -> None:
    for number in (0, 2, 3, 4):
        land(carrying, number)
    assert settle(carrying) == [{0: [], 2: [], 3: [], 4: []}]
    land(carrying, 1)
    only = ["marts.seen"]
    assert settle(carrying) == [{1: []}, {2: only}, {3: only}, {4: only}]
    assert {status.state for status in carrying.shop.plan(days(carrying)[0], days(carrying)[-1])} == {"published"}


@pytest.mark.nightly
def test_runs_and_ranges_and_runs_at_once_end_with_the_same_rows(carrying: SensorHarness) -> None:
    for number in range(COUNT):
        land(carrying, number)
    for day in days(carrying):
        assert carrying.run(day).success
    in_order = rows(carrying)
    assert len(in_order) == 2 + 3 + 4 + 5 + 6
    drop_seen(carrying)
    assert carrying.range(days(carrying)[0], days(carrying)[-1]).success
    assert rows(carrying) == in_order
    assert carrying.tick() == []
    drop_seen(carrying)
    with ThreadPoolExecutor(3) as pool:
        for build_statuses in pool.map(carrying.shop.run, reversed(days(carrying))):
            assert build_statuses["marts.seen"] == "published"
    settle(carrying)
    assert rows(carrying) == in_order


def test_dagster_knows_no_dependency_of_the_table_on_itself(carrying: SensorHarness) -> None:
    graph = definitions(carrying.shop).resolve_asset_graph()
    parents = graph.get(dg.AssetKey([carrying.shop.name, "marts", "seen"])).parent_keys
    assert [key.path[1:] for key in parents] == [["raw", "labels"]]
