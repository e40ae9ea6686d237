"""The sensor notices decisions on rows that were set aside, whoever put them on S3, and builds what it must."""

import pytest

from kpi_assets_tests.automation.conftest import SensorHarness
from kpi_assets_tests.materialize.test_decision_inputs import BROKEN, decision, put
from kpi_assets_tests.pipeline_harness import DOUBLED


def test_a_decision_that_was_put_by_hand_is_built_once_with_what_reads_the_table(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    assert harness.execute(request).success
    assert harness.tick() == []
    put(shop, "raw.things", shop.day, decision(shop.key("things")))
    [request] = harness.tick()
    assert (request.tags["kpi/state"], request.partition_key) == ("stale", str(shop.day))
    assert request.asset_selection == harness.keys("raw.things", "marts.weighed", "marts.heavy")
    assert harness.tick() == [], "it is requested once"
    assert harness.execute(request).success
    assert harness.tick() == []
    assert shop.status().state == "published"
    assert harness.materialized("raw.things") == [str(shop.day)]


def test_a_held_load_date_is_run_again_after_a_decision_and_not_before(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land(things=DOUBLED)
    [request] = harness.tick()
    assert not harness.execute(request).success
    assert harness.tick() == []
    put(shop, "raw.things", shop.day, decision(shop.key("things")))
    [request] = harness.tick()
    assert request.tags["kpi/state"] == "stale"
    assert not harness.execute(request).success, "nothing in it is decided on"
    assert harness.tick() == []


@pytest.mark.nightly
def test_a_broken_decision_is_a_failure_that_ends_when_it_is_corrected(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    assert harness.execute(request).success
    put(shop, "raw.things", shop.day, BROKEN)
    [request] = harness.tick()
    assert not harness.execute(request).success
    assert harness.tick() == [], "the same would fail again"
    assert shop.rows(f"select kind, job from ops.alerts where load_date = '{shop.day}' and closed_at is null") == [
        ("failed", "raw.things")
    ]
    put(shop, "raw.things", shop.day, decision(shop.key("things")))
    [request] = harness.tick()
    assert harness.execute(request).success
    assert shop.rows(f"select kind from ops.alerts where load_date = '{shop.day}' and closed_at is null") == []
