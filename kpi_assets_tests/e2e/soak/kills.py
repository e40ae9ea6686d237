"""The third act: three pipelines at once, while runs, services and servers are killed at random.

Belongs here: what lands when, what is killed, and starting again what has ended. Not here: who reads meanwhile
(readers.py), and what must be true in the end (verdict.py).
"""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import psutil

from kpi_assets.embedded.stack import Stack, status
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.cli.command import Kpi
from kpi_assets_tests.e2e.soak import verdict
from kpi_assets_tests.e2e.soak.readers import reading
from kpi_assets_tests.e2e.soak.saying import say, until
from kpi_assets_tests.e2e.web import Web
from kpi_assets_tests.machine import is_alive

AUTOMATION = (
    "automation: {start: sensor, interval_seconds: 5, settle_seconds: 0, look_back_days: 3660, fetch_after_hours: 0}"
)
# Words of command lines. A run is killed as often as all others together.
RUN, SUPERVISOR = "a run", "kpi up"
KINDS = {"instance.web": "the web UI", "_daemon": "the daemon", "grpc": "a code server", "spawn_main": RUN}
LEAST_PAUSE, MOST_PAUSE = 2.0, 12.0  # seconds between two kills
STARTS = 3  # attempts to start `kpi up`
LONG = 600.0  # seconds after which a run must have been killed
HEALING = 2400.0  # seconds: a load_date whose runs failed several times is requested again after a quarter of an hour
# The first load_date, the size of its sample, and by how much the next is larger. One shop exports all it has every
# day: of another size it would be another shop, which its gates hold. Load_dates of retail are the last that are over.
FILES = {"instacart": (date(2025, 3, 1), 2000, 1), "storefront": (date(2025, 1, 6), 300, 0)}
APIS, SALES = "retail", 50
PIPELINES = (*FILES, APIS)


@dataclass(frozen=True)
class Delivery:
    """The files of a load_date, and the second at which they land."""

    at: float
    pipeline: str
    day: date
    orders: int


def deliveries(seed: int, seconds: float, count: int) -> list[Delivery]:
    """Return what lands, in order: `count` load_dates of each pipeline of files, some of instacart twice.

    The second delivery of a load_date has more orders than the first.
    """
    draw = random.Random(f"deliveries {seed}")
    found = [
        Delivery(number * seconds / count, name, first + timedelta(days=number), orders + number * more)
        for name, (first, orders, more) in FILES.items()
        for number in range(count)
    ]
    again = [each for each in found if each.pipeline == "instacart"][::3]
    found += [Delivery(draw.uniform(each.at, seconds), each.pipeline, each.day, each.orders + 500) for each in again]
    return sorted(found, key=lambda each: (each.at, each.pipeline, each.orders))


