"""The sensor requests one run of each load_date that needs one, however often it ticks and whatever its cursor says."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from kpi_assets.automation.sensor_tick import TickEvaluator
from kpi_assets_tests.automation.conftest import SensorHarness, definitions
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS

LATER = "update ops.requests set requested_at = requested_at - interval '{}'"


def age(harness: SensorHarness, interval: str) -> None:
    """Make every request of a run older by an interval."""
    with harness.shop.session() as session:
        session.execute(LATER.format(interval))


def test_a_load_date_is_requested_when_it_is_complete_and_then_published(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land(labels=None)
    assert harness.tick() == []
    shop.land(things=None)
    [request] = harness.tick()
    assert request.partition_key == str(shop.day)
    assert request.tags["kpi/state"] == "new"
    assert harness.execute(request).success
    assert harness.tick() == []
    assert shop.status().state == "published"


@pytest.mark.nightly
def test_a_replaced_object_is_requested_again_even_if_the_old_one_comes_back(harness: SensorHarness) -> None:
    shop = harness.shop
    keys = set()
    for things in (THINGS, DOUBLED.replace(b"\n1,anvil again", b"\n2,anvil again"), THINGS):
        shop.land(things=things)
        [request] = harness.tick()
        keys.add(request.run_key)
        assert harness.execute(request).success
        assert harness.tick() == []
    assert len(keys) == 3, "Dagster ignores a run key that was used before"


def test_a_held_load_date_is_not_run_again_until_its_objects_change(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land(things=DOUBLED)
    [request] = harness.tick()
    assert not harness.execute(request).success
    age(harness, "1 week")
    assert harness.tick() == []
    shop.land()
    [request] = harness.tick()
    assert request.tags["kpi/state"] == "stale"
    assert harness.execute(request).success
    assert harness.tick() == []


@pytest.mark.nightly
def test_a_load_date_that_was_run_before_it_landed_is_new_when_it_lands(harness: SensorHarness) -> None:
    shop = harness.shop
    assert not harness.run(shop.day).success
    assert harness.tick() == []
    assert shop.status().state == "missing"
    shop.land(labels=None)
    assert not harness.run(shop.day).success
    assert (shop.status().state, harness.tick()) == ("incomplete", [])
    shop.land(things=None)
    [request] = harness.tick()
    assert request.tags["kpi/state"] == "new"
    assert harness.execute(request).success
    assert shop.rows(f"select count(*) from ops.alerts where load_date = '{shop.day}'") == [(0,)]


def test_duplicate_ticks_request_a_run_once(harness: SensorHarness) -> None:
    harness.shop.land()
    assert harness.requested() == [harness.shop.day]
    assert harness.requested() == []
    assert harness.requested(cursor="lost") == []


@pytest.mark.parametrize(
    "cursor", few(2, ['{"year": 9999, "rest_until": 1e20}', '{"year": -1}', "[]", "null", "\x00", "{"])
)
def test_an_invalid_cursor_hides_no_load_date(harness: SensorHarness, cursor: str) -> None:
    harness.shop.automate("settle_seconds: 0, look_back_days: 0")
    harness.shop.land()
    assert harness.requested(cursor) == [harness.shop.day]


@pytest.mark.nightly
def test_a_rewound_cursor_requests_no_run_again(harness: SensorHarness) -> None:
    harness.shop.automate("settle_seconds: 0, look_back_days: 0")
    harness.shop.land()
    [request] = harness.tick('{"year": 2025, "rest_until": 0}')
    harness.execute(request)
    assert harness.tick('{"year": 2025, "rest_until": 0}') == []


def test_two_sensors_at_the_same_time_request_each_run_once(harness: SensorHarness) -> None:
    days = [harness.shop.day + timedelta(days=n) for n in range(4)]
    for day in days:
        harness.shop.land(day)
    other = SensorHarness(harness.shop)  # the second sensor is of another Dagster instance on the same warehouse
    with ThreadPoolExecutor(2) as pool:
        asked = [day for found in pool.map(SensorHarness.requested, (harness, other)) for day in found]
    assert sorted(asked) == days


@pytest.mark.parametrize(
    "status",
    few(
        1,
        [
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.CANCELING,
        ],
    ),
)
def test_a_load_date_with_an_unfinished_run_is_left_alone(harness: SensorHarness, status: dg.DagsterRunStatus) -> None:
    harness.shop.land()
    run = harness.queue(harness.shop.day, status)
    assert harness.tick() == []
    harness.instance.report_run_failed(run)
    assert harness.requested() == [harness.shop.day]


def test_unfinished_runs_over_a_range_or_of_the_kpis_count_and_rechecks_do_not(harness: SensorHarness) -> None:
    shop = harness.shop
    for day in (shop.day, shop.next, shop.next + timedelta(days=1)):
        shop.land(day)
    ends = {"dagster/asset_partition_range_start": str(shop.day), "dagster/asset_partition_range_end": str(shop.next)}
    runs = [
        harness.queue(shop.day, dg.DagsterRunStatus.STARTED, **ends),
        harness.queue(shop.next + timedelta(days=1), dg.DagsterRunStatus.QUEUED, f"{shop.name}_kpis"),
    ]
    assert harness.tick() == []
    for run in runs:
        harness.instance.report_run_failed(run)
    harness.queue(shop.day, dg.DagsterRunStatus.STARTED, f"{shop.name}_recheck")
    assert len(harness.tick()) == 3


@pytest.mark.nightly
def test_a_run_that_never_started_is_requested_again_after_longer_and_longer_pauses(harness: SensorHarness) -> None:
    harness.shop.land()
    assert len(harness.tick()) == 1
    for pause, longer in (("50 seconds", "20 seconds"), ("3 minutes", "2 minutes"), ("15 minutes", "2 minutes")):
        age(harness, pause)
        assert harness.tick() == []
        age(harness, longer)
        assert len(harness.tick()) == 1
    with harness.shop.session() as session:
        session.execute("update ops.requests set attempts = 100")
    age(harness, "23 hours")
    assert harness.tick() == []
    age(harness, "2 hours")
    assert len(harness.tick()) == 1


def test_a_load_date_with_replaced_objects_is_requested_without_a_pause(harness: SensorHarness) -> None:
    harness.shop.land()
    harness.tick()
    harness.shop.land(things=DOUBLED)
    assert harness.requested() == [harness.shop.day]


def test_junk_on_s3_is_passed_over(harness: SensorHarness) -> None:
    shop = harness.shop
    future = datetime.now(timezone.utc).date() + timedelta(days=3)
    for key in ("raw/things/load_date=2025-99-99/things.csv", "raw/things/x", "raw/things/load_date=/things.csv"):
        shop.put(key, b"junk")
    for day in (future, shop.day - timedelta(days=1)):
        shop.land(day)
    assert harness.tick() == []
    shop.land()
    assert harness.requested() == [shop.day]


def test_todays_load_date_is_requested_today(harness: SensorHarness) -> None:
    today = datetime.now(timezone.utc).date()
    harness.shop.land(today)
    assert harness.requested() == [today]


def test_objects_that_landed_just_now_are_waited_for(harness: SensorHarness) -> None:
    harness.shop.automate("settle_seconds: 3600, look_back_days: 3660")
    harness.shop.land()
    assert harness.tick() == []
    assert "1 new" in str(harness.skipped)
    harness.shop.automate("settle_seconds: 0, look_back_days: 3660")
    assert len(harness.tick()) == 1


def test_a_late_load_date_is_one_incident_and_is_not_run(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.automate("settle_seconds: 0, look_back_days: 3660, late_after_hours: 0.0000001")
    shop.land(labels=None)
    assert harness.tick() == []
    assert "1 late" in str(harness.skipped)
    harness.tick()
    incidents = f"select kind, details[1], occurrences, closed_at from ops.alerts where load_date = '{shop.day}'"
    [(kind, detail, occurrences, closed_at)] = shop.rows(incidents)
    assert (kind, occurrences, closed_at) == ("late", 1, None)
    assert detail.startswith(f"1 of its 2 objects landed; lacking: {shop.key('labels')}. The first landed at ")
    shop.land()
    [request] = harness.tick()
    assert harness.execute(request).success
    kinds = f"select kind, closed_at is null from ops.alerts where load_date = '{shop.day}' order by id"
    assert shop.rows(kinds) == [("late", False), ("recovered", False)]


def test_changed_sql_is_rebuilt_only_if_the_pipeline_asks_for_it(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    harness.run(shop.day)
    path = shop.folder / "marts/weighed.sql"
    path.write_text(path.read_text().replace("is not null", "> 1"))
    assert harness.tick() == []
    assert "1 stale" in str(harness.skipped)
    shop.automate("settle_seconds: 0, look_back_days: 3660, rebuild_on_sql_change: true")
    assert shop.day in harness.requested()


def test_load_dates_before_the_look_back_are_swept_year_by_year(
    harness: SensorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no time for a sweep, a tick still does one year, and the next tick continues with the next year."""
    shop = harness.shop
    shop.automate("settle_seconds: 0, look_back_days: 0")
    monkeypatch.setattr("kpi_assets.automation.sensors.SECONDS", 0.0)
    days = [shop.day, shop.day.replace(year=2026)]
    for day in days:
        shop.land(day)
    assert harness.requested() == [days[0]]
    assert harness.cursor == '{"year": 2026, "rest_until": 0.0}'
    assert harness.requested() == [days[1]]
    assert harness.cursor is not None
    assert '"year": 0' in harness.cursor


