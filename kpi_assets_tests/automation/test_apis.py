"""The sensor starts runs of load_dates whose APIs are due, in the past too, and pauses while an API fails."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from kpi_assets.settings import settings
from kpi_assets_tests.automation.conftest import SensorHarness
from kpi_assets_tests.automation.test_sensor import age
from kpi_assets_tests.sales_api import SECRET, SalesPipeline

TODAY = datetime.now(timezone.utc).date()
PASSED = timedelta(hours=2)  # fetch_after_hours


@pytest.fixture
def harness(sales: SalesPipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[SensorHarness]:
    """Shops whose first load_date is four days ago; a tick compares today and the day before, and sweeps the rest."""
    monkeypatch.setenv("KPI_API_URLS", json.dumps({sales.name: dict.fromkeys(("north", "south"), sales.api.url)}))
    monkeypatch.setenv("KPI_API_SECRETS", json.dumps({sales.name: {"north": SECRET, "south": "south-secret-91bd"}}))
    settings.cache_clear()
    sales.words("automation: {settle_seconds: 0, look_back_days: 1, fetch_after_hours: 0}\n")
    path = sales.folder / "pipeline.yaml"
    path.write_text(path.read_text().replace("2025-01-01", str(TODAY - timedelta(days=4))))
    for entry in sales.store.entries(""):
        sales.s3.delete_object(Bucket=sales.bucket, Key=entry.key)
    sales.prepared()
    with sales.session() as session:
        session.execute("truncate ops.requests, ops.publishes, ops.pipeline_runs cascade")
    yield SensorHarness(sales)  # type: ignore[arg-type]
    settings.cache_clear()


def test_a_sensor_requests_every_load_date_whose_apis_are_due_the_oldest_first(harness: SensorHarness) -> None:
    requests = harness.tick()
    assert [request.partition_key for request in requests] == [str(TODAY - timedelta(days=n)) for n in (4, 3, 2, 1)]
    assert [request.tags["dagster/priority"] for request in requests] == ["0", "0", "0", "1"], "the latest goes first"
    assert [request.tags["kpi/state"] for request in requests] == ["new"] * 4
    assert harness.requested() == [], "each is claimed"
    run = harness.execute(requests[-1])
    assert run.success
    key = harness.keys("s3.north_sales")[0]
    [event] = [event for event in run.get_asset_materialization_events() if event.asset_key == key]
    shown = {name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()}
    assert (shown["api/records"], shown["api/total"], shown["api/pages"]) == (3, 3, 2)


@pytest.mark.nightly
def test_the_sensor_pauses_while_an_api_fails_and_then_asks_only_it(harness: SensorHarness) -> None:
    sales, day = harness.shop, TODAY - timedelta(days=1)
    assert isinstance(sales, SalesPipeline)
    sales.api.down = {"south"}
    requests = harness.tick()
    run = harness.execute(requests[-1])
    assert not run.success
    published = [key.path[1:] for key in (e.asset_key for e in run.get_asset_materialization_events()) if key]
    assert sorted(published) == [["raw", "north_sales"], ["s3", "north_sales"]]
    incident = f"select kind, details from ops.alerts where load_date = '{day}' and closed_at is null"
    for pause, longer in (("50 seconds", "20 seconds"), ("3 minutes", "2 minutes")):
        age(harness, pause)
        assert day not in harness.requested()
        age(harness, longer)
        [again] = [request for request in harness.tick() if request.partition_key == str(day)]
        assert again.tags["kpi/state"] == "failed"
        harness.execute(again)
    assert len(sales.rows(incident)) == 1
    sales.api.down = set()
    sales.api.asked.clear()
    age(harness, "17 minutes")
    [again] = [request for request in harness.tick() if request.partition_key == str(day)]
    assert harness.execute(again).success
    assert {shop for _, shop, _, _ in sales.api.asked} == {"south"}
    assert sales.rows(incident) == []


@pytest.mark.nightly
def test_a_backfill_of_a_range_fetches_each_load_date_that_is_over(harness: SensorHarness) -> None:
    sales = harness.shop
    assert isinstance(sales, SalesPipeline)
    days = [TODAY - timedelta(days=n) for n in (2, 1, 0)]
    harness.range(days[0], days[-1])
    assert harness.materialized("marts.all_sales") == list(map(str, days[:2]))
    assert sorted(set(sales.api.of("north"))) == [(str(day), page) for day in days[:2] for page in ("1", "2")]
    assert sales.status(days[-1], f"{days[-1]}T12:00").state == "missing"
    assert sales.rows(f"select job, status from ops.pipeline_runs where load_date = '{days[-1]}' order by job") == [
        ("s3.north_sales", "missing"),
        ("s3.south_sales", "missing"),
    ]
