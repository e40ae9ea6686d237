"""The commands on a pipeline with a stream: what they say while a load_date grows, and its replay."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from kpi_assets.stream.frame import Frame, encode, key_of
from kpi_assets.stream.reader import Event
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.clicks_pipeline import DIGITS, PIPELINE_YAML, TABLES

NAME, BUCKET = "streamed", "kpi-streamed"
TODAY = datetime.now(timezone.utc).date()
FIRST = TODAY - timedelta(days=30)


@pytest.fixture(scope="module")
def streamed(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a pipeline of one stream, of which two events have landed today."""
    root: Path = tmp_path_factory.mktemp("sql")
    for name, text in TABLES.items():
        (root / NAME / name).parent.mkdir(parents=True, exist_ok=True)
        (root / NAME / name).write_text(text)
    (root / NAME / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=BUCKET).replace("2025-01-01", str(FIRST)))
    kpi.stack.make_bucket(BUCKET)
    now = int(datetime.now(timezone.utc).timestamp() * 1000)
    said = f'"event_type": "view", "occurred_at": "{TODAY} 00:00:00+00"'
    events = [Event(0, n, now, None, f'{{"event_id": "{n}", {said}}}'.encode()) for n in range(2)]
    key = key_of(f"raw/clicks/load_date={TODAY}/", 0, 0, 0, DIGITS)
    kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=encode(Frame("clicks", 0, 0, 2, 2, "1" * 16), events))
    return {"KPI_SQL_DIR": str(root)}


def test_plan_and_status_say_that_today_grows(kpi: CliHarness, streamed: dict[str, str]) -> None:
    facts = "(closed: no; through: nothing yet; lag not known)"
    planned = kpi("plan", NAME, "--format", "json", **streamed).out
    assert f'"reason": "Live runs build it as events land {facts}."' in planned
    assert '"state": "growing"' in planned
    assert planned.count('"load_date"') == 1, "the load_dates without events are missing"
    said = kpi("status", **streamed)
    assert said.line("grows") == f"{NAME}: load_date {TODAY} grows {facts}."
    header = next(line for line in said.out.splitlines() if "load_date" in line and "stg" in line)
    assert header.split() == ["load_date", "raw", "stg", "marts"], "there is no column of objects"


def test_both_sensors_are_switched_together(kpi: CliHarness, streamed: dict[str, str]) -> None:
    on = kpi("enable", NAME, **streamed).out.splitlines()
    assert on[:2] == [
        f"on {NAME}: {NAME}_sensor runs every 30 seconds.",
        f"on {NAME}: {NAME}_live_sensor runs every 30 seconds.",
    ]
    assert kpi("status", **streamed).line("automation is") == (
        f"{NAME}: automation is on: {NAME}_sensor runs every 30 seconds and {NAME}_live_sensor runs every 30 seconds."
    )
    assert kpi("disable", NAME, **streamed).line("off") == f"off {NAME}: {NAME}_sensor and {NAME}_live_sensor."


@pytest.mark.nightly
def test_a_run_builds_the_load_date_from_all_that_has_landed(kpi: CliHarness, streamed: dict[str, str]) -> None:
    said = kpi.process("run", NAME, "--load-date", TODAY, **streamed)
    assert f"published {NAME}, load_date {TODAY}: 5 assets\n" in said.out
    assert '"state": "growing"' in kpi("plan", NAME, "--format", "json", **streamed).out
    backfilled = kpi("backfill", NAME, "--from", TODAY, "--to", TODAY, "--only", "growing", **streamed)
    assert "1 run.\n" in backfilled.out
    assert kpi("backfill", NAME, "--from", TODAY, "--to", TODAY, "--only", "stale", **streamed).line("0 run") == (
        "0 run; left as they were: 1 growing."
    )


def test_status_goes_on_if_the_store_cannot_be_read(kpi: CliHarness, streamed: dict[str, str]) -> None:
    said = kpi("status", **streamed, KPI_S3_BUCKETS=f'{{"{NAME}": "no-such-bucket"}}')
    [line] = [line for line in said.out.splitlines() if "not known" in line]
    assert line.startswith(f"{NAME}: which load_dates grow is not known: s3://no-such-bucket/")
    assert f"{NAME}: automation is " in said.out


@pytest.mark.nightly
def test_status_and_doctor_say_what_a_closed_load_date_lacks(kpi: CliHarness, streamed: dict[str, str]) -> None:
    kpi.execute(
        "insert into ops.growth (load_date, run_id, finished_at, problems) "
        f"values ('{FIRST}', 'r', now(), array['An object lacks.'])",
        database=NAME,
    )
    assert kpi("status", **streamed).line("not whole") == (
        f"{NAME}: load_date {FIRST} was closed and is not whole: An object lacks."
    )
    assert (
        f"load_date {FIRST} of {NAME}: was closed and is not whole: An object lacks. When that is mended, `kpi run "
        f"{NAME} --load-date {FIRST}` builds it again, and it is closed again"
    ) in " ".join(kpi("doctor", code=1, **streamed).out.split())
    kpi.execute("update ops.growth set problems = '{}'", database=NAME)
    assert "not whole" not in kpi("status", **streamed).out
