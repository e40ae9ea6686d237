"""`python -m bench.surface`: many readers of `kpi serve` at once, also while a load_date is published, on one machine.

The readers are a process of their own on the same cores (bench/readers.py). All that they were told is compared with
what the server of the data had at each publish (bench/shop.py): an answer counts only if its rows are exactly those of
the publish that it names.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import urllib3
from rich.console import Console
from rich.table import Table as Grid

from bench import shop
from bench.__main__ import machine
from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import CHECKOUT

DAY = "2025-06-01"
SMALL_DAY = "2025-06-02"
OVERVIEW, UNCHANGED, API, WHILE = "overview, kept", "overview, 304", "/api/v1/kpis, kept", "rows while publishing"
LISTENED = "overview, kept, with event streams"
STREAMS = 50  # as many as one reader may open
# Goals, each with the function that says whether a figure meets it.
AIMS = {
    "overview, kept": (">= 250 a second, p99 < 500 ms", lambda f: f["a_second"] >= 250 and f["p99_ms"] < 500),
    "overview, 304": ("faster than 200", lambda f: f["a_second"] > f["kept"]),
    LISTENED: (">= 0.9 of that without", lambda f: f["a_second"] >= 0.9 * f["kept"]),
    "rows while publishing": ("0 errors, 0 mixed", lambda f: not f["errors"] and not f["mixed"]),
    "page of a KPI": ("< 150 kB", lambda f: f["bytes"] < 150_000),
    "memory": ("< 150 MB", lambda f: f["mb"] < 150),
    "start": ("< 2 s", lambda f: f["seconds"] < 2),
}
out = Console(highlight=False)


class Served:
    """A running `kpi serve`."""

    def __init__(self, environment: dict[str, str]) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.pool = urllib3.PoolManager()
        begun = time.perf_counter()
        command = [sys.executable, "-m", "kpi_assets.cli", "serve", "--port", str(port)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self.answers = self._until("/healthz", begun)
        self.first_page = self._until("/", begun)

    def _until(self, path: str, begun: float) -> float:
        while True:
            if self.process.poll() is not None or time.perf_counter() - begun > 60:
                sys.exit("kpi serve does not answer.")
            try:
                if self.pool.request("GET", self.url + path, retries=False, timeout=30).status == 200:
                    return round(time.perf_counter() - begun, 2)
            except urllib3.exceptions.HTTPError:
                time.sleep(0.01)

    def get(self, path: str) -> tuple[float, int]:
        """Return the seconds and the bytes of one answer that is not packed."""
        begun = time.perf_counter()
        found = self.pool.request("GET", self.url + path, timeout=60)
        if found.status != 200:
            sys.exit(f"{path}: {found.status} {found.data[:300]!r}")
        return round(time.perf_counter() - begun, 3), len(found.data)

    @contextmanager
    def listened(self) -> Iterator[None]:
        """Keep event streams open until the end of the context."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        with ExitStack() as opened:
            for _ in range(STREAMS):
                stream = opened.enter_context(socket.create_connection((host, int(port)), timeout=30))
                stream.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
                if b" 200 " not in stream.recv(4096):
                    sys.exit("An event stream was refused.")
            yield

    @property
    def memory(self) -> float:
        """Return its resident memory in MB."""
        return round(psutil.Process(self.process.pid).memory_info().rss / 1e6, 1)


@contextmanager
def served(environment: dict[str, str]) -> Iterator[Served]:
    """Run `kpi serve` until the end of the context."""
    found = Served(environment)
    try:
        yield found
    finally:
        found.process.terminate()
        found.process.wait(20)


