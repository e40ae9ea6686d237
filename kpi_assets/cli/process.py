"""This process: which modes its files get, and when its garbage is collected.

Not here: what the process does.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_umask = 0o077  # the user's, once close_files() has been said


def close_files() -> None:
    """Close to others every file that this process and its children make, whoever makes it: Dagster, for one."""
    global _umask  # noqa: PLW0603  a process has one
    _umask = os.umask(0o077)


@contextmanager
def files_of_the_user() -> Iterator[None]:
    """Files that are made meanwhile, outside of the home, have the mode that the user's shell gives them."""
    ours = os.umask(_umask)
    try:
        yield
    finally:
        os.umask(ours)


def loaded() -> None:
    """Say that all is imported: it stays, so that the collector passes over it, and looks after the rest from here.

    To be said once: what is garbage by then, such as a pool of connections in a circle, is never collected.
    """
    gc.freeze()
    gc.enable()
