"""The daily digest: recorded once a day at its time, and delivered by the sensor `alerts` as alerts are."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from kpi_assets.automation import alerts as sensor
from kpi_assets.automation import digests
from kpi_assets.settings import settings
from kpi_assets_tests.alerts.receivers import Web
from kpi_assets_tests.assets.test_gates import run as materialize
from kpi_assets_tests.automation.test_alerts import TOLD, Ticks
from kpi_assets_tests.pipeline_harness import DAY, GOOD, PIPELINE_YAML, RAW_THINGS, PipelineHarness

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
MEASURES = "kpi: {chart: {x: name, y: thing_id}, measures: {things: {title: Things, value: count(*), unit: things}}}"


@pytest.fixture
def shop(things: PipelineHarness) -> PipelineHarness:
    """A pipeline with a measure and a digest at eight, whose load_date is published."""
    things.file("raw/things.sql", RAW_THINGS.replace("columns:", f"{MEASURES}\ncolumns:"))
    write_digest(things, "digest: 08:00")
    things.put_things(GOOD)
    assert materialize(things, dg.DagsterInstance.ephemeral()).success
    return things


def write_digest(lab: PipelineHarness, word: str) -> None:
    lab.file("pipeline.yaml", f"{PIPELINE_YAML.format(bucket=lab.bucket)}automation: {{{word}}}\n")


def recorded(lab: PipelineHarness) -> list[tuple[object, ...]]:
    return lab.rows(
        "select details, load_date, closed_at is not null from ops.alerts where kind = 'digest' order by id"
    )


def at(lab: PipelineHarness, hour: int, minute: int = 0) -> bool:
    return digests.record_due(lab.server, lab.pipeline(), NOON.replace(hour=hour, minute=minute))


def test_a_digest_is_recorded_once_a_day_and_not_before_its_time(shop: PipelineHarness) -> None:
    today = datetime.now(timezone.utc)
    server, pipeline = shop.server, shop.pipeline()
    assert not digests.record_due(server, pipeline, today.replace(hour=7, minute=59))
    assert recorded(shop) == []
    assert [digests.record_due(server, pipeline, today.replace(hour=hour)) for hour in (8, 8, 23)] == [
        True,
        False,
        False,
    ]
    [(details, load_date, closed)] = recorded(shop)
    assert isinstance(details, list)
    assert details[1:] == ["▪ things", f"Things: 2 things; {details[2].rpartition('; ')[2]}"]
    assert (load_date, closed) == (None, True), "no question about open incidents finds it"
    assert digests.record_due(server, pipeline, today.replace(hour=9) + timedelta(days=1))


@pytest.mark.nightly
def test_without_the_word_or_without_measures_nothing_is_recorded(shop: PipelineHarness) -> None:
    write_digest(shop, "start: none")
    assert not at(shop, 23)
    write_digest(shop, "digest: 00:00")
    shop.file("raw/things.sql", RAW_THINGS)
    assert not at(shop, 23)
    assert recorded(shop) == []


@pytest.fixture
def web(stack: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A receiver of alerts that the settings name, with the address of the pages."""
    with Web.open() as receiver:
        monkeypatch.setenv("KPI_ALERT_WEBHOOK_URL", receiver.url)
        monkeypatch.setenv("KPI_SERVE_URL", "https://kpi.example.com")
        settings.cache_clear()
        yield receiver
    monkeypatch.undo()
    settings.cache_clear()


def test_the_sensor_sends_the_digest_to_each_channel_once(shop: PipelineHarness, web: Web) -> None:
    write_digest(shop, "digest: 00:00")
    tick = Ticks(shop, dg.DagsterInstance.ephemeral())
    assert [tick(), tick()] == [TOLD, TOLD]
    [body] = [body for body in web.bodies if body["kind"] == "digest"]
    assert body["title"] == f"{shop.name}: the numbers of {DAY:%a} {DAY.day} {DAY:%b}"
    assert body["details"][1].startswith("Things: 2 things; ")
    assert body["link"] == f"https://kpi.example.com/pipelines/{shop.name}"


@pytest.mark.nightly
def test_without_a_channel_no_digest_is_recorded(
    shop: PipelineHarness, monkeypatch: pytest.MonkeyPatch, stack: object
) -> None:
    monkeypatch.setenv("KPI_ALERT_LOG", "false")
    settings.cache_clear()
    write_digest(shop, "digest: 00:00")
    sensor.tick([shop.pipeline()], [])
    monkeypatch.undo()
    settings.cache_clear()
    assert recorded(shop) == []
