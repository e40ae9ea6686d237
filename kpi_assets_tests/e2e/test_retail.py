"""`kpi up` with the pipeline retail alone: one retailer is down, comes up again, and its load_date heals by itself."""

import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import psycopg
import pytest

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.e2e.web import Web
from kpi_assets_tests.machine import eventually

DAY = datetime.now(timezone.utc).date() - timedelta(days=1)
AUTOMATION = "automation: {start: sensor, interval_seconds: 5, settle_seconds: 0, fetch_after_hours: 0}\n"
STATUSES = "select status from ops.pipeline_runs where job = %s and load_date = %s order by started_at"
PUBLISHED = "select asset from ops.published where load_date = %s order by 1"
RETAILERS = [f"retailer_{number}" for number in (1, 2, 3)]


def sample(web: Web, *faults: str) -> None:
    """Book the sales of the load_date, and plant faults of HTTP; without any the retailers work again."""
    words = ["--load-date", str(DAY), "--orders", "50", *(word for fault in faults for word in ("--fault", fault))]
    done = web.kpi("sample", "retail", *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """`kpi up` with a tree that holds only retail and begins with yesterday; its sensor is on."""
    folder = tmp_path_factory.mktemp("retail")
    shutil.copytree(CHECKOUT / "sql" / "retail", folder / "mine" / "retail")
    path = folder / "mine" / "retail" / "pipeline.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("automation:", "start_date:"))]
    path.write_text("\n".join([*lines, f"start_date: {DAY}", AUTOMATION]))
    with Web.open(folder, KPI_SQL_DIR=str(folder / "mine")) as started:
        yield started
