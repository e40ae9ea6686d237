"""The permissions that other users have in a home."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

OTHERS = 0o077


def open_to_others(home: Path) -> dict[str, str]:
    """Return every path of a home that others may use, with its mode; the home itself is `.`.

    SeaweedFS opens some of its files by itself, whatever the umask is. Its folder must be closed, so others reach none.
    """

    def all_of(folder: Path) -> Iterator[Path]:
        yield folder
        for below, folders, files in os.walk(folder):
            yield from (Path(below) / name for name in (*folders, *files))

    found = {}
    for path in all_of(home):
        try:
            status = path.lstat()
        except FileNotFoundError:  # a running server removed the file
            continue
        if path.parent == home / "s3-data" and path.suffix == ".vif":
            continue
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & OTHERS:
            found[str(path.relative_to(home))] = oct(stat.S_IMODE(status.st_mode))
    return found


# As root, PostgreSQL runs under an account that must pass through the home.
CLOSED = {".": "0o711"} if os.geteuid() == 0 else {}
