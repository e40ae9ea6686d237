"""`python -m bench.backfill`: measure `kpi backfill` over 400 small load_dates, on a server that allows 25 sessions.

Makes servers, a pipeline of two tables and its objects in a folder of its own. Measures from outside of the command
the sessions on the server, the memory of the process, and the time from one load_date's start to the next. Exits with 1
if a load_date was not published, or if the last load_dates took more sessions, or a tenth more CPU, than the first.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console

from bench.objects import put_objects
from bench.ours import KPI
from kpi_assets.embedded.stack import Stack

out = Console(highlight=False)

FIRST = date(2024, 1, 1)
NAME, BUCKET = "small", "kpi-small"
SESSIONS = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
STARTS = "select started_at from ops.pipeline_runs where job = %s and status = 'success' order by started_at"
FILES = {
    "pipeline.yaml": f"""\
description: A pipeline of the bench.
bucket: {BUCKET}
start_date: {FIRST}
layers: {{raw: raw, marts: marts}}
""",
    "raw/things.sql": """\
/* @asset
description: Things as delivered.
owner: team:bench
grain: [thing_id]
source: {object: "raw/things/load_date={load_date}/things.csv", format: csv}
columns:
  thing_id: {type: integer, description: Thing.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
@end */
""",
    "marts/heavy.sql": """\
/* @asset
description: Things and their weight.
owner: team:bench
grain: [things]
kpi: {chart: {x: things, y: weight}}
columns:
  things: {type: bigint, description: How many.}
  weight: {type: numeric, description: Kilograms.}
@end */
select count(*) as things, sum(weight) as weight
from raw.things
where load_date = %(load_date)s
""",
}


@dataclass
class Watched:
    """Measurements taken while the command runs: (time, sessions, bytes of memory, seconds of CPU).

    The CPU time of a session of the server counts once the session has ended.
    """

    server: str
    process: psutil.Process
    seen: list[tuple[float, int, int, float]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            postmaster = psutil.Process(connection.info.backend_pid).parent()
            assert postmaster is not None
            while not self.ended.wait(0.05):
                with suppress(psutil.NoSuchProcess):
                    memory, ours, theirs = (
                        self.process.memory_info().rss,
                        self.process.cpu_times(),
                        postmaster.cpu_times(),
                    )
                    spent = ours.user + ours.system + theirs.children_user + theirs.children_system
                    [(sessions,)] = connection.execute(SESSIONS).fetchall()
                    self.seen.append((time.time(), sessions, memory, spent))

    def between(self, start: float, end: float) -> tuple[int, int, float]:
        """Return the peak of sessions, the peak of memory, and the CPU spent in a time span."""
        found = [entry for entry in self.seen if start <= entry[0] < end]
        spent = found[-1][3] - found[0][3]
        return max(entry[1] for entry in found), max(entry[2] for entry in found), spent


@contextmanager
def servers_and_objects(home: Path, load_dates: Sequence[date], sessions: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a server that allows that many sessions, and write all objects. Yield its URL and the environment."""
    shutil.rmtree(home, ignore_errors=True)
    for name, text in FILES.items():
        path = home / "sql" / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with Stack(home / "home") as stack:
        with psycopg.connect(stack.environment()["KPI_POSTGRES_URL"], autocommit=True) as connection:
            connection.execute(f"alter system set max_connections = {sessions}".encode())
        objects = {
            f"raw/things/load_date={day}/things.csv": f"thing_id,weight\n1,{number}.25\n2,\n".encode()
            for number, day in enumerate(load_dates)
        }
        put_objects(stack, BUCKET, objects)
    with Stack(home / "home") as stack:
        environment = {**stack.environment(), "KPI_SQL_DIR": str(home / "sql"), "KPI_S3_BUCKET": BUCKET}
        yield environment["KPI_POSTGRES_URL"], {**os.environ, **environment}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backfill", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".bench/backfill"), help="folder of servers and objects")
    parser.add_argument("--load-dates", type=int, default=400)
    parser.add_argument("--sessions", type=int, default=25, help="max_connections of the server")
    options = parser.parse_args()
    days = [FIRST + timedelta(days=n) for n in range(options.load_dates)]
    with servers_and_objects(options.home.resolve(), days, options.sessions) as (server, environment):
        command = [KPI, "backfill", NAME, "--from", str(days[0]), "--to", str(days[-1])]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        watched = Watched(server, psutil.Process(process.pid))
        watcher = threading.Thread(target=watched.watch)
        watcher.start()
        try:
            _, errors = process.communicate()
        finally:
            watched.ended.set()
            watcher.join()
        with psycopg.connect(make_conninfo(server, dbname=NAME)) as connection:
            starts = [at.timestamp() for (at,) in connection.execute(STARTS, [NAME])]
    if process.returncode or len(starts) != len(days):
        out.print(f"exit code {process.returncode}; {len(starts)} of {len(days)} published", markup=False)
        out.print("\n".join(errors.splitlines()[-3:]), markup=False)
    sys.exit(report(watched, starts) or process.returncode)


def report(watched: Watched, starts: Sequence[float]) -> int:
    """Print the figures of the first and the last twenty load_dates. Return 1 if the last took more, else 0."""
    found = []
    for name, part in (("first", starts[1:22]), ("last", starts[-21:])):
        sessions, memory, spent = watched.between(part[0], part[-1])
        seconds, cpu = statistics.median(b - a for a, b in pairwise(part)), spent / (len(part) - 1)
        found.append((sessions, cpu))
        out.print(
            f"the {name} 20: {seconds:.2f} s for each load_date, {cpu:.2f} s of it CPU; at most {sessions} sessions, "
            f"{memory >> 20} MB",
            soft_wrap=True,
        )
    (few, quick), (many, slow) = found
    return int(many > few or slow > 1.1 * quick)


if __name__ == "__main__":
    main()
