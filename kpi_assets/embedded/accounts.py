"""The account that PostgreSQL runs under when kpi runs as root, because PostgreSQL refuses to run as root.

Belongs here: choosing the account, and granting it the least access to the files. Not here: starting anything.
"""

import logging
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpi_assets.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """An account of this machine, without its supplementary groups."""

    name: str
    uid: int
    gid: int

    def for_popen(self) -> dict[str, Any]:
        """Return the arguments of subprocess.Popen that run the child under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def missing_bits(self, path: Path, permission: int) -> int:
        """Return the bits that the path's mode lacks for a permission (4 read, 1 search, or their sum), or 0."""
        status = path.stat()
        if status.st_uid == self.uid:
            wanted = permission << 6
        elif status.st_gid == self.gid:
            wanted = permission << 3
        else:
            wanted = permission
        return wanted & ~status.st_mode


def for_cluster(cluster: Path) -> Account | None:
    """Return the account for a database folder: its owner, else `postgres`, else `nobody`; None if kpi is not root."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and cluster.stat().st_uid != 0:
        names: list[str | int] = [cluster.stat().st_uid]
    else:
        names = ["postgres", "nobody"]
    for name in names:
        try:
            entry = pwd.getpwnam(name) if isinstance(name, str) else pwd.getpwuid(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise UserError(
        f"PostgreSQL refuses to run as root, and the account that would own {cluster} "
        f"({' or '.join(map(str, names))}) does not exist: run kpi as an ordinary user, or set KPI_POSTGRES_URL."
    )


def grant_traversal(account: Account, paths: Iterable[Path]) -> None:
    """Let the account pass through every folder above these paths, without the right to list it.

    Logs the folders that were changed. Raises UserError that names the first one that cannot be changed.
    """
    folders = {folder for path in paths for folder in (*path.parents, *path.resolve().parents)}
    changed = [folder for folder in sorted(folders) if _grant(account, folder, stat.S_IXOTH)]
    if changed:
        logger.warning(
            "PostgreSQL refuses to run as root, so it runs as %s, which may now pass through (chmod +x, not list): %s",
            account.name,
            ", ".join(map(str, changed)),
        )


def grant_read(account: Account, sample: Path, trees: Iterable[Path]) -> None:
    """Let the account read the trees of a program that only root can read, as the mode of its file `sample` shows."""
    if not account.missing_bits(sample, stat.S_IROTH):
        return
    for tree in filter(Path.exists, trees):
        logger.warning("PostgreSQL runs as %s, which may now read its programs in %s", account.name, tree)
        for path in (tree, *tree.rglob("*")):
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            _grant(account, path, stat.S_IROTH | stat.S_IXOTH if executable else stat.S_IROTH)


def _grant(account: Account, path: Path, permission: int) -> bool:
    missing = account.missing_bits(path, permission)
    if missing:
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) | missing)
        except OSError as error:
            raise UserError(
                f"PostgreSQL runs as {account.name}, which cannot be given access to {path} ({error.strerror}): "
                f"allow it (chmod o+x), or set KPI_HOME to another folder."
            ) from None
    return bool(missing)
