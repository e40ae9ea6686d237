"""The web UI and the daemon as processes of one KPI_HOME: started, watched, stopped, and found again after a crash.

Not here: the servers below them (embedded/). Each service leads a process group of its own, so that stopping it stops
the code servers and run workers it started.
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
from pathlib import Path

import psutil

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.instance import access, folder, probe
from kpi_assets.process_identity import ProcessIdentity, living
from kpi_assets.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_PORT = 3000
START_PATIENCE = 120.0  # seconds until the web UI must answer
CODE_SERVER_PATIENCE = 5.0  # seconds for which the web UI may be without one
STOP_PATIENCE = 20.0  # seconds until a service that was asked to end is killed
SUPERVISOR, WEB, DAEMON = "kpi up", "web UI", "daemon"


@dataclass(frozen=True)
class _Record:
    """What is written down of a process: enough to know it again, and never another that got its number."""

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
    settings: Settings, stack: Stack | None, port: int | None, on_ready: Callable[[str, Sequence[str]], None]
) -> None:
    """Run the web UI and the daemon until Ctrl-C or SIGTERM, or until one of them or what they need dies.

    Once the web UI answers, `on_ready` is given the address that lets a person in, and the names of the pipelines that
    run nothing by themselves. Raises UserError when that happens, another `kpi up` runs in this home, the port is
    taken, or a service does not come up, or comes up without its guard. Whatever was killed, the next call cleans up
    after it and goes on.
    """
    home = settings.home.resolve()
    other = next((record for record in _records(home) if record.name == SUPERVISOR and record.process()), None)
    if other:
        raise UserError(
            f"`kpi up` runs in {home} already (process {other.pid}): `kpi url` prints its address, `kpi down` stops it."
        )
    with _ending_by_signal() as ended:
        stop(home)  # what a killed `kpi up` left behind
        folder.prepare(settings)
        token = access.make_token(settings)
        chosen = _free_port(port)
        _write(home, _record_of(SUPERVISOR, os.getpid()))
        children: list[subprocess.Popen[bytes]] = []
        try:
            off = open_instance(settings, ended)
            for name, arguments in commands(chosen).items() if not ended() else ():
                environment = {"KPI_UI_URL": address(chosen), **folder.environment(settings)}  # for the links in alerts
                children.append(_spawn(home, name, arguments, environment, stack, chosen if name == WEB else None))
            _await_answer(address(chosen), children, home, ended)
            if not ended():
                on_ready(access.link(address(chosen), token), off)
            code_server = _CodeServer(children[0], address(chosen), token) if children else None
            while code_server and not ended():
                _check_alive(children, home)
                code_server.check()
                if stack:
                    stack.check_alive()
                time.sleep(0.3)
        finally:
            _end_groups([child.pid for child in children])
            for child in children:
                child.wait()
            _records_file(home).unlink(missing_ok=True)


def stop(home: Path) -> list[str]:
    """Stop what a `kpi up` of this home started, and itself; the names of what was running."""
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
    """Whether code servers or run workers outlived a service that was killed; they lie in its group still."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            # The number of an empty group may have become that of another: ours have the instance's folder.
            if os.getpgid(process.pid) == record.pid and process.create_time() >= record.since - 1:
                return process.environ().get("DAGSTER_HOME") == str(folder.path_below(home))
    return False


def status(home: Path) -> list[tuple[str, bool, int | None, int | None]]:
    """(name, running, port, pid) of the web UI and the daemon."""
    records = {record.name: record for record in _records(home.resolve())}
    found = []
    for name in (WEB, DAEMON):
        record = records.get(name)
        process = record.process() if record else None
        found.append((name, process is not None, record.port if record else None, process.pid if process else None))
    return found


def address(port: int) -> str:
    """Where the web UI is, on the loopback alone."""
    return f"http://{access.LOOPBACK}:{port}"


def ui_url(settings: Settings) -> str:
    """Where the web UI is, or where it would be."""
    return known_ui_url(settings) or settings.ui_url


def known_ui_url(settings: Settings) -> str | None:
    """Where the web UI is: as the settings say, else where `kpi up` of this home serves it; None where none runs."""
    if "ui_url" in settings.model_fields_set:
        return settings.ui_url
    return next((address(port) for _, runs, port, _ in status(settings.home) if runs and port), None)


def commands(port: int) -> dict[str, list[str]]:
    """What Python is told to start each service; the first is the web UI, on that port."""
    location = ["-w", str(folder.workspace())]
    return {
        WEB: ["-m", "kpi_assets.instance.web", "-h", access.LOOPBACK, "-p", str(port), *location],
        DAEMON: ["-m", "dagster._daemon", "run", *location],
    }


