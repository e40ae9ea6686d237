"""Calls of `kpi` in forks of one process that has imported it: the second of imports is spent once, not in each call.

Belongs here: that process, and what a call is given and leaves. Each call is a process as the shell's is, with its own
environment, folder, files and exit code. What depends on how an interpreter starts (its variables, signals, a terminal,
import time) is not the same: tests of that start the real command (`Kpi.process`).
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

KPI = Path(sys.executable).with_name("kpi")
PATIENCE = 180  # seconds that a call may take
AVAILABLE = hasattr(os, "pidfd_open")  # without it the real command is called


@dataclass(frozen=True)
class Completed:
    """What a call left: its exit code, negative for the signal that ended it, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def call(words: Sequence[object], environment: Mapping[str, str], folder: Path) -> Completed:
    """`kpi` with these words, in a fork; the real command where there can be none."""
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
    """The process of which calls are forks, started by the first of them; it ends with the process that made it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = ""

    def call(self, words: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> int:
        """One call, its streams in files; its exit code, negative for the signal that ended it."""
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
        """End the process; the next call starts another."""
        with self._lock:
            if self._process is not None:
                self._process.communicate()
                self._process = None


FORK_SERVER = ForkServer()


def _umask() -> int:
    """This process's, which can be read only by setting another."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _load() -> None:
    """Import what commands import, and no more: nothing is opened and no thread is started here."""
    import boto3  # noqa: F401, PLC0415
    import dagster  # noqa: F401, PLC0415
    import sqlalchemy.dialects.postgresql  # noqa: F401, PLC0415

    import kpi_assets.cli.app  # noqa: PLC0415
    import kpi_assets.definitions  # noqa: PLC0415
    import kpi_assets.doctor.content  # noqa: PLC0415
    import kpi_assets.instance.services  # noqa: PLC0415
    import kpi_assets.instance.storage  # noqa: F401, PLC0415


def _serve() -> None:
    """Fork for each connection, until whoever started this ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a call here
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # Linux gives it a name that is no file
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
    """Be the call that is asked for, and end as it does."""
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
    """The command in this process; its exit code."""
    from kpi_assets.cli import main  # noqa: PLC0415

    sys.argv = ["kpi", *words]
    sys.modules["__main__"].__package__ = ""  # of a module that was started by -m the usage would name that
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
