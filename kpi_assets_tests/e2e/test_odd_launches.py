"""Odd runs that anybody can launch with GraphQL: each fails with a sentence, writes nothing, and stops nothing."""

import json
import urllib.error
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kpi_assets_tests.e2e.web import LAUNCH, LOCATION, Web
from kpi_assets_tests.machine import eventually

# By parts: test_web.py has two such launches, automation/test_refused.py all of them without a web UI, and
# cli/test_switch.py the switch.
pytestmark = pytest.mark.nightly

CANARY = "canary-8c1f/secret"
PARTITION, START, END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
NO_DATE = "is no load_date: write it as YYYY-MM-DD."
# Tags, and a part of the sentence. Dagster itself creates no run for most; automation/test_refused.py has them too.
ODD: dict[str, tuple[dict[str, str], str]] = {
    "short": ({PARTITION: "2025-7-1"}, NO_DATE),
    "packed": ({PARTITION: "20250701"}, NO_DATE),
    "digits of another script": ({PARTITION: "\u0662\u0660\u0662\u0665-\u0660\u0667-\u0660\u0661"}, NO_DATE),
    "a line end": ({PARTITION: "2025-07-01\n"}, NO_DATE),
    "very long": ({PARTITION: "2025-07-01" * 500}, NO_DATE),
    "markup": ({PARTITION: "<script>[bold]"}, NO_DATE),
    "empty": ({PARTITION: ""}, NO_DATE),
    "the future": ({PARTITION: str(datetime.now(timezone.utc).date() + timedelta(days=2))}, "lies in the future"),
    "half a range": ({START: "2025-07-01"}, "only one end of a range"),
    "a reversed range": ({START: "2025-07-02", END: "2025-07-01"}, "is empty: give the earlier date first."),
    "an empty range": ({START: "", END: ""}, NO_DATE),
    "all time": ({START: "0001-01-01", END: "9999-12-31"}, "has no load_date 0001-01-01"),
    "nothing": ({}, "names no load_date"),
    "our own tags": (
        {"kpi/state": "new" * 99, "kpi/outcome": "success", ".dagster/kpi_process": "x", PARTITION: "2025-7-1"},
        NO_DATE,
    ),
}
MADE = {"short", "the future", "a reversed range", "nothing", "our own tags", "a recheck of no date"}
LOGS = """
query Logs($id: ID!) {
  logsForRun(runId: $id) {
    ... on EventConnection {
      events {
        ... on MessageEvent { message }
        ... on ExecutionStepFailureEvent { failureMetadata { description } error { message stack } }
      }
    }
  }
}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A `kpi up` with a secret in its settings, and with a pipeline that is off."""
    with Web.open(tmp_path_factory.mktemp("odd"), KPI_ALERT_WEBHOOK_URL=f"http://127.0.0.1:9/{CANARY}") as opened:
        yield opened


def launch(web: Web, tags: Mapping[str, str], job: str = "instacart", names: list[list[str]] | None = None) -> Any:
    params = {
        "mode": "default",
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        "runConfigData": "{}",
        "selector": {
            **LOCATION,
            "pipelineName": job,
            "assetSelection": [{"path": name} for name in names] if names is not None else None,
        },
    }
    try:
        return web.ask(LAUNCH, {"params": params})["launchPipelineExecution"]
    except urllib.error.HTTPError as error:
        return {"refused": error.code, "why": error.read().decode()}


def written(web: Web) -> list[tuple[Any, ...]]:
    url = web.kpi("url", "instacart").stdout.strip()
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "select (select count(*) from ops.pipeline_runs), (select count(*) from ops.publishes), "
            "(select count(*) from ops.manifests), (select count(*) from ops.data_quality_results)"
        ).fetchall()


def secrets(web: Web) -> list[str]:
    """Return the secrets that no log, event or output may contain."""
    kept = json.loads((Path(web.environment["KPI_HOME"]) / "credentials.json").read_text())
    return [CANARY, *(value for name, value in kept.items() if "password" in name or "secret" in name)]


def test_each_odd_launch_fails_with_one_sentence_writes_nothing_and_stops_nothing(web: Web) -> None:
    launched = {name: launch(web, tags) for name, (tags, _) in ODD.items()}
    launched["no such job"] = launch(web, {}, job="nope")
    launched["no such asset"] = launch(web, {PARTITION: "2025-07-01"}, names=[["nope"]])
    launched["an asset without a name"] = launch(web, {PARTITION: "2025-07-01"}, names=[[]])
    launched["a recheck of no date"] = launch(web, {PARTITION: "2025-7-1"}, job="instacart_recheck")
    runs = {name: answer["run"]["runId"] for name, answer in launched.items() if "run" in answer}
    assert set(runs) == MADE
    assert not [secret for secret in secrets(web) if secret in json.dumps(launched)]
    told = {}
    for name, run_id in runs.items():
        assert web.final_status(run_id) == "FAILURE", name
        events = web.ask(LOGS, {"id": run_id})["logsForRun"]["events"]
        told[name] = {event["failureMetadata"]["description"] for event in events if event.get("failureMetadata")}
        assert not [secret for secret in secrets(web) if secret in json.dumps(events)], name
    for name in set(runs) & set(ODD):
        [sentence] = told[name]
        assert ODD[name][1] in sentence, name
        assert "\n" not in sentence
        assert len(sentence) < 300
    assert written(web) == [(0, 0, 0, 0)]

    eventually(lambda: "time: " in web.kpi("doctor").stdout, every=1)
    looked = web.kpi("doctor").stdout
    assert "stalled" not in looked
    assert "sensors and schedules that are on and worked the last time: 0" not in looked, "the alerts go on"
    home = Path(web.environment["KPI_HOME"])
    logs = [path for top in ("logs", "dagster") for path in (home / top).rglob("*") if path.is_file()]
    assert len(logs) >= 3
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [secret for secret in secrets(web) if secret in text], path


def test_a_pipeline_is_off_until_it_is_enabled_and_off_again_when_it_is_disabled(web: Web, tmp_path: Path) -> None:
    web.land("2025-05-01", tmp_path / "first")
    said = web.kpi("enable", "instacart")
    assert said.stdout == (
        "on instacart: instacart_sensor runs every 30 seconds.\nTo be built now: 1 load_date, 1 new.\n"
    )

    def published() -> bool:
        return web.materialized("marts.kpi_orders_by_dow") == ["2025-05-01"]

    eventually(published, every=1)
    assert web.kpi("disable", "instacart").stdout == "off instacart: instacart_sensor.\n"
    assert "instacart: automation is off" in web.kpi("status").stdout
