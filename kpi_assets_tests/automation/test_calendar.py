"""A pipeline of weekdays with a Monday, a month-end, an optional and a late-coming source: sensor, runs and backfills.

What is not due holds up nothing: a run of a load_date ends well with what is due.
"""

import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance_for_test import instance_for_test
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

from kpi_assets.assets.partitions import load_dates
from kpi_assets.assets.resources import OUTCOME
from kpi_assets_tests.automation import foreign_assets
from kpi_assets_tests.automation.backfills import run_backfill
from kpi_assets_tests.automation.conftest import SensorHarness, definitions
from kpi_assets_tests.automation.test_held_partitions_stay_out import INSTANCE
from kpi_assets_tests.lookback import RECENT
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.two_source_pipeline import LABELS, RAW_LABELS

# From Wednesday 2025-01-29 to Wednesday 2025-02-05; Thursday is a holiday.
WEDNESDAY, FRIDAY, SATURDAY, MONDAY, TUESDAY = (
    *(date(2025, 1, 29), date(2025, 1, 31), date(2025, 2, 1)),
    *(date(2025, 2, 3), date(2025, 2, 4)),
)
DAYS = [WEDNESDAY, FRIDAY, MONDAY, TUESDAY]
SOURCES = {
    "labels": "every: monday",
    "ends": "every: month-end",
    "extras": "optional: true",
    "later": f"since: {MONDAY}",
}


def source(name: str, words: str) -> str:
    return RAW_LABELS.replace("labels", name).replace("format: csv", f"format: csv, {words}")


@pytest.fixture
def calendar(harness: SensorHarness) -> Iterator[SensorHarness]:
    """The harness with a calendar and four more sources; nothing of it is published."""
    shop = harness.shop
    path = shop.folder / "pipeline.yaml"
    words = "calendar: {every: weekday, except: holidays.txt}\nautomation: {settle_seconds: 0, look_back_days: 3660}\n"
    yaml = PIPELINE_YAML.format(bucket=shop.bucket).replace("2025-01-01", str(WEDNESDAY))
    path.write_text(yaml + words)
    (shop.folder / "holidays.txt").write_text("2025-01-30  # a holiday\n2025-02-05\n")
    for name, when in SOURCES.items():
        shop.file(f"raw/{name}.sql", source(name, when))
    shop.file("marts/recent.sql", RECENT.replace("lookback: 3", "lookback: 7"))
    with shop.session() as session:
        session.execute("truncate ops.publishes, ops.pipeline_runs, ops.alerts, ops.requests, ops.manifests cascade")
    yield harness
    for name in (*[f"raw/{each}.sql" for each in SOURCES if each != "labels"], "marts/recent.sql", "holidays.txt"):
        (shop.folder / name).unlink()


def land(harness: SensorHarness, *days: date) -> None:
    """Upload what is due, but none of the optional objects."""
    shop = harness.shop
    for day in days:
        shop.land(day, labels=LABELS if day == MONDAY else None)
        for name in [*(["ends"] if day == FRIDAY else []), *(["later"] if day >= MONDAY else [])]:
            shop.put(shop.key(name, day), LABELS)


def published(harness: SensorHarness) -> dict[date, set[str]]:
    rows = harness.shop.rows("select load_date, array_agg(asset) from ops.published group by 1 order by 1")
    return {day: set(assets) for day, assets in rows}


OTHERS = (foreign_assets.DAILY, foreign_assets.WEEKLY, foreign_assets.WHOLE)
ALWAYS = {"raw.things", "marts.weighed", "raw.extras", "marts.recent"}
WANTED = {
    WEDNESDAY: ALWAYS,
    FRIDAY: ALWAYS | {"raw.ends"},
    MONDAY: ALWAYS | {"raw.labels", "marts.heavy", "raw.later"},
    TUESDAY: ALWAYS | {"raw.later"},
}


@pytest.mark.nightly
def test_the_sensor_runs_each_load_date_with_what_is_due_on_it(calendar: SensorHarness) -> None:
    shop = calendar.shop
    land(calendar, *DAYS)
    shop.land(SATURDAY)
    requests = calendar.tick()
    assert [request.partition_key for request in requests] == [str(day) for day in DAYS]
    for request in requests:
        result = calendar.execute(request)
        assert result.success
        found = calendar.instance.get_run_by_id(result.run_id)
        assert found is not None
        assert (found.status.value, found.tags[OUTCOME]) == ("SUCCESS", "success")
    assert published(calendar) == WANTED
    assert {status.state for status in shop.plan(WEDNESDAY, TUESDAY)} == {"published"}
    assert [status.load_date for status in shop.plan(WEDNESDAY, date(2025, 2, 5))] == DAYS
    assert shop.rows("select count(*) from ops.alerts") == [(0,)]
    assert calendar.materialized("raw.labels") == [str(MONDAY)]
    assert calendar.materialized("s3.extras") == [str(day) for day in DAYS], "that there is none was verified"


@pytest.mark.nightly
def test_the_sensor_runs_each_load_date_with_an_object_that_is_carried_to_it(calendar: SensorHarness) -> None:
    shop = calendar.shop
    shop.file("raw/labels.sql", source("labels", "every: monday, carried_days: 13"))
    shop.put(shop.key("labels", date(2025, 1, 27)), LABELS)
    land(calendar, *DAYS)
    requests = calendar.tick()
    assert [request.partition_key for request in requests] == [str(day) for day in DAYS]
    assert all(calendar.execute(request).success for request in requests)
    assert published(calendar) == {day: tables | {"raw.labels", "marts.heavy"} for day, tables in WANTED.items()}
    assert calendar.materialized("s3.labels") == [str(day) for day in DAYS]
    shop.put(shop.key("labels", MONDAY), LABELS + b"2,floating\n")
    assert [request.partition_key for request in calendar.tick()] == [str(MONDAY), str(TUESDAY)]
    shop.s3.delete_object(Bucket=shop.bucket, Key=shop.key("labels", date(2025, 1, 27)))


