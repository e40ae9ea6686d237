"""A load_date of the demo's size, while all of `kpi up` runs: by `kpi run` from start to exit, and launched in the web
UI until its run has ended. What counts is the seconds: nobody else has such a stack to set beside.
"""

import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from bench.place import LOAD_DATE
from kpi_assets_tests.e2e.web import Web

ORDERS = 20_000
RUN, UI = "a day of 20,000 orders, kpi run", "a day of 20,000 orders, launched in the UI"
AIMS = {RUN: "<= 10 s", UI: "<= 15 s"}


def measure(files: Path, repeat: int, home: Path) -> dict[str, list[float]]:
    """Seconds of each, `repeat` times in turns, each of its own load_date. Raises RuntimeError where one fails."""
    seconds: dict[str, list[float]] = {RUN: [], UI: []}
    day = date.fromisoformat(LOAD_DATE)
    with tempfile.TemporaryDirectory(dir=home) as folder, Web.open(Path(folder)) as web:
        for _ in range(repeat):
            for way, found in seconds.items():
                web.kpi("land", "instacart", "--load-date", str(day), "--from", str(files))
                begun = time.perf_counter()
                if way == RUN:
                    is_well = web.kpi("run", "instacart", "--load-date", str(day)).returncode == 0
                else:
                    is_well = web.materialize(str(day)) == "SUCCESS"
                found.append(round(time.perf_counter() - begun, 2))
                if not is_well:
                    raise RuntimeError(f"{way}: {day} was not published.")
                day += timedelta(days=1)
    return seconds