def open_instance(settings: Settings, ended: Callable[[], bool]) -> list[str]:
    """Make the instance's tables, at which services that start at once fail, and close the runs of dead processes.

    Returns the pipelines that run nothing by themselves. In a process of its own, so that Dagster is not imported here,
    and a session of its own: Ctrl-C is ours.
    """
    words = [sys.executable, "-m", "kpi_assets.instance.opening"]
    with subprocess.Popen(  # noqa: S603
        words,
        cwd=folder.working_folder(settings.home),
        env=folder.environment(settings),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as opening:
        while opening.poll() is None:
            if ended():
                opening.kill()
            time.sleep(0.02)
        return opening.stdout.read().split() if opening.stdout else []


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
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            cwd=folder.working_folder(home),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours; and a group of its own, to be ended as one
            pass_fds=[stack.lock_fd] if stack else [],  # the embedded servers are in use while a service lives
        )
    _write(home, _record_of(name, child.pid, port))
    return child


def _await_answer(url: str, children: Sequence[subprocess.Popen[bytes]], home: Path, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while not ended():
        try:
            probe.check(url)
            return
        except OSError:
            _check_alive(children, home)
            if time.monotonic() > deadline:
                raise UserError(
                    f"The web UI did not answer within {START_PATIENCE:.0f} seconds: see {_log(home, WEB)}."
                ) from None
            time.sleep(0.2)


def _check_alive(children: Sequence[subprocess.Popen[bytes]], home: Path) -> None:
    for child, name in zip(children, (WEB, DAEMON), strict=False):
        if child.poll() is not None:
            log = _log(home, name)
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise UserError(f"The {name} ended by itself: say `kpi up` again; its log {log} ends with: {last[0]}")


class _CodeServer:
    """The web UI's code server. Nobody in Dagster notices when it ends; the daemon's is renewed each minute."""

    def __init__(self, web: subprocess.Popen[bytes], url: str, token: str | None) -> None:
        self._web, self._url, self._token = psutil.Process(web.pid), url, token
        self._looked = self._seen = time.monotonic()

    def check(self) -> None:
        """Have it started again where there has been none for a while: the UI exchanges it for another now and then."""
        now = time.monotonic()
        if now - self._looked < 1:
            return
        self._looked = now
        with suppress(psutil.NoSuchProcess):
            if any(_is_code_server(child) for child in self._web.children()):
                self._seen = now
        if now - self._seen > CODE_SERVER_PATIENCE:
            self._seen = now
            logger.warning("The code server of the web UI ended by itself, and is started again.")
            with suppress(OSError):  # the web UI may have ended too, which is told elsewhere
                probe.reload(self._url, self._token, START_PATIENCE)


def _is_code_server(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return living(process.pid) is not None and "grpc" in process.cmdline()
    return False


@contextmanager
def _ending_by_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag. Handled signals are at their default in the children, never ignored."""
    seen: list[int] = []
    before = {sent: signal.signal(sent, lambda number, _frame: seen.append(number)) for sent in _ENDINGS}
    try:
        yield lambda: bool(seen)
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)


_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def _end_groups(leaders: Sequence[int]) -> None:
    """Ask the services' groups to end, then kill what is left of them."""
    living = set(leaders)
    for sent, patience in ((signal.SIGTERM, STOP_PATIENCE), (signal.SIGKILL, 5.0)):
        for leader in living:
            with suppress(ProcessLookupError):
                os.killpg(leader, sent)
        deadline = time.monotonic() + patience
        while living and time.monotonic() < deadline:
            living &= _living_groups()
            time.sleep(0.05)


def _living_groups() -> set[int]:
    """The process groups that have a member which has not ended."""
    groups = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if living(process.pid):
                groups.add(os.getpgid(process.pid))
    return groups


def _free_port(wanted: int | None) -> int:
    for port in [wanted] if wanted else range(DEFAULT_PORT, DEFAULT_PORT + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise UserError(f"The port {wanted or DEFAULT_PORT} is taken: name another with --port.")


def _log(home: Path, name: str) -> Path:
    return home / "logs" / f"{name.replace(' ', '_').lower()}.log"


def _records_file(home: Path) -> Path:
    return home / "run" / "services.json"


def _records(home: Path) -> list[_Record]:
    try:
        return [_Record(**entry) for entry in json.loads(_records_file(home).read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _write(home: Path, record: _Record) -> None:
    """Add to what is written down, by a rename, so that a reader sees all or the old."""
    kept = [other for other in _records(home) if other.name != record.name]
    path = _records_file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps([vars(other) for other in [*kept, record]]))
    draft.replace(path)
