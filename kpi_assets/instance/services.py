"""The web UI, the daemon, the pages and the landings of one KPI_HOME: started, watched, stopped, found after a crash.

Not here: the servers that they use (embedded/). Each service leads its own process group, so that stopping a service
also stops the code servers and run workers that it started.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.instance import access, folder, probe
from kpi_assets.process_identity import ProcessIdentity, living
from kpi_assets.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_PORT = 3000
START_PATIENCE = 120.0  # seconds within which the web UI must answer
CODE_SERVER_PATIENCE = 5.0  # seconds for which the web UI may have no code server
STOP_PATIENCE = 20.0  # seconds between SIGTERM and SIGKILL
LANDING_PAUSE = 2.0  # seconds before a landing that ended is started again; twice as long each time, up to
LONGEST_LANDING_PAUSE = 60.0
SUPERVISOR, WEB, DAEMON, PAGES, LANDING = "kpi up", "web UI", "daemon", "pages", "landing"


@dataclass(frozen=True)
class _Record:
    """The record of a process. Its start time tells the process from a later one with the same pid."""

    name: str
    pid: int
    since: float
    port: int | None = None

    def process(self) -> psutil.Process | None:
        return ProcessIdentity(self.pid, self.since).process()


def _record_of(name: str, pid: int, port: int | None = None) -> _Record:
    identity = ProcessIdentity.of(pid)
    return _Record(name, identity.pid, identity.since, port)


def serve(
    settings: Settings,
    stack: Stack | None,
    port: int | None,
    on_ready: Callable[[str, str, Sequence[str]], None],
    with_streams: Sequence[str] = (),
) -> None:
    """Run the web UI, the daemon and the pages until Ctrl-C or SIGTERM, or until one of them or a server dies.

    The streams of the pipelines `with_streams` are landed meanwhile; a landing that ends is started again.

    Once both answer, call `on_ready` with the address of the web UI, which holds the token, that of the pages, and the
    names of the pipelines whose automation is off. Raises UserError if a process dies, another `kpi up` runs in this
    home, a port is taken, or a service does not come up or has no guard. A call first cleans up after one
    that was killed.
    """
    home = settings.home.resolve()
    other = next((record for record in _records(home) if record.name == SUPERVISOR and record.process()), None)
    if other:
        raise UserError(
            f"`kpi up` already runs in {home} (process {other.pid}): `kpi url` prints its address, `kpi down` stops it."
        )
    with _signals_as_flag() as ended:
        stop(home)  # the processes that a killed `kpi up` left behind
        folder.prepare(settings)
        token = access.make_token(settings)
        chosen, pages = _free_port(port), _pages_port(settings)
        _write(home, _record_of(SUPERVISOR, os.getpid()))
        children: list[subprocess.Popen[bytes]] = []
        landings: list[_Landing] = []
        try:
            off = prepare_instance(settings, ended)
            links = {"KPI_UI_URL": address(chosen), "KPI_SERVE_URL": address(pages)}  # for those in alerts and pages
            environment = {**links, **folder.environment(settings), "KPI_SERVE_PORT": str(pages)}
            ports = {WEB: chosen, PAGES: pages}
            for name, arguments in commands(chosen).items() if not ended() else ():
                children.append(_spawn(home, name, arguments, environment, stack, ports.get(name)))
            landings += [_Landing(home, name, environment, stack) for name in with_streams]
            _await_answer(WEB, lambda: probe.check(address(chosen)), children, home, ended)
            _await_answer(PAGES, lambda: probe.check_pages(_local(settings, pages)), children, home, ended)
            if not ended():
                on_ready(access.link(address(chosen), token), settings.serve_url or address(pages), off)
            code_server = _CodeServer(children[0], address(chosen), token) if children else None
            while code_server and not ended():
                _check_alive(children, home)
                code_server.check()
                for landing in landings:
                    landing.check()
                if stack:
                    stack.check_alive()
                time.sleep(0.3)
        finally:
            started = [*children, *(landing.child for landing in landings if landing.child)]
            _end_groups([child.pid for child in started])
            for child in started:
                child.wait()
            _records_file(home).unlink(missing_ok=True)


def stop(home: Path) -> list[str]:
    """Stop the `kpi up` of this home and its services. Return the names of those that were running."""
    found = [record for record in _records(home.resolve()) if record.pid != os.getpid()]
    running = [record for record in found if record.process()]
    supervisor = next((record.process() for record in running if record.name == SUPERVISOR), None)
    if supervisor:
        supervisor.send_signal(signal.SIGTERM)
        psutil.wait_procs([supervisor], timeout=2 * STOP_PATIENCE)
    services = [record for record in found if record.name != SUPERVISOR]
    _end_groups([record.pid for record in services if record.process() or _has_orphans(record, home)])
    if found:
        _records_file(home.resolve()).unlink(missing_ok=True)
    return [record.name for record in running]


def _has_orphans(record: _Record, home: Path) -> bool:
    """Return whether code servers or run workers of a killed service are still alive in its process group."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            # Another process group may have this number by now. Our processes have the folder of the instance.
            if os.getpgid(process.pid) == record.pid and process.create_time() >= record.since - 1:
                return process.environ().get("DAGSTER_HOME") == str(folder.instance_path(home))
    return False


