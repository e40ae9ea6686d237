"""`kpi enable` and `kpi disable`: a new pipeline starts no runs by itself until somebody enables it."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from kpi_assets.instance import folder
from kpi_assets.instance.storage import open_instance
from kpi_assets.settings import settings
from kpi_assets_tests.cli import small as shared
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.small import FIRST, write_sql
from kpi_assets_tests.pipeline_harness import GOOD

NAME, BUCKET = "switched", "kpi-switched"  # its own bucket, whose load_dates no other test builds
SENSOR, DAILY = f"{NAME}_sensor", f"{NAME}_daily"
OFF = f"{NAME}: automation is off: `kpi enable {NAME}` switches it on."


@pytest.fixture
def small(kpi: CliHarness, tmp_path: Path) -> dict[str, str]:
    """The environment of a small pipeline with two landed load_dates."""
    (write_sql(tmp_path) / shared.NAME).rename(tmp_path / NAME)
    path = tmp_path / NAME / "pipeline.yaml"
    path.write_text(path.read_text().replace(shared.BUCKET, BUCKET))
    kpi.stack.make_bucket(BUCKET)
    for n in range(2):
        key = f"raw/things/load_date={FIRST + timedelta(days=n)}/things.csv"
        kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=GOOD)
    return {"KPI_SQL_DIR": str(tmp_path)}


@pytest.mark.nightly
def test_a_pipeline_is_off_until_it_is_enabled_and_the_command_says_what_follows(
    kpi: CliHarness, small: dict[str, str]
) -> None:
    assert kpi("status", **small).line("automation is") == OFF
    to_come = "To be built now: 2 load_dates, 2 new.\nNo daemon runs: automation begins with `kpi up`.\n"
    on = f"on {NAME}: {SENSOR} runs every 30 seconds"
    assert kpi.process("enable", NAME, **small).out == f"{on}.\n{to_come}"
    assert kpi("enable", NAME, **small).out == f"{on}, as before.\n{to_come}"
    said = f"{NAME}: automation is on: {SENSOR} runs every 30 seconds."
    assert kpi("status", **small).line("automation is") == said
    assert kpi("enable", NAME, "--schedule", **small).out == (
        f"on {NAME}: {DAILY} runs at 02:00 UTC.\noff {NAME}: {SENSOR}, which it replaces.\n{to_come}"
    )
    assert kpi("status", **small).line("automation is") == f"{NAME}: automation is on: {DAILY} runs at 02:00 UTC."

    kpi("run", NAME, "--load-date", FIRST, **small)
    left = "Left as it is until `kpi run`, `kpi backfill` or `kpi enable`: 1 load_date, 1 new.\n"
    assert kpi.process("disable", NAME, **small).out == f"off {NAME}: {DAILY}.\n{left}"
    assert kpi("disable", NAME, **small).out == f"off {NAME}: automation was off before.\n{left}"
    assert kpi("status", **small).line("automation is") == OFF


def test_disable_says_which_load_dates_are_built_all_the_same(
    kpi: CliHarness, small: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in kpi.stack.environment().items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        folder.prepare(settings())
        with open_instance() as instance:
            tags = {"dagster/partition": str(FIRST)}
            run = instance.add_run(dg.DagsterRun(NAME, status=dg.DagsterRunStatus.NOT_STARTED, tags=tags))
            try:
                said = kpi("disable", NAME, **small).out.splitlines()
            finally:
                instance.delete_run(run.run_id)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert said[1:] == [
        "Built all the same, as requested before: 1 load_date. Cancel runs in the UI.",
        "Left as it is until `kpi run`, `kpi backfill` or `kpi enable`: 1 load_date, 1 new.",
    ]


def test_pipeline_yaml_decides_until_somebody_enables_or_disables_the_pipeline(
    kpi: CliHarness, small: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / NAME / "pipeline.yaml"
    path.write_text(path.read_text() + "automation: {start: schedule}\n")
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / NAME).rename(other / "planned")
    environment = {"KPI_SQL_DIR": str(other)}
    assert kpi("status", **environment).line("automation is") == (
        "planned: automation is on: planned_daily runs at 02:00 UTC."
    )
    said = kpi("enable", "planned", **environment).out
    assert said.startswith("on planned: planned_daily runs at 02:00 UTC, as before.\n")
    kpi("disable", "planned", **environment)
    assert kpi("status", **environment).line("automation is").startswith("planned: automation is off: ")


def test_an_unknown_pipeline_is_wrong_usage(kpi: CliHarness, small: dict[str, str]) -> None:
    for command in ("enable", "disable"):
        kpi.fails(
            f"There is no pipeline 'x' in {small['KPI_SQL_DIR']}: there is {NAME}.", command, "x", code=2, **small
        )
