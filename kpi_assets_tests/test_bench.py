"""The bench keeps working: at a small scale its contenders that need no tools of their own come to the same KPIs."""

import json
import subprocess
import sys
from pathlib import Path

from kpi_assets.settings import CHECKOUT


def test_contenders_come_to_the_same_kpis(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--orders", "3000", "--repeat", "1", "--contenders", "ours,old,duckdb"]
    done = subprocess.run(
        [*command, "--home", tmp_path, "--json", figures], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert report["orders"] == 3000
    assert [len(found["seconds"]) for found in report["contenders"].values()] == [1, 1, 1]
    assert set(report["contenders"]["ours"]["tables"][0]) >= {"raw.orders", "marts.kpi_products_reorder"}