def status(home: Path) -> list[tuple[str, bool, int | None, int | None]]:
    """Return (name, running, port, pid) for the web UI, the daemon, the pages, and landings that were started."""
    records = {record.name: record for record in _records(home.resolve())}
    found = []
    for name in (WEB, DAEMON, PAGES, *(name for name in records if name.startswith(LANDING))):
        record = records.get(name)
        process = record.process() if record else None
        found.append((name, process is not None, record.port if record else None, process.pid if process else None))
    return found


def address(port: int) -> str:
    """Return the address of a service on this machine's loopback interface."""
    return f"http://{access.LOOPBACK}:{port}"


def ui_url(settings: Settings) -> str:
    """Return the address of the web UI, or the configured one if none is known to run."""
    return known_ui_url(settings) or settings.ui_url


def known_ui_url(settings: Settings) -> str | None:
    """Return the address that the settings name, else that of this home's `kpi up`, or None if none runs."""
    if "ui_url" in settings.model_fields_set:
        return settings.ui_url
    return _running(settings, WEB)


def pages_url(settings: Settings) -> str | None:
    """Return the address of the pages for readers: of the settings, else of this home's `kpi up`; None without any."""
    return settings.serve_url or _running(settings, PAGES)


def _running(settings: Settings, service: str) -> str | None:
    found = status(settings.home)
    return next((address(port) for name, runs, port, _ in found if name == service and runs and port), None)


def commands(port: int) -> dict[str, list[str]]:
    """Return the arguments of Python that start each service. The web UI comes first, on the given port."""
    location = ["-w", str(folder.workspace())]
    return {
        WEB: ["-m", "kpi_assets.instance.web", "-h", access.LOOPBACK, "-p", str(port), *location],
        DAEMON: ["-m", "dagster._daemon", "run", *location],
        PAGES: ["-m", "kpi_assets.cli", "serve"],
    }


def prepare_instance(settings: Settings, ended: Callable[[], bool]) -> list[str]:
    """Make the instance's tables, close the runs of dead processes, and return the pipelines whose automation is off.

    The tables come first, because services that make them at the same time fail. A separate process does it, so that
    this one need not import Dagster. It has its own session, so that Ctrl-C reaches only this process.
    """
    command = [sys.executable, "-m", "kpi_assets.instance.startup"]
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=folder.working_folder(settings.home),
        env=folder.environment(settings),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        while child.poll() is None:
            if ended():
                child.kill()
            time.sleep(0.02)
        return child.stdout.read().split() if child.stdout else []


def _spawn(
    home: Path,
    name: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stack: Stack | None,
    port: int | None = None,
) -> subprocess.Popen[bytes]:
    log = _log(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab" if name.startswith(LANDING) else "wb") as output:  # a landing may have been started again
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            cwd=folder.working_folder(home),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only this process, and the group can be stopped as one
            pass_fds=[stack.lock_fd] if stack else [],  # keeps the embedded servers in use while the service lives
        )
    _write(home, _record_of(name, child.pid, port))
    return child


def _await_answer(
    name: str,
    check: Callable[[], None],
    children: Sequence[subprocess.Popen[bytes]],
    home: Path,
    ended: Callable[[], bool],
) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while not ended():
        try:
            check()
            return
        except OSError:
            _check_alive(children, home)
            if time.monotonic() > deadline:
                raise UserError(
                    f"The {name} did not answer within {START_PATIENCE:.0f} seconds: see {_log(home, name)}."
                ) from None
            time.sleep(0.2)


def _check_alive(children: Sequence[subprocess.Popen[bytes]], home: Path) -> None:
    for child, name in zip(children, (WEB, DAEMON, PAGES), strict=False):
        if child.poll() is not None:
            log = _log(home, name)
            raise UserError(
                f"The {name} exited unexpectedly: run `kpi up` again; its log {log} ends with: {_last(log)}"
            )