class Bench:
    """The servers, and how programs are called there."""

    def __init__(self, environment: dict[str, str], options: argparse.Namespace) -> None:
        self.environment, self.options = environment, options

    def call(self, *words: str) -> str:
        """Run a module of Python and return its output."""
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, cwd=CHECKOUT)
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def prepare(self) -> None:
        """Make all databases, and a KPI with many load_dates and many rows."""
        out.print("making the databases ...")
        self.call("kpi_assets.cli", "bootstrap")
        out.print(f"publishing {self.options.customers:,} rows, and a past of {self.options.load_dates} load_dates ...")
        self.call("bench.shop", "publish", DAY, str(self.options.customers), "1")
        self.call("bench.shop", "past", DAY, str(self.options.load_dates - 1))

    def read(self, serving: Served, path: str, *words: str) -> dict[str, Any]:
        """Let the readers ask for one address."""
        sizes = ["--connections", str(self.options.connections), "--requests", str(self.options.requests)]
        found: dict[str, Any] = json.loads(self.call("bench.readers", serving.url, path, *sizes, *words))
        return found

    def while_publishing(self, serving: Served, over: Path) -> dict[str, Any]:
        """Replace a load_date again and again while the readers ask for its rows; compare all that they were told."""
        first = json.loads(self.call("bench.shop", "publish", SMALL_DAY, "700", "1"))
        path = f"/api/v1/kpis/{shop.NAME}/{shop.SMALL}/rows?load_date={SMALL_DAY}"
        sizes = ["--connections", str(self.options.connections), "--requests", str(self.options.requests)]
        command = [sys.executable, "-m", "bench.readers", serving.url, path, *sizes, "--rows", "--until", str(over)]
        command += ["--encoding", "identity"]
        with subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
        ) as readers:
            published = json.loads(self.call("bench.shop", "publish", SMALL_DAY, "700", str(self.options.publishes)))
            over.touch()
            found: dict[str, Any] = json.loads(readers.communicate()[0])
        expected = {str(each["publish_id"]): each["rows"] for each in [*first, *published]}
        mixed = 0
        for publish_id, answers in found.pop("publishes").items():
            for rows, count in answers.items():
                named = [{**row, "amount": str(row["amount"])} for row in json.loads(rows)]
                mixed += 0 if named == expected[publish_id] else count
            found.setdefault("seen", []).append([int(publish_id), sum(answers.values())])
        return {**found, "published": len(expected), "mixed": mixed}

    def run(self, scratch: Path) -> dict[str, Any]:
        """Measure everything."""
        self.prepare()
        with served(self.environment) as serving:
            page = f"/kpi/{shop.NAME}/{shop.LARGE}?load_date={DAY}"
            seconds, size = serving.get(page)
            found: dict[str, Any] = {
                "start": {"seconds": serving.answers, "first_page": serving.first_page},
                "page of a KPI": {"bytes": size, "seconds": seconds, "again": serving.get(page)[0]},
                "its whole past": dict(zip(("seconds", "bytes"), serving.get(f"{page}&from=2024-01-01"), strict=True)),
            }
            for name, path, words in (
                (OVERVIEW, "/", ()),
                (UNCHANGED, "/", ("--tagged",)),
                (API, "/api/v1/kpis", ()),
            ):
                out.print(f"{self.options.connections} readers: {name} ...")
                found[name] = self.read(serving, path, *words)
            out.print(f"{self.options.connections} readers: {LISTENED} ...")
            with serving.listened():
                found[LISTENED] = self.read(serving, "/")
            for name in (UNCHANGED, LISTENED):
                found[name]["kept"] = found[OVERVIEW]["a_second"]
            out.print(f"{self.options.connections} readers: {WHILE} ...")
            found[WHILE] = self.while_publishing(serving, scratch / "over")
            found["memory"] = {"mb": serving.memory}
        return found


def main() -> None:
    """Measure, print, and exit with an error if an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.surface", description=__doc__)
    parser.add_argument("--connections", type=int, default=100, help="readers at once")
    parser.add_argument("--requests", type=int, default=10_000, help="requests of each part")
    parser.add_argument("--customers", type=int, default=50_000, help="rows of the large KPI")
    parser.add_argument("--load-dates", type=int, default=400, help="load_dates of its past")
    parser.add_argument("--publishes", type=int, default=12, help="how often a load_date is replaced while it is read")
    parser.add_argument("--home", type=Path, default=Path(".bench"), help="folder of the servers")
    parser.add_argument("--json", type=Path, help="file for the figures, as JSON")
    options = parser.parse_args()
    home = options.home.resolve() / "surface"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    shutil.copytree(CHECKOUT / "sql", home / "sql")
    shop.write(home / "sql")
    with Stack(home / "home") as stack, tempfile.TemporaryDirectory(dir=home) as scratch:
        stack.make_bucket("kpi-readers")
        environment = {**os.environ, **stack.environment(), "KPI_SQL_DIR": str(home / "sql")}
        report = {"machine": machine(), **Bench(environment, options).run(Path(scratch))}
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if report[WHILE]["mixed"] or report[WHILE]["errors"] or set(report[WHILE]["statuses"]) != {"200"}:
        sys.exit("An answer was wrong, so the figures do not count.")


def show(report: dict[str, Any]) -> None:
    """Print a table."""
    grid = Grid(title=f"kpi serve; {report['machine']['cores']} cores, which the readers share")
    for name in ("what", "figures", "aim", "met"):
        grid.add_column(name)
    for name, figures in report.items():
        if name == "machine":
            continue
        aim, is_met = AIMS.get(name, ("", None))
        shown = {key: value for key, value in figures.items() if value not in ({}, [])}
        grid.add_row(name, json.dumps(shown), aim, "" if is_met is None else "yes" if is_met(figures) else "no")
    out.print(grid)


if __name__ == "__main__":
    main()
