"""The sensor requests one run of each load_date that needs one, however often it ticks and whatever its cursor says."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from kpi_assets.automation.sensor_tick import TickEvaluator
from kpi_assets_tests.automation.conftest import Site, definitions
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS

LATER = "update ops.requests set requested_at = requested_at - interval '{}'"


def age(site: Site, interval: str) -> None:
    """Make every request of a run older by an interval."""
    with site.shop.session() as session:
        session.execute(LATER.format(interval))


def test_a_load_date_is_asked_for_once_it_is_complete_and_then_it_is_published(site: Site) -> None:
    shop = site.shop
    shop.land(labels=None)
    assert site.tick() == []
    shop.land(things=None)
    [request] = site.tick()
    assert request.partition_key == str(shop.day)
    assert request.tags["kpi/state"] == "new"
    assert site.execute(request).success
    assert site.tick() == []
    assert shop.status().state == "published"


def test_a_replaced_object_is_asked_for_again_also_when_the_old_one_comes_back(site: Site) -> None:
    shop = site.shop
    keys = set()
    for things in (THINGS, DOUBLED.replace(b"\n1,anvil again", b"\n2,anvil again"), THINGS):
        shop.land(things=things)
        [request] = site.tick()
        keys.add(request.run_key)
        assert site.execute(request).success
        assert site.tick() == []
    assert len(keys) == 3, "Dagster ignores a run key that was used before"


def test_a_held_load_date_is_not_run_again_until_its_objects_change(site: Site) -> None:
    shop = site.shop
    shop.land(things=DOUBLED)
    [request] = site.tick()
    assert not site.execute(request).success
    age(site, "1 week")
    assert site.tick() == []
    shop.land()
    [request] = site.tick()
    assert request.tags["kpi/state"] == "stale"
    assert site.execute(request).success
    assert site.tick() == []


def test_a_load_date_that_was_run_before_it_landed_is_new_once_it_has(site: Site) -> None:
    shop = site.shop
    assert not site.run(shop.day).success
    assert site.tick() == []
    assert shop.status().state == "missing"
    shop.land(labels=None)
    assert not site.run(shop.day).success
    assert (shop.status().state, site.tick()) == ("incomplete", [])
    shop.land(things=None)
    [request] = site.tick()
    assert request.tags["kpi/state"] == "new"
    assert site.execute(request).success
    assert shop.rows(f"select count(*) from ops.alerts where load_date = '{shop.day}'") == [(0,)]


def test_duplicate_ticks_ask_once(site: Site) -> None:
    site.shop.land()
    assert site.asked() == [site.shop.day]
    assert site.asked() == []
    assert site.asked(cursor="lost") == []


@pytest.mark.parametrize("cursor", ['{"year": 9999, "rest_until": 1e20}', '{"year": -1}', "[]", "null", "\x00", "{"])
def test_a_cursor_that_makes_no_sense_hides_nothing(site: Site, cursor: str) -> None:
    site.shop.automate("settle_seconds: 0, look_back_days: 0")
    site.shop.land()
    assert site.asked(cursor) == [site.shop.day]


def test_a_rewound_cursor_asks_for_nothing_that_was_asked_for(site: Site) -> None:
    site.shop.automate("settle_seconds: 0, look_back_days: 0")
    site.shop.land()
    [request] = site.tick('{"year": 2025, "rest_until": 0}')
    site.execute(request)
    assert site.tick('{"year": 2025, "rest_until": 0}') == []


def test_two_sensors_at_once_ask_once(site: Site) -> None:
    days = [site.shop.day + timedelta(days=n) for n in range(4)]
    for day in days:
        site.shop.land(day)
    other = Site(site.shop)  # the second sensor is of another Dagster instance on the same warehouse
    with ThreadPoolExecutor(2) as pool:
        asked = [day for found in pool.map(Site.asked, (site, other)) for day in found]
    assert sorted(asked) == days


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_a_load_date_with_an_unfinished_run_is_left_alone(site: Site, status: dg.DagsterRunStatus) -> None:
    site.shop.land()
    run = site.queue(site.shop.day, status)
    assert site.tick() == []
    site.instance.report_run_failed(run)
    assert site.asked() == [site.shop.day]


def test_an_unfinished_run_over_a_range_or_of_the_kpis_counts_and_a_recheck_does_not(site: Site) -> None:
    shop = site.shop
    for day in (shop.day, shop.next, shop.next + timedelta(days=1)):
        shop.land(day)
    ends = {"dagster/asset_partition_range_start": str(shop.day), "dagster/asset_partition_range_end": str(shop.next)}
    runs = [
        site.queue(shop.day, dg.DagsterRunStatus.STARTED, **ends),
        site.queue(shop.next + timedelta(days=1), dg.DagsterRunStatus.QUEUED, f"{shop.name}_kpis"),
    ]
    assert site.tick() == []
    for run in runs:
        site.instance.report_run_failed(run)
    site.queue(shop.day, dg.DagsterRunStatus.STARTED, f"{shop.name}_recheck")
    assert len(site.tick()) == 3


def test_a_run_that_never_came_is_asked_for_again_after_ever_longer_pauses(site: Site) -> None:
    site.shop.land()
    assert len(site.tick()) == 1
    for pause, longer in (("50 seconds", "20 seconds"), ("3 minutes", "2 minutes"), ("15 minutes", "2 minutes")):
        age(site, pause)
        assert site.tick() == []
        age(site, longer)
        assert len(site.tick()) == 1
    with site.shop.session() as session:
        session.execute("update ops.requests set attempts = 100")
    age(site, "23 hours")
    assert site.tick() == []
    age(site, "2 hours")
    assert len(site.tick()) == 1


def test_other_objects_are_asked_for_at_once_however_often_the_first_failed(site: Site) -> None:
    site.shop.land()
    site.tick()
    site.shop.land(things=DOUBLED)
    assert site.asked() == [site.shop.day]


def test_junk_on_s3_is_passed_over(site: Site) -> None:
    shop = site.shop
    future = datetime.now(timezone.utc).date() + timedelta(days=3)
    for key in ("raw/things/load_date=2025-99-99/things.csv", "raw/things/x", "raw/things/load_date=/things.csv"):
        shop.put(key, b"junk")
    for day in (future, shop.day - timedelta(days=1)):
        shop.land(day)
    assert site.tick() == []
    shop.land()
    assert site.asked() == [shop.day]


def test_todays_load_date_is_asked_for_today(site: Site) -> None:
    today = datetime.now(timezone.utc).date()
    site.shop.land(today)
    assert site.asked() == [today]


def test_objects_that_landed_just_now_are_waited_for(site: Site) -> None:
    site.shop.automate("settle_seconds: 3600, look_back_days: 3660")
    site.shop.land()
    assert site.tick() == []
    assert "1 new" in str(site.skipped)
    site.shop.automate("settle_seconds: 0, look_back_days: 3660")
    assert len(site.tick()) == 1


def test_late_is_an_incident_that_is_told_once_and_is_not_run(site: Site) -> None:
    shop = site.shop
    shop.automate("settle_seconds: 0, look_back_days: 3660, late_after_hours: 0.0000001")
    shop.land(labels=None)
    assert site.tick() == []
    assert "1 late" in str(site.skipped)
    site.tick()
    incidents = f"select kind, details[1], occurrences, closed_at from ops.alerts where load_date = '{shop.day}'"
    [(kind, detail, occurrences, closed_at)] = shop.rows(incidents)
    assert (kind, occurrences, closed_at) == ("late", 1, None)
    assert detail.startswith(f"1 of its 2 objects landed; lacking: {shop.key('labels')}. The first landed at ")
    shop.land()
    [request] = site.tick()
    assert site.execute(request).success
    kinds = f"select kind, closed_at is null from ops.alerts where load_date = '{shop.day}' order by id"
    assert shop.rows(kinds) == [("late", False), ("recovered", False)]


def test_changed_sql_is_run_by_itself_only_where_the_pipeline_wants_it(site: Site) -> None:
    shop = site.shop
    shop.land()
    site.run(shop.day)
    path = shop.folder / "marts/weighed.sql"
    path.write_text(path.read_text().replace("is not null", "> 1"))
    assert site.tick() == []
    assert "1 stale" in str(site.skipped)
    shop.automate("settle_seconds: 0, look_back_days: 3660, rebuild_on_sql_change: true")
    assert shop.day in site.asked()


def test_what_lies_before_the_look_back_is_swept_in_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no time for a sweep, a tick still does one year, and the next tick continues with the next year."""
    shop = site.shop
    shop.automate("settle_seconds: 0, look_back_days: 0")
    monkeypatch.setattr("kpi_assets.automation.sensors.SECONDS", 0.0)
    days = [shop.day, shop.day.replace(year=2026)]
    for day in days:
        shop.land(day)
    assert site.asked() == [days[0]]
    assert site.cursor == '{"year": 2026, "rest_until": 0.0}'
    assert site.asked() == [days[1]]
    assert site.cursor is not None
    assert '"year": 0' in site.cursor


