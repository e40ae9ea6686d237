"""A held load_date reaches nothing in any other run.

Dagster's own gates hold within one run. Its backfills and automation conditions start other runs: of a table that looks
back, of weekly and of unpartitioned assets. These follow materializations, of which a held load_date has none.
Not here: what the sensor requests (test_lookback.py).
"""

import sys
from datetime import date, timedelta

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance_for_test import instance_for_test
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

from kpi_assets.assets.resources import OUTCOME
from kpi_assets_tests.automation import foreign_assets
from kpi_assets_tests.automation.backfills import run_backfill
from kpi_assets_tests.automation.conftest import SensorHarness, definitions_of
from kpi_assets_tests.lookback import DOUBLED, RECENT, labels

INSTANCE = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
}


@pytest.fixture
def week(harness: SensorHarness) -> list[date]:
    """Land the load_dates of a week, with a table that looks back: the third is held, all others are good."""
    shop = harness.shop
    shop.day += timedelta(days=20)
    shop.day -= timedelta(days=(shop.day.weekday() + 1) % 7)  # weeks of Dagster begin on Sunday
    path = shop.folder / "pipeline.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("start_date:")]
    path.write_text("\n".join([*lines, f"start_date: {shop.day}", ""]))
    shop.file("marts/recent.sql", RECENT)
    days = [shop.day + timedelta(days=number) for number in range(7)]
    for number, day in enumerate(days):
        shop.land(day, labels=DOUBLED if number == 2 else labels(t1=f"of {number}"))
    return days


def test_a_dagster_backfill_builds_nothing_from_a_held_load_date(
    harness: SensorHarness, week: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(foreign_assets.SQL_DIR, str(harness.shop.root))
    monkeypatch.setenv(foreign_assets.PIPELINE, harness.shop.name)
    origin = LoadableTargetOrigin(executable_path=sys.executable, module_name=foreign_assets.__name__, attribute="defs")
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin, location_name="foreign_assets"))
    with (
        instance_for_test(overrides=INSTANCE) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        graph = workspace.create_request_context().asset_graph
        status = run_backfill(instance, workspace, "leak", week[1:4], graph.get_all_asset_keys())
        assert status == BulkActionStatus.COMPLETED_FAILED, (
            "the backfill ends, and says that not all partitions were built"
        )
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "leak"}))
        ended = {run.tags["dagster/partition"]: run.status for run in runs if OUTCOME in run.tags}
        assert ended[str(week[2])] == dg.DagsterRunStatus.CANCELED
        refused = {run.tags["dagster/partition"] for run in runs if run.status == dg.DagsterRunStatus.FAILURE}
        assert refused <= {str(day) for day in week[4:]}, "the load_dates that were not built, and whose window was"
        found = {
            name: sorted(instance.get_materialized_partitions(key))
            for name, key in zip(
                ("raw.labels", "marts.recent", "daily"),
                (*harness.keys("raw.labels", "marts.recent"), foreign_assets.DAILY),
                strict=True,
            )
        }
        good = [str(week[1]), str(week[3])]
        assert (found["raw.labels"], found["daily"]) == (good, good)
        assert set(found["marts.recent"]) <= set(good)
        assert str(week[1]) in found["marts.recent"]
        assert instance.get_materialized_partitions(foreign_assets.WEEKLY) == set()
        assert instance.get_latest_materialization_event(foreign_assets.WHOLE) is None
    leaked = "select 1 from marts.recent where label in ('heavy', 'light') and load_date between '{}' and '{}'"
    assert harness.shop.rows(leaked.format(week[0], week[-1])) == []
    bound = "select 1 from ops.publishes where inputs ? 'raw.labels@{}'"
    assert harness.shop.rows(bound.format(week[2])) == []


@pytest.mark.nightly
def test_an_automation_condition_requests_nothing_of_a_held_load_date(harness: SensorHarness, week: list[date]) -> None:
    pipeline = harness.shop.pipeline()
    defs = definitions_of(pipeline, foreign_assets.readers_of_labels(pipeline))
    before = dg.evaluate_automation_conditions(defs, harness.instance)
    for day in week:
        harness.run(day)
    asked = dg.evaluate_automation_conditions(defs, harness.instance, cursor=before.cursor)
    good = {str(day) for day in week if day != week[2]}
    assert asked.get_requested_partitions(foreign_assets.DAILY) == good
    assert asked.get_requested_partitions(foreign_assets.WEEKLY) == set()
    assert asked.get_requested_partitions(foreign_assets.WHOLE) == set()

    harness.shop.land(week[2], labels=labels(t1="of 2"))
    harness.run(week[2])
    asked = dg.evaluate_automation_conditions(defs, harness.instance, cursor=asked.cursor)
    assert asked.get_requested_partitions(foreign_assets.DAILY) == {str(week[2])}
    assert asked.get_requested_partitions(foreign_assets.WEEKLY) == {str(week[0])}


def test_a_run_of_the_table_that_looks_back_is_refused_for_a_held_load_date(
    harness: SensorHarness, week: list[date]
) -> None:
    """The run has only the table that looks back, for the held load_date."""
    harness.run(week[2])
    result = harness.run(week[2], only=harness.keys("marts.recent"))
    assert not result.success
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == (
        f"marts.recent of {week[2]} cannot be built: raw.labels of that load_date must be published first; build that."
    )