def test_recent_load_dates_are_looked_at_during_the_rest_after_a_sweep(
    harness: SensorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = harness.shop
    shop.automate("settle_seconds: 0, look_back_days: 3")
    monkeypatch.setattr("kpi_assets.automation.sensor_tick.REST", 10_000)
    today = datetime.now(timezone.utc).date()
    assert harness.tick() == []
    shop.land()
    shop.land(today - timedelta(days=2))
    assert harness.requested() == [today - timedelta(days=2)], "the old load_date waits for the next sweep"
    harness.cursor = None
    assert harness.requested() == [shop.day]


def test_the_schedule_requests_the_same_runs_at_two_in_the_morning(harness: SensorHarness, tmp_path: Path) -> None:
    shop = harness.shop
    shop.land()
    defs = definitions(shop)
    schedule = defs.resolve_schedule_def(f"{shop.name}_daily")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "UTC")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        context = dg.build_schedule_context(instance=instance, repository_def=defs.get_repository_def())
        told = schedule.evaluate_tick(context)
    assert [request.partition_key for request in told.run_requests or []] == [str(shop.day)]
    assert harness.tick() == []


@pytest.mark.parametrize(
    ("start", "sensor", "schedule"),
    [("sensor", "RUNNING", "STOPPED"), ("schedule", "STOPPED", "RUNNING"), ("none", "STOPPED", "STOPPED")],
)
def test_pipeline_yaml_decides_whether_sensor_or_schedule_is_on(
    harness: SensorHarness, start: str, sensor: str, schedule: str
) -> None:
    harness.shop.automate(f"start: {start}, interval_seconds: 45")
    defs = definitions(harness.shop)
    found = defs.resolve_sensor_def(f"{harness.shop.name}_sensor")
    assert (found.default_status.value, found.minimum_interval_seconds) == (sensor, 45)
    assert defs.resolve_schedule_def(f"{harness.shop.name}_daily").default_status.value == schedule


@pytest.mark.nightly
def test_a_table_that_no_file_describes_is_named_in_each_tick(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.land()
    [request] = harness.tick()
    assert harness.execute(request).success
    path = shop.folder / "marts/heavy.sql"
    path.rename(path.with_name("heaviest.sql"))
    try:
        result = TickEvaluator(shop.pipeline()).evaluate(harness.instance, None, 0)
        load_dates = result.summary.partition(".")[0]
        assert [orphan.partition(" (")[0] for orphan in result.orphans] == ["marts.heavy"]
        assert result.summary == f"{load_dates}. No file describes {result.orphans[0]}: see `kpi plan`."
    finally:
        path.with_name("heaviest.sql").rename(path)
