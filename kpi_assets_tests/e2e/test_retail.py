"""`kpi up` with the pipeline retail alone: one retailer is down, comes up again, and its load_date heals by itself."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.cli.command import Kpi
from kpi_assets_tests.e2e.web import Web
from kpi_assets_tests.machine import eventually

DAY = datetime.now(timezone.utc).date() - timedelta(days=1)
AUTOMATION = "automation: {start: sensor, interval_seconds: 5, settle_seconds: 0, fetch_after_hours: 0}\n"
STATUSES = "select status from ops.pipeline_runs where job = %s and load_date = %s order by started_at"
PUBLISHED = "select asset from ops.published where load_date = %s order by 1"
SAMPLE = ("sample", "retail", "--load-date", str(DAY), "--orders", "50")
RETAILERS = [f"retailer_{number}" for number in (1, 2, 3)]


@pytest.fixture
def retail(tmp_path: Path) -> Iterator[Web]:
    """`kpi up` with a tree that holds only retail and begins with yesterday; its sensor is on, and retailer_2 down."""
    folder = tmp_path
    shutil.copytree(CHECKOUT / "sql" / "retail", folder / "mine" / "retail")
    path = folder / "mine" / "retail" / "pipeline.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("automation:", "start_date:"))]
    path.write_text("\n".join([*lines, f"start_date: {DAY}", AUTOMATION]))
    places = {"KPI_SQL_DIR": str(folder / "mine")}
    Kpi(folder / "home", folder, **places)(*SAMPLE, "--fault", "retailer_2_html")
    with Web.open(folder, **places) as started:
        yield started


@pytest.mark.nightly
def test_a_retailer_that_comes_up_again_heals_its_load_date_by_itself(retail: Web) -> None:
    def rows(query: str, *values: object) -> list[str]:
        with psycopg.connect(retail.kpi("url", "retail").stdout.strip()) as connection:
            return [str(value) for (value,) in connection.execute(query, values).fetchall()]

    # The sensor has started the load_date: what the others gave is published, and nothing that reads all three.
    eventually(lambda: rows(STATUSES, "retail", DAY) == ["failed"])
    assert [rows(STATUSES, f"s3.{name}_sales", DAY) for name in RETAILERS] == [["success"], ["failed"], ["success"]]
    published = rows(PUBLISHED, DAY)
    assert [name for name in published if name.startswith("raw.")] == ["raw.retailer_1_sales", "raw.retailer_3_sales"]
    assert not {"staging.sales", "warehouse.fact_sales", "warehouse.kpi_sales_day"} & {*published}
    [error] = rows("select error_message from ops.pipeline_runs where job = 's3.retailer_2_sales'")
    assert "API retailer_2 of retail" in error
    asked = rows("select etag from ops.manifests where object = 'retailer_1_sales'")

    assert retail.kpi(*SAMPLE).returncode == 0
    # The minute after a first failure is over, as the warehouse sees it.
    with psycopg.connect(retail.kpi("url", "retail").stdout.strip()) as connection:
        connection.execute("update ops.requests set requested_at = requested_at - interval '1 minute'")
    eventually(lambda: "warehouse.kpi_sales_day" in rows(PUBLISHED, DAY))
    eventually(lambda: rows(STATUSES, "retail", DAY) == ["failed", "success"])
    assert rows(STATUSES, "s3.retailer_2_sales", DAY) == ["failed", "success"]
    assert rows("select etag from ops.manifests where object = 'retailer_1_sales'") == asked, "it was not asked again"
    counts = "select count(*) from warehouse.fact_sales group by retailer_id order by retailer_id"
    assert [int(count) > 50 for count in rows(counts)] == [True] * 3