@dataclass
class Soak:
    """One run of the act: its processes, and what was done to them."""

    web: Web
    folder: Path
    chance: random.Random
    days: dict[str, list[date]]
    records: dict[tuple[str, str, date], int] = field(default_factory=dict)  # of each file that landed last
    killed: dict[str, int] = field(default_factory=dict)

    def disturb(self, seconds: float, due: Sequence[Delivery]) -> None:
        """Land everything in its time, and kill until the time is over."""
        began, left = time.monotonic(), list(due)
        while left or time.monotonic() - began < seconds:
            spent = time.monotonic() - began
            while left and spent >= left[0].at:
                self._land(left.pop(0))
            if spent < seconds:
                self._kill_one()
            time.sleep(self.chance.uniform(LEAST_PAUSE, MOST_PAUSE))
        self._revive()

    def _land(self, delivery: Delivery) -> None:
        """Land the files of a load_date, once all servers answer."""
        self._revive()
        out = self.folder / "landed" / f"{delivery.pipeline}-{delivery.day}-{delivery.orders}"
        generator = GENERATORS[delivery.pipeline].sized(
            events=None, days=None if delivery.pipeline == "instacart" else 1
        )
        written = generator.write(out, load_date=delivery.day, orders=delivery.orders, seed=1)
        of_day = ("--load-date", str(delivery.day)) if delivery.pipeline == "instacart" else ()
        said = self.web.kpi("land", delivery.pipeline, *of_day, "--from", str(out), "--replace")
        assert said.returncode == 0, said.stderr
        for path, records in written.items():
            self.records[delivery.pipeline, Path(path).name, delivery.day] = records
        say(f"landed {delivery.day} of {delivery.pipeline}, {delivery.orders} orders")

    def _kill_one(self) -> None:
        """Kill a run, a service or a server with SIGKILL. What ends by that is started again as a person would."""
        self._revive()
        found: dict[str, list[psutil.Process]] = {}
        for kind, process in self._processes():
            found.setdefault(kind, []).append(process)
        kinds = sorted(found)
        weights = [len(kinds) if kind == RUN else 1 for kind in kinds]
        [kind] = self.chance.choices(kinds, weights)
        process = self.chance.choice(found[kind])
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.killed[kind] = self.killed.get(kind, 0) + 1
            say(f"killed {kind}")
        if kind in (SUPERVISOR, *_servers(self.web)):
            until("kpi up has ended", lambda: self.web.process.poll() is not None)
        self._revive()

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Yield each process that may be killed, with its kind."""
        yield SUPERVISOR, psutil.Process(self.web.process.pid)
        for name, pid in _servers(self.web).items():
            yield name, psutil.Process(pid)
        for process in psutil.Process(self.web.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = " ".join(process.cmdline())
                kind = next((kind for word, kind in KINDS.items() if word in words), None)
                if kind and "python" in process.name() and is_alive(process):
                    yield kind, process

    def _revive(self) -> None:
        """Start `kpi up` again if it has ended, which it does when it loses a process that it needs."""
        if self.web.process.poll() is not None:
            said = (self.web.process.communicate()[1] or "").strip().splitlines()[-1:]
            say(f"kpi up ended: {said}")
            for _ in range(STARTS - 1):  # a busy machine may be too slow for it, which it says
                with suppress(AssertionError):
                    self.web.start()
                    return
                say("kpi up did not start, again")
            self.web.start()

    def runs(self) -> list[psutil.Process]:
        """Return the processes of runs."""
        return [process for kind, process in self._processes() if kind == RUN]

    def heal(self) -> None:
        """Wait until automation has published everything by itself, and nothing goes on any more."""
        for name in self.days:
            until(f"{name} is published", partial(self._is_published, name), HEALING, pause=5.0)
        until("no run goes on", lambda: not self.runs(), patience=HEALING)

    def _is_published(self, pipeline: str) -> bool:
        """Return whether the plan has nothing to do; `kpi up` may notice a kill only now, and end."""
        self._revive()
        days = self.days[pipeline]
        said = self.web.kpi("plan", pipeline, "--from", str(days[0]), "--to", str(days[-1])).stdout
        return said.splitlines()[-1:] == [f"{len(days)} published."]


def _servers(web: Web) -> dict[str, int]:
    """Return the process ids of the embedded servers that run, by name."""
    found = status(Path(web.environment["KPI_HOME"]))
    return {each.name: each.pid for each in found if each.pid is not None}


def kills(folder: Path, seconds: float, seed: int) -> None:
    """Run the third act."""
    count = max(2, min(10, int(seconds / 60)))
    yesterday = datetime.now(timezone.utc).date() - timedelta(days=1)
    of_apis = [yesterday - timedelta(days=number) for number in reversed(range(count))]
    days = {name: [first + timedelta(days=n) for n in range(count)] for name, (first, *_) in FILES.items()}
    days[APIS] = of_apis
    tree = _tree(folder / "mine", of_apis[0])
    places = {"KPI_SQL_DIR": str(tree)}
    for day in of_apis:
        Kpi(folder / "home", folder, **places)("sample", APIS, "--load-date", day, "--orders", SALES)
    pipelines = {name: each for name, each in load_pipelines(tree).items() if name in PIPELINES}
    with Web.open(folder, **places) as web:
        urls = {name: web.kpi("url", name).stdout.strip() for name in pipelines}
        soak = Soak(web, folder, random.Random(f"kills {seed}"), days)
        with reading(urls, pipelines) as reader:
            soak.disturb(seconds, deliveries(seed, seconds, count))
            say(f"killed: {soak.killed}")
            assert soak.killed.get(RUN) or seconds < LONG, "no run was killed, so that little is proven"
            soak.heal()
        say(f"readers looked {reader.looks} times")
        for name in PIPELINES:
            until(f"no lock of {name} is held", lambda name=name: verdict.locks(urls[name]) == [])  # type: ignore[misc]
    wrong = [*reader.mixtures, *verdict.left_running(folder)]
    with Stack(folder / "home", s3=False):
        for name, pipeline in pipelines.items():
            wrong += verdict.wrong(urls[name], pipeline, days[name], soak.records)
        assert wrong == [], "\n".join(wrong)
        say("what is published is right")
        before = {name: verdict.published(url) for name, url in urls.items()}
        for name in pipelines:
            verdict.drop_database(urls[name], name)
            said = web.kpi("backfill", name, "--from", str(days[name][0]), "--to", str(days[name][-1]))
            assert said.returncode == 0, said.stderr
        for name, url in urls.items():
            others = {*verdict.published(url)} ^ {*before[name]}
            assert not others, f"{name}: published before, or anew, and not both: {sorted(others, key=str)}"
        say("empty databases get the same rows and checksums from S3")
    left = verdict.left_running(folder)
    assert left == [], "\n".join(left)


def _tree(place: Path, first_of_apis: date) -> Path:
    """Copy the three pipelines below a folder, with their automation on."""
    for name in PIPELINES:
        path = Path(shutil.copytree(CHECKOUT / "sql" / name, place / name), "pipeline.yaml")
        theirs = ("automation:", "start_date:") if name == APIS else ("automation:",)
        lines = [line for line in path.read_text().splitlines() if not line.startswith(theirs)]
        own = [f"start_date: {first_of_apis}"] if name == APIS else []
        path.write_text("\n".join([*lines, *own, AUTOMATION, ""]))
    return place
