"""A run that was asked for by the sensor looks again when it begins: what was done meanwhile is not done twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import dagster as dg
import pytest

from kpi_assets.assets.resources import OUTCOME
from kpi_assets.assets.run_tags import is_automatic
from kpi_assets_tests.automation.conftest import Site
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS

TABLES = ["marts.heavy", "marts.weighed", "raw.labels", "raw.things"]


def built(site: Site, day: date | None = None) -> dict[str, int]:
    """How often each table of a load_date was published, superseded or not."""
    query = "select asset, count(*) from ops.publishes where load_date = '{}' group by asset order by asset"
    return dict(site.shop.rows(query.format(day or site.shop.day)))


def logged(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(result.run_id) if "nothing left" in entry.user_message]


def test_what_a_person_built_meanwhile_is_not_built_again(site: Site) -> None:
    shop = site.shop
    shop.land()
    [request] = site.tick()
    assert site.run(shop.day).success
    before = shop.rows("select count(*) from ops.pipeline_runs")
    result = site.execute(request)
    assert result.success
    assert built(site) == dict.fromkeys(TABLES, 1)
    said = f"There is nothing left to do for {shop.day}: All 4 tables are up to date with S3 and the SQL."
    assert logged(result, site.instance) == [said] * 2, "one for each object; what follows on them is skipped"
    assert [event.step_key for event in result.all_events if event.is_step_skipped] != []
    assert result.get_asset_materialization_events() == []
    assert shop.rows("select count(*) from ops.pipeline_runs") == before, "nothing is written down"
    run = site.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[OUTCOME] == "unneeded"
    assert site.tick() == []


def test_what_is_held_is_not_held_again_with_nothing_changed(site: Site) -> None:
    shop = site.shop
    shop.land(things=DOUBLED)
    [request] = site.tick()
    assert not site.run(shop.day).success
    result = site.execute(request)
    assert result.success
    [said, again] = logged(result, site.instance)
    assert said == again
    assert "Its inputs, SQL and checks have not changed since." in said
    assert shop.rows(f"select occurrences from ops.alerts where load_date = '{shop.day}'") == [(1,)]


def test_a_person_s_own_run_builds_as_asked_also_when_it_has_the_sensor_s_tags(site: Site) -> None:
    shop = site.shop
    shop.land()
    [request] = site.tick()
    assert site.execute(request).success
    assert site.run(shop.day).success
    again = {**request.tags, "dagster/parent_run_id": "x", "dagster/root_run_id": "x"}
    assert site.run(shop.day, again).success
    assert built(site) == dict.fromkeys(TABLES, 3)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, False),
        ({"kpi/state": "new"}, True),
        ({"kpi/state": "new", "dagster/parent_run_id": "x"}, False),
        ({"kpi/state": "new", "dagster/parent_run_id": "x", "dagster/retry_number": "1"}, True),
    ],
)
def test_who_asked(tags: dict[str, str], expected: bool) -> None:
    assert is_automatic(tags) is expected


def test_what_has_changed_again_is_built(site: Site) -> None:
    shop = site.shop
    shop.land()
    [request] = site.tick()
    assert site.run(shop.day).success
    shop.land(things=THINGS.replace(b"20.50", b"21.50"))
    assert site.execute(request).success
    assert built(site) == dict.fromkeys(TABLES, 2)


def test_only_what_is_asked_for_is_built_and_that_once(site: Site) -> None:
    """A run of some tables, which waits behind no object."""
    shop = site.shop
    shop.land()
    assert site.run(shop.day).success
    shop.land(things=THINGS.replace(b"20.50", b"21.50"))
    assert site.run(shop.day, only=site.keys("s3.things", "raw.things")).success
    [request] = site.tick()
    assert request.tags["kpi/state"] == "stale"
    assert site.run(shop.day, only=list(request.asset_selection or [])).success
    before = built(site)
    assert site.execute(request).success
    assert built(site) == before


def test_a_backfill_and_the_sensor_s_run_at_once_build_it_once(site: Site) -> None:
    shop = site.shop
    shop.land()
    [request] = site.tick()
    begun = f"select 1 from ops.pipeline_runs where load_date = '{shop.day}'"
    with ThreadPoolExecutor(2) as pool:
        person = pool.submit(site.run, shop.day)
        eventually(lambda: bool(shop.rows(begun)))
        asked = pool.submit(site.execute, request)
        assert person.result(60).success
        assert asked.result(60).success
    assert built(site) == dict.fromkeys(TABLES, 1)
