"""Automatic retention: the job and its schedule, if pipeline.yaml has them, and a sensor that ignores dropped rows."""

import dagster as dg

from kpi_assets_tests.automation.conftest import SensorHarness, definitions


def test_the_job_drops_old_rows_and_automation_does_not_build_them_again(harness: SensorHarness) -> None:
    shop = harness.shop
    shop.automate("settle_seconds: 0, look_back_days: 3660, rebuild_on_sql_change: true")
    without = definitions(shop)
    assert [job.name for job in without.resolve_all_job_defs() if "retention" in job.name] == []
    assert [schedule.name for schedule in without.schedules or []] == [f"{shop.name}_daily"]
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text() + "retention: {raw: 400}\n")
    shop.land()
    assert harness.run(shop.day).success
    assert harness.tick() == []

    defs = definitions(shop)
    schedule = defs.resolve_schedule_def(f"{shop.name}_retention_daily")
    assert (schedule.cron_schedule, schedule.default_status) == ("30 3 * * *", dg.DefaultScheduleStatus.RUNNING)
    assert schedule.job_name == f"{shop.name}_retention"
    done = defs.resolve_job_def(schedule.job_name).execute_in_process(instance=harness.instance)
    assert done.success
    one_day = f"load_date = '{shop.day}'"
    assert shop.rows(f"select asset from ops.publishes where {one_day} and dropped_at is not null order by 1") == [
        ("raw.labels",),
        ("raw.things",),
    ]
    assert shop.rows(f"select label, weight::text from marts.heavy where {one_day}") == [("heavy", "20.50")]
    path = shop.folder / "raw/things.sql"
    path.write_text(path.read_text().replace("(6,2)", "(9,2)"))
    assert harness.tick() == []
    assert "1 published" in str(harness.skipped)

    alone = harness.run(shop.day, only=harness.keys("marts.weighed"))
    assert not alone.success
    said = [e.step_failure_data.user_failure_data.description for e in alone.all_events if e.is_step_failure]
    assert said == [
        f"marts.weighed of {shop.day} cannot be built: the rows of raw.things of {shop.day} were dropped by retention; "
        f"`kpi run {shop.name} --load-date {shop.day}` replays them from S3."
    ]
    open_ones = f"select kind from ops.alerts where {one_day} and closed_at is null"
    assert shop.rows(open_ones) == [("failed",)]