@pytest.mark.nightly
def test_an_optional_object_that_lands_later_is_run_again(calendar: SensorHarness) -> None:
    shop = calendar.shop
    land(calendar, TUESDAY)
    assert calendar.run(TUESDAY).success
    assert str(TUESDAY) not in [request.partition_key for request in calendar.tick()]
    shop.put(shop.key("extras", TUESDAY), LABELS)
    [request] = [request for request in calendar.tick() if request.partition_key == str(TUESDAY)]
    assert calendar.execute(request).success
    rows = "select rows from ops.published where asset = 'raw.extras' and load_date = '{}'"
    assert shop.rows(rows.format(TUESDAY)) == [(1,)]


def test_a_step_launched_by_hand_for_what_is_not_due_says_so_and_ends_well(
    calendar: SensorHarness,
) -> None:
    path = calendar.shop.folder / "raw/labels.sql"
    because = f"the object of raw.labels comes every monday ({path})."
    through = "it reads raw.labels of its load_date, and "
    for name, about, why in (
        ("raw.labels", "raw.labels", because),
        ("s3.labels", "raw.labels", because),
        ("marts.heavy", "marts.heavy", through + because),
    ):
        result = calendar.run(TUESDAY, only=calendar.keys(name))
        assert result.success
        said = [entry.user_message for entry in calendar.instance.all_logs(result.run_id)]
        assert [text for text in said if "due" in text] == [f"{about} is not due on {TUESDAY}, a Tuesday: {why}"]
    assert published(calendar) == {}
    assert calendar.shop.rows("select count(*) from ops.pipeline_runs") == [(0,)]


def test_a_run_over_a_range_builds_what_is_due_on_each_load_date(calendar: SensorHarness) -> None:
    land(calendar, *DAYS)
    assert calendar.range(WEDNESDAY, TUESDAY).success
    assert published(calendar) == WANTED
    assert calendar.materialized("raw.labels") == [str(MONDAY)]
    assert calendar.materialized("marts.recent") == [str(day) for day in DAYS]


def test_the_partitions_in_the_ui_are_the_load_dates(calendar: SensorHarness) -> None:
    graph = definitions(calendar.shop).resolve_asset_graph()
    at = datetime(2025, 2, 5, 12, tzinfo=timezone.utc)
    for name in ("raw.labels", "marts.recent", "s3.things"):
        [key] = calendar.keys(name)
        partitions = graph.get(key).partitions_def
        assert partitions is not None
        keys = partitions.get_partition_keys(current_time=at)
        assert keys == [*map(str, DAYS), "2025-02-06"], "on a day that is none, Dagster adds the next one"
    described = {name: str(graph.get(*calendar.keys(f"s3.{name}")).description) for name in (*SOURCES, "things")}
    assert {name: text.partition(f"raw.{name}. ")[2] for name, text in described.items()} == {
        "labels": "It comes every monday.",
        "ends": "It comes every month-end.",
        "extras": "It is optional.",
        "later": f"It comes every day, since {MONDAY}.",
        "things": "",
    }
    job = definitions(calendar.shop).resolve_job_def(calendar.shop.name)
    with pytest.raises(dg.DagsterUnknownPartitionError):
        job.execute_in_process(instance=calendar.instance, partition_key=str(SATURDAY))


def test_the_next_load_date_that_lies_in_the_future_does_nothing(calendar: SensorHarness) -> None:
    """On a weekend the UI offers the next Monday."""
    today = datetime.now(timezone.utc).date()
    path = calendar.shop.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("every: weekday, except: holidays.txt", f"except: [{today}]"))
    tomorrow = today + timedelta(days=1)
    keys = load_dates(calendar.shop.pipeline()).get_partition_keys()
    assert keys[-2:] == [str(today - timedelta(days=1)), str(tomorrow)]
    assert calendar.run(tomorrow).success
    calendar.range(tomorrow - timedelta(days=2), tomorrow)
    assert published(calendar).get(tomorrow) is None
    assert calendar.materialized("raw.things") == []


@pytest.mark.nightly
def test_a_dagster_backfill_over_what_is_not_due_is_a_success(
    calendar: SensorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(calendar, *DAYS)
    monkeypatch.setenv(foreign_assets.SQL_DIR, str(calendar.shop.root))
    monkeypatch.setenv(foreign_assets.PIPELINE, calendar.shop.name)
    origin = LoadableTargetOrigin(executable_path=sys.executable, module_name=foreign_assets.__name__, attribute="defs")
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin, location_name="foreign_assets"))
    with (
        instance_for_test(overrides=INSTANCE) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        graph = workspace.create_request_context().asset_graph
        # The backfill of a table that looks back goes on to the load_dates whose window has one of these.
        keys = sorted({*graph.get_all_asset_keys()} - {*calendar.keys("marts.recent"), *OTHERS})
        status = run_backfill(instance, workspace, "days", DAYS, keys)
        assert status == BulkActionStatus.COMPLETED_SUCCESS
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "days"}))
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        [labels] = calendar.keys("raw.labels")
        event = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=labels, asset_partitions=[str(TUESDAY)]), limit=1
        ).records[0]
        assert event.asset_materialization is not None
        assert list(event.asset_materialization.metadata) == ["not due"]
    assert published(calendar) == {day: assets - {"marts.recent"} for day, assets in WANTED.items()}
