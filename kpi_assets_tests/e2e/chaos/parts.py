"""The processes of a stream, each as `kpi up` starts it, but started again by itself as a service manager does it.

Belongs here: starting, finding, killing and measuring them. Not here: what is killed when (schedule.py).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from kpi_assets.cli.workspace import Workspace
from kpi_assets.embedded.broker import streams_of
from kpi_assets.embedded.stack import Servers, Stack, embedded_servers
from kpi_assets.embedded.stack import status as server_status
from kpi_assets.instance import folder as instance_folder
from kpi_assets.instance import services
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets_tests.e2e.chaos.schedule import Kill
from kpi_assets_tests.machine import free_port, is_alive

PIPELINE = "realtime"
# The sensor, which replaces a live run that was killed, looks as often as it may.
AUTOMATION = "automation: {start: sensor, interval_seconds: 5, settle_seconds: 0}\n"
SERVERS = {"broker": "broker", "store": "s3", "postgres": "postgres"}
PAUSE = 1.0  # seconds after which a service that ended by itself is started again


@dataclass
class _Service:
    """A process that is started again when it has ended, and the leaders of the process groups that it had."""

    name: str
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    due: float = 0.0
    leaders: list[int] = field(default_factory=list)
    ended_by_itself: int = 0


class Parts:
    """The embedded servers of a home, the landing, and Dagster's daemon with the live runs that it starts."""

    def __init__(self, servers: Servers, pipeline: Pipeline) -> None:
        self.servers, self.pipeline = servers, pipeline
        self.environment = instance_folder.environment(servers.settings)
        self.home = servers.settings.home
        self.lander = _Service("landing", services.landing_command(PIPELINE))
        self.daemon = _Service("daemon", services.commands(free_port())[services.DAEMON])
        self.peaks = {"lander": 0, "builder": 0}  # bytes of memory
        self._servers_due = 0.0
        self._pool = ThreadPoolExecutor(1, "revive")
        self._revival: Future[None] = Future()
        self._revival.set_result(None)

    @classmethod
    @contextmanager
    def open(cls, place: Path) -> Iterator["Parts"]:
        """Run everything in a home below a folder, with the shipped pipeline; end it afterwards."""
        for name in [name for name in os.environ if name.startswith(("KPI_", "AWS_", "PG", "DAGSTER_"))]:
            del os.environ[name]
        path = Path(shutil.copytree(CHECKOUT / "sql" / PIPELINE, place / "sql" / PIPELINE), "pipeline.yaml")
        path.write_text(path.read_text() + AUTOMATION)
        config = Settings(home=place / "home", sql_dir=place / "sql")
        pipeline = load_pipelines(place / "sql")[PIPELINE]
        with embedded_servers(config, [pipeline]) as servers:
            Workspace(pipeline, servers).ready()
            instance_folder.prepare(servers.settings)
            services.prepare_instance(servers.settings, lambda: False)
            parts = cls(servers, pipeline)
            try:
                parts.tend()
                yield parts
            finally:
                parts.close()

    def tend(self) -> None:
        """Start again what has ended, once its time has come. Raises UserError if a server does not come up."""
        now = time.monotonic()
        if self._revival.done():
            self._revival.result()
            if now >= self._servers_due and not all(each.running for each in server_status(self.home)):
                self._revival = self._pool.submit(self._revive)
        for service in (self.lander, self.daemon):
            if service.process is not None and service.process.poll() is not None:
                service.ended_by_itself += service.process.returncode != -signal.SIGKILL
                service.process, service.due = None, max(service.due, now + PAUSE)
            if service.process is None and now >= service.due:
                self._start(service)

    def kill(self, kill: Kill) -> bool:
        """Kill a part at once; False if it does not run.

        Of a builder that is as much as that it has not run for some seconds yet, so that some are killed at work.
        """
        until = time.monotonic() + kill.down
        if kill.part in SERVERS:
            self._servers_due = until
            found = [each.pid for each in server_status(self.home) if each.name == SERVERS[kill.part] and each.pid]
            return _killed(found)
        if kill.part == "builder":
            old = [each.pid for each in self._builders() if time.time() - each.create_time() >= 3 * kill.down]
            return _killed(old[-1:])
        service = self.lander if kill.part == "lander" else self.daemon
        service.due = until
        if service.process is None:
            return False
        if kill.its_children:
            with suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)
        return _killed([service.process.pid])

    def measure(self) -> dict[str, int]:
        """Return the memory of landing and builder now, and keep the most of each."""
        found = {"lander": 0, "builder": 0}
        leads = [psutil.Process(self.lander.process.pid)] if self._runs(self.lander) and self.lander.process else []
        for name, processes in (("lander", leads), ("builder", list(self._builders()))):
            for process in processes:
                with suppress(psutil.Error):
                    found[name] = max(found[name], process.memory_info().rss)
            self.peaks[name] = max(self.peaks[name], found[name])
        return found

    def call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Call `kpi` with the settings of the services."""
        return subprocess.run(
            [sys.executable, "-m", "kpi_assets.cli", *words],
            env=self.environment,
            cwd=instance_folder.working_folder(self.home),
            capture_output=True,
            text=True,
            check=False,
        )

    def close(self) -> None:
        """End the services, with all that they have started."""
        for service in (self.lander, self.daemon):
            for leader in service.leaders:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(leader, signal.SIGKILL)
            if service.process is not None:
                service.process.wait()
        self._pool.shutdown()

    def _revive(self) -> None:
        with Stack(self.home, streams=streams_of(self.pipeline)):
            pass  # whoever comes starts what does not run

    def _start(self, service: _Service) -> None:
        log = self.home / "logs" / f"{service.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        assert self.servers.stack is not None
        with log.open("ab") as output:
            service.process = subprocess.Popen(
                [sys.executable, *service.command],
                cwd=instance_folder.working_folder(self.home),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self.servers.stack.lock_fd],
            )
        service.leaders.append(service.process.pid)

    def _runs(self, service: _Service) -> bool:
        return service.process is not None and service.process.poll() is None

    def _builders(self) -> Iterator[psutil.Process]:
        """Yield the processes of runs, also those whose daemon is no more, the oldest first."""
        leaders = set(self.daemon.leaders)
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                is_run = "spawn_main" in " ".join(process.cmdline()) and os.getpgid(process.pid) in leaders
                if is_run and is_alive(process):
                    yield process


def _killed(pids: Sequence[int]) -> bool:
    """Kill processes; return whether there was one."""
    killed = False
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed = True
    return killed
