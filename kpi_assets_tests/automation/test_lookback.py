"""A table that looks back: the sensor rebuilds exactly the load_dates that a late or replaced one affects."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import dagster as dg
import pytest

from kpi_assets_tests.automation.conftest import SensorHarness, definitions
from kpi_assets_tests.lookback import DOUBLED, RECENT, labels
from kpi_assets_tests.two_source_pipeline import THINGS

OF_RECENT = "select load_date, label, things from marts.recent where load_date between '{}' and '{}' order by 1, 2"
BUILDS = "select count(*) from ops.pipeline_runs where job = 'raw.things' and load_date = '{}'"


@pytest.fixture
def recent(harness: SensorHarness) -> Iterator[SensorHarness]:
    """The harness with a table that looks back, and load_dates that no other test sees."""
    harness.shop.day += timedelta(days=10)
    harness.shop.file("marts/recent.sql", RECENT)
    yield harness
    (harness.shop.folder / "marts/recent.sql").unlink()


def days(harness: SensorHarness, count: int = 6) -> list[date]:
    return [harness.shop.day + timedelta(days=n) for n in range(count)]


def land(harness: SensorHarness, number: int, body: bytes | None = None) -> None:
    body = body or labels(t1=f"of {number}", **{f"t{number + 2}": "new"})
    harness.shop.land(days(harness)[number], things=THINGS, labels=body)


def settle(harness: SensorHarness) -> list[dict[date, list[str]]]:
    """Tick and run until nothing is requested; return the requested tables of each tick, none meaning all tables."""
    asked = []
    while requests := harness.tick():
        asked.append(
            {
                date.fromisoformat(str(request.partition_key)): [
                    ".".join(key.path[1:]) for key in request.asset_selection or []
                ]
                for request in requests
            }
        )
        for request in requests:
            harness.execute(request)
    return asked


def rows(harness: SensorHarness) -> list[tuple[date, str, int]]:
    return harness.shop.rows(OF_RECENT.format(days(harness)[0], days(harness)[-1]))


@pytest.mark.nightly
def test_a_late_load_date_is_run_and_then_only_the_load_dates_that_look_back_on_it(recent: SensorHarness) -> None:
    for number in (0, 2, 3, 4, 5):
        land(recent, number)
    assert settle(recent) == [{days(recent)[number]: [] for number in (0, 2, 3, 4, 5)}]
    land(recent, 1)
    assert settle(recent) == [
        {days(recent)[1]: []},
        {days(recent)[2]: ["marts.recent"], days(recent)[3]: ["marts.recent"]},
    ]
    assert recent.shop.rows(BUILDS.format(days(recent)[2])) == [(1,)], "nothing else of the load_date was built again"
    assert {status.state for status in recent.shop.plan(days(recent)[0], days(recent)[-1])} == {"published"}


@pytest.mark.nightly
def test_a_replaced_load_date_is_run_and_then_only_the_load_dates_that_look_back_on_it(recent: SensorHarness) -> None:
    for number in range(6):
        land(recent, number)
    settle(recent)
    land(recent, 3, labels(t1="another"))
    assert settle(recent) == [
        {days(recent)[3]: []},
        {days(recent)[4]: ["marts.recent"], days(recent)[5]: ["marts.recent"]},
    ]


@pytest.mark.nightly
def test_a_held_load_date_reaches_no_later_one_until_it_is_corrected(recent: SensorHarness) -> None:
    land(recent, 0)
    land(recent, 1, DOUBLED)
    land(recent, 2)
    settle(recent)
    assert [(day, label) for day, label, _ in rows(recent) if day == days(recent)[2]] == [
        (days(recent)[2], "new"),
        (days(recent)[2], "of 2"),
    ]
    told = recent.instance.get_latest_materialization_event(dg.AssetKey([recent.shop.name, "marts", "recent"]))
    assert told is not None
    assert told.asset_materialization is not None
    metadata = {name: value.value for name, value in told.asset_materialization.metadata.items()}
    assert metadata["window/load_dates"] == 3
    assert metadata["window/load_dates_there"] == 2
    assert metadata["window/absent"] == str(days(recent)[1])
    land(recent, 1)
    assert settle(recent) == [{days(recent)[1]: []}, {days(recent)[2]: ["marts.recent"]}]


@pytest.mark.nightly
def test_a_run_over_a_range_gives_the_same_as_day_by_day(recent: SensorHarness) -> None:
    for number in range(6):
        land(recent, number)
    for day in days(recent):
        assert recent.run(day).success
    day_by_day = rows(recent)
    with recent.shop.session() as session:
        session.execute(f"delete from marts.recent where load_date >= '{days(recent)[0]}'")
        session.execute(f"delete from ops.publishes where load_date >= '{days(recent)[0]}'")
    assert recent.range(days(recent)[0], days(recent)[-1]).success
    assert rows(recent) == day_by_day
    assert recent.tick() == []


def test_a_range_with_a_held_load_date_leaves_it_out_of_every_window(recent: SensorHarness) -> None:
    for number in range(6):
        land(recent, number, DOUBLED if number == 2 else None)
    assert not recent.range(days(recent)[0], days(recent)[-1]).success
    there = [day for day, label, _ in rows(recent) if label == "new"]
    assert sorted({*there}) == [day for day in days(recent) if day != days(recent)[2]]
    assert recent.materialized("marts.recent") == [str(day) for day in days(recent) if day != days(recent)[2]]
    bound = "select 1 from ops.published where asset = 'marts.recent' and inputs ? 'raw.labels@{}'"
    assert recent.shop.rows(bound.format(days(recent)[2])) == []
    assert len(recent.shop.rows(bound.format(days(recent)[1]))) == 1, "the input of the load_date after the held one"


@pytest.mark.nightly
def test_concurrent_runs_end_with_the_same_rows_as_runs_one_after_another(recent: SensorHarness) -> None:
    """A load_date that looked back too early is found and built again."""
    for number in range(6):
        land(recent, number)
    with ThreadPoolExecutor(3) as pool:
        for build_statuses in pool.map(recent.shop.run, reversed(days(recent))):
            assert build_statuses["marts.recent"] == "published"
    settle(recent)
    at_once = rows(recent)
    for day in days(recent):
        assert recent.run(day).success
    assert rows(recent) == at_once
    assert recent.tick() == []


def test_the_partition_mapping_is_the_window(recent: SensorHarness) -> None:
    graph = definitions(recent.shop).resolve_asset_graph()
    name = recent.shop.name
    mapping = graph.get_partition_mapping(dg.AssetKey([name, "marts", "recent"]), dg.AssetKey([name, "raw", "labels"]))
    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    assert (mapping.start_offset, mapping.end_offset, mapping.allow_nonexistent_upstream_partitions) == (-2, 0, True)
