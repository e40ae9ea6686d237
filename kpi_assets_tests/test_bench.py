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


def test_the_bench_of_histories_makes_the_versions_of_a_long_one_as_folds_do(tmp_path: Path) -> None:
    figures = tmp_path / "versions.json"
    sizes = ["--customers", "500", "--load-dates", "12", "--long", "40", "--large", "1000", "--sales", "700"]
    command = [sys.executable, "-m", "bench.versions", *sizes, "--repeat", "2", "--without-dbt"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr  # it exits if a late load_date leaves other versions
    report = json.loads(figures.read_text())
    moves = [sum((last + k % 100) // 100 for k in range(1, 501)) for last in (13, 41)]
    assert [report[name]["versions"] for name in ("short", "long")] == [500 + moved for moved in moves]
    assert [report["joins"][name]["rows"] for name in ("current", "as of the sale")] == [700, 700]
    assert report["large"]["large"]["memory_mb"] > 50


def test_the_bench_of_apis_fetches_all_records(tmp_path: Path) -> None:
    figures = tmp_path / "apis.json"
    sizes = ["--records", "1200", "--load-dates", "2", "--sales", "50", "--repeat", "1"]
    command = [sys.executable, "-m", "bench.apis", *sizes, "--without-dlt", "--home", tmp_path, "--json", figures]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # it exits if a way has other records, or less is published
    report = json.loads(figures.read_text())
    assert [len(seconds) for seconds in report["pages"]["seconds"].values()] == [1, 1]
    assert [50 < rows / 2 < 150 for rows in report["backfill"]["rows"].values()] == [True] * 3
    assert report["backfill"]["fetching"] > 0


def test_the_bench_of_readers_finds_no_wrong_answer(tmp_path: Path) -> None:
    figures = tmp_path / "surface.json"
    sizes = [
        "--connections",
        "20",
        "--requests",
        "500",
        "--customers",
        "2000",
        "--load-dates",
        "30",
        "--publishes",
        "3",
    ]
    command = [sys.executable, "-m", "bench.surface", *sizes, "--home", tmp_path, "--json", figures]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())["rows while publishing"]
    assert (found["errors"], found["mixed"], found["published"]) == ({}, 0, 4)
    assert found["answers"] >= 500


def test_the_bench_of_ticks_takes_all_that_is_landed(tmp_path: Path) -> None:
    figures = tmp_path / "ticks.json"
    command = [sys.executable, "-m", "bench.ticks", "--events", "200000", "--ticks", "3"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr  # it exits if ticks have not taken what was landed
    report = json.loads(figures.read_text())
    assert 190_000 < report["events"] < 200_000
    assert [len(report[name]) for name in ("full", "empty")] == [3, 3]


def test_the_bench_of_realtime_finds_an_age_for_each_publish(tmp_path: Path) -> None:
    figures = tmp_path / "realtime.json"
    sizes = ["--rate", "200", "--minutes", "0.5", "--warm-up", "1.5", "--burst", "3", "--burst-minutes", "0.2"]
    command = [sys.executable, "-m", "bench.realtime", *sizes, "--home", tmp_path, "--json", figures]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert report["steady"]["publishes"] > 3
    assert 0 < report["steady"]["age_p50"] <= report["steady"]["age_p99"]
    assert min(report["steady"][f"cpu_{part}"] for part in ("landing", "builder", "sessions")) > 0
    assert report["burst"]["events_of_all"] > 200 * 120


def test_the_bench_of_waivers_publishes_by_a_ruling(tmp_path: Path) -> None:
    figures = tmp_path / "waived.json"
    command = [sys.executable, "-m", "bench.waived", "--orders", "2000", "--repeat", "2"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr  # it exits if a build was not published as it was to be
    report = json.loads(figures.read_text())
    for what in ("publish", "build"):
        assert {name: len(seconds) for name, seconds in report[what]["seconds"].items()} == {"passed": 2, "waived": 2}


def test_the_bench_of_comparisons_finds_what_differs(tmp_path: Path) -> None:
    figures = tmp_path / "diff.json"
    command = [sys.executable, "-m", "bench.diff", "--rows", "20000", "--repeat", "2"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr  # it exits if a way finds other numbers of keys
    report = json.loads(figures.read_text())
    assert report["differing"] == 2 + 2 + 10
    assert [len(seconds) for seconds in report["seconds"].values()] == [2, 2, 2]


def test_the_bench_of_rollbacks_finds_no_reader_that_sees_a_mix(tmp_path: Path) -> None:
    figures = tmp_path / "rollback.json"
    command = [sys.executable, "-m", "bench.rollback", "--lines", "2000", "--repeat", "1", "--readers", "2"]
    done = subprocess.run([*command, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # it exits if a reader sees a mix
    report = json.loads(figures.read_text())
    assert (report["tables"], report["mixed"]) == (14, 0)
    assert report["reads"] > 0
    assert 0 < report["locked_median"] < report["total_median"]


def test_the_bench_of_erasures_writes_the_objects_again_that_hold_a_person(tmp_path: Path) -> None:
    figures = tmp_path / "erase.json"
    command = [sys.executable, "-m", "bench.erase", "--load-dates", "4", "--holding", "1", "3", "--rows", "3000"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert [(each["records"], each["objects"]) for each in report["erasures"]] == [(3, 1), (9, 3)]
    assert {*report["erasures"][0]["seconds"]} == {"count", "rewrite", "build", "prove"}
