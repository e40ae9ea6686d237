"""Old runs are deleted with their events, and no load_date is missing from the UI for that."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from kpi_assets.automation import run_history
from kpi_assets_tests.automation.conftest import Site
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import THINGS


def test_runs_that_are_superseded_go_and_the_latest_of_each_load_date_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_history, "PAGE", 2)
    shop = site.shop
    shop.land()
    shop.land(shop.next, things=DOUBLED)
    gone = [site.run(shop.day).run_id, site.run(shop.next).run_id]
    shop.land(shop.next, things=THINGS)
    kept = [site.run(shop.next).run_id, site.run(shop.day).run_id]
    kept.append(site.run(shop.next, only=site.keys("marts.heavy")).run_id)
    materialised = {name: site.materialised(name) for name in ("s3.things", "raw.things", "marts.heavy")}
    assert materialised["marts.heavy"] == [str(shop.day), str(shop.next)]
    now = datetime.now(timezone.utc)

    assert run_history.delete_old_runs(site.instance, now - timedelta(hours=1)) == (0, 0), "none is that old"
    assert run_history.delete_old_runs(site.instance, now + timedelta(hours=1), seconds=-1) == (0, 0)
    assert run_history.delete_old_runs(site.instance, now + timedelta(hours=1)) == (2, 3)

    assert [site.instance.has_run(run_id) for run_id in (*gone, *kept)] == [False] * 2 + [True] * 3
    assert [len(site.instance.all_logs(run_id)) for run_id in gone] == [0, 0]
    assert {name: site.materialised(name) for name in materialised} == materialised
    assert run_history.delete_old_runs(site.instance, now + timedelta(hours=1)) == (0, 3)


def test_the_job_leaves_what_is_not_old_and_is_scheduled(site: Site) -> None:
    site.shop.land()
    run = site.run(site.shop.day)
    assert run_history.history_job().execute_in_process(instance=site.instance).success
    assert site.instance.has_run(run.run_id)
    schedule = run_history.history_schedule()
    assert (schedule.cron_schedule, schedule.default_status) == ("0 4 * * *", dg.DefaultScheduleStatus.RUNNING)
