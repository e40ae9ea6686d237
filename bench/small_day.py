"""A load_date of the demo's size while `kpi up` runs: by `kpi run`, and launched in the web UI.

Each is timed until it has ended. Nothing is compared, because no other contender has such a stack.
"""

import subprocess
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from bench.context import LOAD_DATE
from kpi_assets_tests.cli.forked import KPI
from kpi_assets_tests.e2e.web import Web

ORDERS = 20_000
RUN, UI = "a day of 20,000 orders, kpi run", "a day of 20,000 orders, launched in the UI"
AIMS = {RUN: "<= 10 s", UI: "<= 15 s"}


def measure(files: Path, repeat: int, home: Path) -> dict[str, list[float]]:
    """Run both ways `repeat` times in turns, each on its own load_date, and return the seconds.

    Raises RuntimeError if a run fails.
    """
    seconds: dict[str, list[float]] = {RUN: [], UI: []}
    day = date.fromisoformat(LOAD_DATE)
    with tempfile.TemporaryDirectory(dir=home) as folder, Web.open(Path(folder)) as web:
        for _ in range(repeat):
            for way, found in seconds.items():
                web.kpi("land", "instacart", "--load-date", str(day), "--from", str(files))
                begun = time.perf_counter()
                is_well = _run(web, day) if way == RUN else web.materialize(str(day)) == "SUCCESS"
                found.append(round(time.perf_counter() - begun, 2))
                if not is_well:
                    raise RuntimeError(f"{way}: {day} was not published.")
                day += timedelta(days=1)
    return seconds


def _run(web: Web, day: date) -> bool:
    """Whether `kpi run` published, in a process of its own as a shell starts it: imports are part of its time."""
    command = [KPI, "run", "instacart", "--load-date", str(day)]
    ended = subprocess.run(command, env=web.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return ended.returncode == 0
