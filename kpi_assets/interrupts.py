"""Interrupts that Python loses: a signal whose exception is raised in a finalizer or a weak reference's callback.

There Python reports any exception and goes on as if nothing had happened: Ctrl-C, or a run that is stopped in the UI,
would do nothing. Such a signal is sent once more, a moment later.
Belongs here: that. Not here: what is done about an interrupt (cli/, dagster_internals.py).
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = 0.05  # seconds: by then the finalizer has ended


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """While it lasts, send SIGINT again to the main thread whenever an interrupt was raised where Python ignores it."""
    before = sys.unraisablehook

    def again(lost: "sys.UnraisableHookArgs") -> None:
        if issubclass(lost.exc_type, Exception | SystemExit | GeneratorExit):
            before(lost)
        else:  # KeyboardInterrupt, or that of Dagster
            threading.Timer(AGAIN, _interrupt).start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt() -> None:
    main = threading.main_thread().ident
    assert main is not None, "it is the thread that runs since the beginning"
    signal.pthread_kill(main, signal.SIGINT)  # unlike `_thread.interrupt_main`, it ends a wait for the server