class _Landing:
    """The landing of one pipeline's streams. It may end at any instant without a loss, and is started again."""

    def __init__(self, home: Path, pipeline: str, environment: Mapping[str, str], stack: Stack | None) -> None:
        self._home, self._environment, self._stack = home, environment, stack
        self._name, self._pipeline = f"{LANDING} {pipeline}", pipeline
        self._pause, self._due = LANDING_PAUSE, 0.0
        _log(home, self._name).unlink(missing_ok=True)
        self.child: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """Start the landing if it does not run."""
        now = time.monotonic()
        if self.child is None:
            if now >= self._due:
                command = landing_command(self._pipeline)
                self.child, self._due = _spawn(self._home, self._name, command, self._environment, self._stack), now
        elif self.child.poll() is not None:
            lasted = now - self._due
            self._pause = LANDING_PAUSE if lasted > LONGEST_LANDING_PAUSE else self._pause
            self._due, self.child = now + self._pause, None
            self._pause = min(2 * self._pause, LONGEST_LANDING_PAUSE)
            log = _log(self._home, self._name)
            logger.warning("The %s ended and is started again; its log %s ends with: %s", self._name, log, _last(log))


def landing_command(pipeline: str) -> list[str]:
    """Return the arguments of Python that land the streams of a pipeline."""
    return ["-m", "kpi_assets.cli", "stream", pipeline]


class _CodeServer:
    """Watches the web UI's code server, whose end Dagster does not notice. The daemon renews its own each minute."""

    def __init__(self, web: subprocess.Popen[bytes], url: str, token: str | None) -> None:
        self._web, self._url, self._token = psutil.Process(web.pid), url, token
        self._checked = self._seen = time.monotonic()

    def check(self) -> None:
        """Have the code server started again if there has been none for CODE_SERVER_PATIENCE.

        A shorter gap is normal, because the UI replaces its code server now and then.
        """
        now = time.monotonic()
        if now - self._checked < 1:
            return
        self._checked = now
        with suppress(psutil.NoSuchProcess):
            if any(_is_code_server(child) for child in self._web.children()):
                self._seen = now
        if now - self._seen > CODE_SERVER_PATIENCE:
            self._seen = now
            logger.warning("The code server of the web UI exited unexpectedly and is started again.")
            with suppress(OSError):  # if the web UI has ended too, _check_alive reports it
                probe.reload(self._url, self._token, START_PATIENCE)


def _is_code_server(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return living(process.pid) is not None and "grpc" in process.cmdline()
    return False


@contextmanager
def _signals_as_flag() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag. They are handled, not ignored, so that children have the default action."""
    seen: list[int] = []
    before = {sent: signal.signal(sent, lambda number, _frame: seen.append(number)) for sent in _STOP_SIGNALS}
    try:
        yield lambda: bool(seen)
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _end_groups(leaders: Sequence[int]) -> None:
    """Send SIGTERM to the services' process groups, then kill the processes that are left."""
    left = set(leaders)
    for sent, patience in ((signal.SIGTERM, STOP_PATIENCE), (signal.SIGKILL, 5.0)):
        for leader in left:
            with suppress(ProcessLookupError):
                os.killpg(leader, sent)
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            left &= _living_groups()
            time.sleep(0.05)


def _living_groups() -> set[int]:
    """Return the process groups that have a living member."""
    groups = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if living(process.pid):
                groups.add(os.getpgid(process.pid))
    return groups


def _pages_port(settings: Settings) -> int:
    is_set = "serve_port" in settings.model_fields_set
    return _free_port(settings.serve_port if is_set else None, settings.serve_port, "KPI_SERVE_PORT")


def _local(settings: Settings, port: int) -> str:
    """Return the address at which this process reaches the pages."""
    host = ip_address(settings.serve_host)
    if host.is_unspecified or host.is_loopback:
        return f"http://[::1]:{port}" if host.version == 6 else address(port)
    return f"http://[{host}]:{port}" if host.version == 6 else f"http://{host}:{port}"


def _free_port(wanted: int | None, first: int = DEFAULT_PORT, remedy: str = "--port") -> int:
    for port in [wanted] if wanted else range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise UserError(f"The port {wanted or first} is taken: choose another with {remedy}.")


def _log(home: Path, name: str) -> Path:
    return home / "logs" / f"{name.replace(' ', '_').lower()}.log"


def _last(log: Path) -> str:
    """Return the last line of a log."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"


def _records_file(home: Path) -> Path:
    return home / "run" / "services.json"


def _records(home: Path) -> list[_Record]:
    try:
        return [_Record(**entry) for entry in json.loads(_records_file(home).read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _write(home: Path, record: _Record) -> None:
    """Add a record to the file. The file is replaced by a rename, so that a reader never sees half of it."""
    kept = [other for other in _records(home) if other.name != record.name]
    path = _records_file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps([vars(other) for other in [*kept, record]]))
    draft.replace(path)
