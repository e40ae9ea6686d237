"""A run that the sensor requested looks again when it begins, so that nothing is built twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import dagster as dg
import pytest

from kpi_assets.assets.resources import OUTCOME
from kpi_assets.assets.run_tags import is_automatic
from kpi_assets_tests.automation.conftest import SensorHarness
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS

TABLES = ["marts.heavy", "marts.weighed", "raw.labels", "raw.things"]


def built(harness: SensorHarness, day: date | None = None) -> dict[str, int]:
    """Return how often each table of a load_date was published, superseded or not."""
    query = "select asset, count(*) from ops.publishes where load_date = '{}' group by asset order by asset"
    return dict(harness.shop.rows(query.format(day or harness.shop.day)))


def logged(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(result.run_id) if "nothing left" in entry.user_message]


def test_a_load_date_that_a_person_built_meanwhile_is_not_built_again(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    assert harness.run(shop.day).success
    before = shop.rows("select count(*) from ops.pipeline_runs")
    result = harness.execute(request)
    assert result.success
    assert built(harness) == dict.fromkeys(TABLES, 1)
    said = f"There is nothing left to do for {shop.day}: All 4 tables are up to date with S3 and the SQL."
    assert logged(result, harness.instance) == [said] * 2, "one line for each object; the tables after them are skipped"
    assert [event.step_key for event in result.all_events if event.is_step_skipped] != []
    assert result.get_asset_materialization_events() == []
    assert shop.rows("select count(*) from ops.pipeline_runs") == before, "nothing is recorded"
    run = harness.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[OUTCOME] == "unneeded"
    assert harness.tick() == []


def test_a_held_load_date_is_not_held_again_if_nothing_changed(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land(things=DOUBLED)
    [request] = harness.tick()
    assert not harness.run(shop.day).success
    result = harness.execute(request)
    assert result.success
    [said, again] = logged(result, harness.instance)
    assert said == again
    assert "Its inputs, SQL and checks have not changed since." in said
    assert shop.rows(f"select occurrences from ops.alerts where load_date = '{shop.day}'") == [(1,)]


@pytest.mark.nightly
def test_a_person_s_run_builds_everything_even_with_the_tags_of_the_sensor(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    assert harness.execute(request).success
    assert harness.run(shop.day).success
    again = {**request.tags, "dagster/parent_run_id": "x", "dagster/root_run_id": "x"}
    assert harness.run(shop.day, again).success
    assert built(harness) == dict.fromkeys(TABLES, 3)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, False),
        ({"kpi/state": "new"}, True),
        ({"kpi/state": "new", "dagster/parent_run_id": "x"}, False),
        ({"kpi/state": "new", "dagster/parent_run_id": "x", "dagster/retry_number": "1"}, True),
    ],
)
def test_the_tags_tell_who_requested_a_run(tags: dict[str, str], expected: bool) -> None:
    assert is_automatic(tags) is expected


@pytest.mark.nightly
def test_a_load_date_that_changed_again_is_built(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    assert harness.run(shop.day).success
    shop.land(things=THINGS.replace(b"20.50", b"21.50"))
    assert harness.execute(request).success
    assert built(harness) == dict.fromkeys(TABLES, 2)


@pytest.mark.nightly
def test_only_the_requested_tables_are_built_and_only_once(harness: SensorHarness) -> None:
    """The run has some tables only, and waits for no object."""
    shop = harness.shop
    shop.land()
    assert harness.run(shop.day).success
    shop.land(things=THINGS.replace(b"20.50", b"21.50"))
    assert harness.run(shop.day, only=harness.keys("s3.things", "raw.things")).success
    [request] = harness.tick()
    assert request.tags["kpi/state"] == "stale"
    assert harness.run(shop.day, only=list(request.asset_selection or [])).success
    before = built(harness)
    assert harness.execute(request).success
    assert built(harness) == before


@pytest.mark.nightly
def test_a_backfill_and_the_sensor_s_run_at_once_build_it_once(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    begun = f"select 1 from ops.pipeline_runs where load_date = '{shop.day}'"
    with ThreadPoolExecutor(2) as pool:
        person = pool.submit(harness.run, shop.day)
        eventually(lambda: bool(shop.rows(begun)))
        asked = pool.submit(harness.execute, request)
        assert person.result(60).success
        assert asked.result(60).success
    assert built(harness) == dict.fromkeys(TABLES, 1)
