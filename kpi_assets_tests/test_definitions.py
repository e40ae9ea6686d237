"""The whole code location: its content, and that it loads from its files alone."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.engine import make_url

from kpi_assets.assets.metadata import object_key
from kpi_assets.assets.resources import plain_s3
from kpi_assets.definitions import build_defs
from kpi_assets.instance.folder import storage_url
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets_tests import shipped
from kpi_assets_tests.graph import describe
from kpi_assets_tests.shipped import ADDED

KEYS = [f"instacart/{name.replace('.', '/')}" for name in ADDED]  # of files that a reader of the README added
SNAPSHOT = Path(__file__).with_name("graph.txt")


def test_the_graph_is_the_one_in_the_snapshot() -> None:
    told, added = [], False
    for line in describe(build_defs({"s3": plain_s3})):
        added = line.split(" ")[0] in KEYS if not line.startswith(" ") else added
        told += [] if added else [line]
    assert told == SNAPSHOT.read_text().splitlines(), (
        "the asset graph changed: if that is meant, python -m kpi_assets_tests.graph > kpi_assets_tests/graph.txt"
    )


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(build_defs({"s3": plain_s3}))


def test_the_alerts_sensor_is_on_by_default_and_ticks_each_minute() -> None:
    [sensor] = [each for each in build_defs({"s3": plain_s3}).sensors or [] if each.name == "alerts"]
    assert (sensor.default_status, sensor.minimum_interval_seconds) == (dg.DefaultSensorStatus.RUNNING, 60)


def test_every_table_has_a_blocking_gate() -> None:
    graph = build_defs({"s3": plain_s3}).resolve_asset_graph()
    ungated = [
        key for key in graph.get_all_asset_keys() if not any(graph.get(c).blocking for c in graph.get(key).check_keys)
    ]
    pipelines = shipped.PIPELINES.values()
    tables = [table for each in pipelines for table in (*each.tables.values(), *each.live.values())]
    without_checks = [dg.AssetKey(table.key) for table in tables if not table.storage.has_checks]
    streams = [object_key(table) for table in tables if table.stream]  # judged by the gates of their raw tables
    assert sorted(ungated) == sorted([*without_checks, *streams])


@pytest.mark.nightly
@pytest.mark.process
def test_the_code_location_imports_no_boto3_and_no_dagster_aws() -> None:
    """Every run is a process that imports it, and a live run stays for an hour."""
    program = "import sys\nfrom kpi_assets.definitions import build_defs\nbuild_defs()\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert {"dagster", "psycopg"} <= {*done.stdout.split()}
    assert {"boto3", "botocore", "dagster_aws"}.isdisjoint(done.stdout.split())


@pytest.mark.nightly
@pytest.mark.process
def test_the_workspace_loads_without_any_server_or_setting() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("KPI_", "AWS_", "DAGSTER_"))}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(CHECKOUT / "workspace.yaml")]
    done = subprocess.run(command, cwd=CHECKOUT, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_instance_connects_with_psycopg2() -> None:
    """For postgresql:// SQLAlchemy 2.1 takes psycopg 3, with which dagster-postgres fails on every event."""
    url = storage_url(Settings(postgres_url="postgresql://someone:p%40ss@db.internal:6543/main"))
    parsed = make_url(url)
    assert parsed.drivername == "postgresql+psycopg2"
    assert (parsed.database, parsed.port, parsed.password) == ("dagster", 6543, "p@ss")
    assert parsed.get_dialect()().driver == "psycopg2"
