"""Old runs are deleted with their events, and the UI still shows every load_date."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from kpi_assets.automation import run_history
from kpi_assets_tests.automation.conftest import SensorHarness
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS


@pytest.mark.nightly
def test_superseded_runs_are_deleted_and_the_latest_of_each_load_date_are_kept(
    harness: SensorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "PAGE", 2)
    shop = harness.shop
    shop.land()
    shop.land(shop.next, things=DOUBLED)
    gone = [harness.run(shop.day).run_id, harness.run(shop.next).run_id]
    shop.land(shop.next, things=THINGS)
    kept = [harness.run(shop.next).run_id, harness.run(shop.day).run_id]
    kept.append(harness.run(shop.next, only=harness.keys("marts.heavy")).run_id)
    materialized = {name: harness.materialized(name) for name in ("s3.things", "raw.things", "marts.heavy")}
    assert materialized["marts.heavy"] == [str(shop.day), str(shop.next)]
    now = datetime.now(timezone.utc)

    assert run_history.delete_old_runs(harness.instance, now - timedelta(hours=1)) == (0, 0), "no run is that old"
    assert run_history.delete_old_runs(harness.instance, now + timedelta(hours=1), seconds=-1) == (0, 0)
    assert run_history.delete_old_runs(harness.instance, now + timedelta(hours=1)) == (2, 3)

    assert [harness.instance.has_run(run_id) for run_id in (*gone, *kept)] == [False] * 2 + [True] * 3
    assert [len(harness.instance.all_logs(run_id)) for run_id in gone] == [0, 0]
    assert {name: harness.materialized(name) for name in materialized} == materialized
    assert run_history.delete_old_runs(harness.instance, now + timedelta(hours=1)) == (0, 3)


def test_the_job_keeps_recent_runs_and_is_scheduled(harness: SensorHarness) -> None:
    harness.shop.land()
    run = harness.run(harness.shop.day)
    assert run_history.history_job().execute_in_process(instance=harness.instance).success
    assert harness.instance.has_run(run.run_id)
    schedule = run_history.history_schedule()
    assert (schedule.cron_schedule, schedule.default_status) == ("0 4 * * *", dg.DefaultScheduleStatus.RUNNING)
