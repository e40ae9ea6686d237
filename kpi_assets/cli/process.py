"""This process: the modes of the files that it creates, and when it collects garbage.

Not here: what the process does.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_umask = 0o077  # the umask of the user, once restrict_new_files() has been called


def restrict_new_files() -> None:
    """Deny other users access to every file that this process and its children create, also through Dagster."""
    global _umask  # noqa: PLW0603  a process has one
    _umask = os.umask(0o077)


@contextmanager
def user_umask() -> Iterator[None]:
    """Create files, such as those outside of the home, with the modes that the user's shell gives them."""
    ours = os.umask(_umask)
    try:
        yield
    finally:
        os.umask(ours)


def enable_gc() -> None:
    """Enable the garbage collector after all imports, and exclude from it every object that exists by now.

    Call it once: it never collects what is garbage by then, such as a pool of connections in a cycle.
    """
    gc.freeze()
    gc.enable()
