"""The benches work at a small scale, with the contenders that need no tools of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kpi_assets.settings import CHECKOUT

pytestmark = pytest.mark.nightly


def test_a_tick_requests_exactly_the_runs_that_are_needed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.sensor", "--load-dates", "450", "--home", tmp_path]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    needed = [len(range(every - 1, 450, every)) for every in (97, 101, 107)]  # new, replaced, failed
    assert f"runs requested: {sum(needed)}, exactly those needed" in done.stdout
    assert "runs requested: 0, exactly those needed" in done.stdout


def test_contenders_compute_the_same_kpis(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        "-m",
        "bench",
        "--orders",
        "3000",
        "--repeat",
        "1",
        "--contenders",
        "ours,old,duckdb,duckdb-gated,managed",
    ]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert report["orders"] == 3000
    assert [len(found["seconds"]) for found in report["contenders"].values()] == [1] * 5
    assert [len(seconds) for seconds in report["small_day"].values()] == [1, 1]
    assert set(report["contenders"]["ours"]["tables"][0]) >= {"raw.orders", "marts.kpi_products_reorder"}


def test_the_growth_bench_measures_rows_and_sessions(tmp_path: Path) -> None:
    figures = tmp_path / "growth.json"
    command = [sys.executable, "-m", "bench.growth", "--orders", "4000", "--load-dates", "3", "--orders-a-day", "300"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert len(report["load_dates"]["seconds"]) == 3
    assert report["rows"]["whole"]["rows"] - report["rows"]["half"]["rows"] > 3 * 2000, (
        "the added orders are in raw, staging and facts"
    )
    assert report["rows"]["whole"]["disk_of_published"] >= 1
    assert 100 < report["rows"]["whole"]["client_mb"] < 300
    assert report["rows"]["whole"]["sessions_mb"] > 10


def test_the_bench_of_rules_sets_rows_aside(tmp_path: Path) -> None:
    figures = tmp_path / "rules.json"
    command = [sys.executable, "-m", "bench.rules", "--orders", "3000", "--repeat", "1"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ruled" in done.stdout
    assert "2997 rows" in " ".join(done.stdout.split()), "three of them break a rule"
    assert json.loads(figures.read_text())["ratio"] > 0
