"""A command in its own terminal, where Ctrl-C reaches all its processes at once."""

import os
import pty
import select
import time
from collections.abc import Callable, Mapping, Sequence

from kpi_assets_tests.machine import PATIENCE

CTRL_C = b"\x03"


def in_terminal(
    command: Sequence[object], environment: Mapping[str, str], when: Callable[[str], bool], seconds: float = PATIENCE
) -> tuple[int, str]:
    """Press Ctrl-C as soon as `when` is true of the output; return the exit code and the output."""
    words = [str(word) for word in command]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(words[0], words, dict(environment))
    deadline, printed, pressed = time.monotonic() + seconds, b"", False
    try:
        while True:
            assert time.monotonic() < deadline, f"it did not end: {printed.decode(errors='replace')}"
            if select.select([terminal], [], [], 0.05)[0]:
                try:
                    piece = os.read(terminal, 65536)
                except OSError:  # the terminal is closed
                    piece = b""
                if not piece:
                    break
                printed += piece
            if not pressed and when(printed.decode(errors="replace")):
                os.write(terminal, CTRL_C)
                pressed = True
    except BaseException:
        os.kill(pid, 9)
        raise
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, printed.decode(errors="replace")