def test_after_a_sweep_there_is_a_rest_and_recent_load_dates_are_looked_at_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = site.shop
    shop.automate("settle_seconds: 0, look_back_days: 3")
    monkeypatch.setattr("kpi_assets.automation.sensor_tick.REST", 10_000)
    today = datetime.now(timezone.utc).date()
    assert site.tick() == []
    shop.land()
    shop.land(today - timedelta(days=2))
    assert site.asked() == [today - timedelta(days=2)], "the old one waits for the next sweep"
    site.cursor = None
    assert site.asked() == [shop.day]


def test_the_schedule_asks_for_the_same_at_two_in_the_morning(site: Site, tmp_path: Path) -> None:
    shop = site.shop
    shop.land()
    defs = definitions(shop)
    schedule = defs.resolve_schedule_def(f"{shop.name}_daily")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "UTC")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        context = dg.build_schedule_context(instance=instance, repository_def=defs.get_repository_def())
        told = schedule.evaluate_tick(context)
    assert [request.partition_key for request in told.run_requests or []] == [str(shop.day)]
    assert site.tick() == []


@pytest.mark.parametrize(
    ("start", "sensor", "schedule"),
    [("sensor", "RUNNING", "STOPPED"), ("schedule", "STOPPED", "RUNNING"), ("none", "STOPPED", "STOPPED")],
)
def test_what_is_on_is_what_the_pipeline_says(site: Site, start: str, sensor: str, schedule: str) -> None:
    site.shop.automate(f"start: {start}, interval_seconds: 45")
    defs = definitions(site.shop)
    found = defs.resolve_sensor_def(f"{site.shop.name}_sensor")
    assert (found.default_status.value, found.minimum_interval_seconds) == (sensor, 45)
    assert defs.resolve_schedule_def(f"{site.shop.name}_daily").default_status.value == schedule


def test_a_table_that_no_file_describes_any_more_is_told_of_in_each_tick(site: Site) -> None:
    shop = site.shop
    shop.land()
    [request] = site.tick()
    assert site.execute(request).success
    path = shop.folder / "marts/heavy.sql"
    path.rename(path.with_name("heaviest.sql"))
    try:
        result = TickEvaluator(shop.pipeline()).evaluate(site.instance, None, 0)
        load_dates = result.summary.partition(".")[0]
        assert [orphan.partition(" (")[0] for orphan in result.orphans] == ["marts.heavy"]
        assert result.summary == f"{load_dates}. No file describes {result.orphans[0]}: see `kpi plan`."
    finally:
        path.with_name("heaviest.sql").rename(path)
