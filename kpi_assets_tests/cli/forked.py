"""Calls of `kpi` in forks of one process that has imported it, so that each call saves a second of imports.

Belongs here: that process, and the input and output of a call. Each call is a process as in a shell, with its own
environment, folder, files and exit code. What depends on how an interpreter starts (its variables, signals, a terminal,
import time) differs: tests of that start the real command (`Kpi.process`).
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.machine import PATIENCE

KPI = Path(sys.executable).with_name("kpi")
AVAILABLE = hasattr(os, "pidfd_open")  # otherwise the real command is called


@dataclass(frozen=True)
class Completed:
    """A finished call: its exit code, negative for the signal that ended it, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def call(words: Sequence[object], environment: Mapping[str, str], folder: Path) -> Completed:
    """Call `kpi` with these words in a fork, or the real command if this machine cannot fork so."""
    given = [str(word) for word in words]
    if not AVAILABLE:
        done = subprocess.run(
            [KPI, *given],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return Completed(done.returncode, done.stdout, done.stderr)
    with TemporaryDirectory(prefix="kpi-call-") as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        out.touch()
        err.touch()
        code = FORK_SERVER.call(given, environment, folder, out, err)
        return Completed(code, out.read_text(), err.read_text())


class ForkServer:
    """The process that forks for each call. The first call starts it, and it ends with the process that started it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = ""

    def call(self, words: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> int:
        """Make one call with its output in files; return the exit code, negative for the signal that ended it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._address())
            talk = connection.makefile("rw")
            pid = int(talk.readline())
            handle = os.pidfd_open(pid)
            try:
                asked = {"words": words, "environment": dict(environment), "umask": _umask()}
                asked |= {"folder": str(folder), "out": str(out), "err": str(err)}
                talk.write(json.dumps(asked) + "\n")
                talk.flush()
                if not select.select([handle], [], [], PATIENCE)[0]:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(["kpi", *words], PATIENCE)
            finally:
                os.close(handle)
            return int(talk.readline() or -signal.SIGKILL)

    def _address(self) -> str:
        with self._lock:
            if self._process is None:
                command = [sys.executable, "-m", "kpi_assets_tests.cli.forked"]
                self._process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                assert self._process.stdout is not None
                self._socket = self._process.stdout.readline().decode().strip()
                atexit.register(self.end)
            return self._socket

    def end(self) -> None:
        """End the process; the next call starts another one."""
        with self._lock:
            if self._process is not None:
                self._process.communicate()
                self._process = None


FORK_SERVER = ForkServer()


def _umask() -> int:
    """Return the umask of this process, which can be read only by setting another one."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _load() -> None:
    """Import what commands import, without opening anything or starting a thread."""
    import boto3  # noqa: F401, PLC0415
    import dagster  # noqa: F401, PLC0415
    import sqlalchemy.dialects.postgresql  # noqa: F401, PLC0415

    import kpi_assets.cli.app  # noqa: PLC0415
    import kpi_assets.definitions  # noqa: PLC0415
    import kpi_assets.doctor.content  # noqa: PLC0415
    import kpi_assets.instance.services  # noqa: PLC0415
    import kpi_assets.instance.storage  # noqa: F401, PLC0415


def _serve() -> None:
    """Fork for each connection, until the process that started this one ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # this process waits for no call
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # Linux gives the socket a name that is no file
        listener.listen()
        sys.stdout.write("\0" + listener.getsockname()[1:].decode() + "\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Make the requested call in this process, and exit with its code."""
    talk = connection.makefile("rw")
    talk.write(f"{os.getpid()}\n")
    talk.flush()
    asked: dict[str, Any] = json.loads(talk.readline())
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    for stream, name in enumerate((os.devnull, asked["out"], asked["err"])):
        opened = os.open(name, os.O_WRONLY if stream else os.O_RDONLY)
        os.dup2(opened, stream)
        os.close(opened)
    code = _run(asked["words"])
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            output.flush()
    with suppress(OSError):
        talk.write(f"{code}\n")
        talk.flush()
    os._exit(code & 0xFF)


def _run(words: Sequence[str]) -> int:
    """Run the command in this process; return its exit code."""
    from kpi_assets.cli import main  # noqa: PLC0415

    sys.argv = ["kpi", *words]
    sys.modules["__main__"].__package__ = ""  # otherwise the usage text names `python -m` and this module
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    else:
        code = 0
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as an interpreter does that ends
    atexit._run_exitfuncs()
    return code


if __name__ == "__main__":
    _load()
    _serve()
