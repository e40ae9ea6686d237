"""What lies where below $KPI_HOME, who may read it, and the passwords kept there.

Belongs here: paths, modes, the credentials file, log files. Not here: what the servers do with them.
"""

import json
import logging
import os
import secrets
import shutil
import stat
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, SecretStr, ValidationError

from kpi_assets.errors import UsageError, UserError

logger = logging.getLogger(__name__)

LOG_BYTES = 8 << 20
OTHERS = 0o077  # what a mode gives to anybody but the owner


class Credentials(BaseModel):
    """Passwords and keys of one home: made once, kept in a file that only its owner can read."""

    postgres_password: SecretStr
    reader_password: SecretStr
    s3_access_key_id: SecretStr
    s3_secret_access_key: SecretStr


class Home:
    """The folder of one embedded stack.

    The folder itself is closed to others (0700) or, where we are root, may be passed through but not listed (0711),
    because the account that PostgreSQL runs under must reach its data; all that lies inside is closed to others.
    """

    def __init__(self, root: Path):
        self.root = root.expanduser().resolve()
        self.credentials_file = self.root / "credentials.json"
        self.cluster = self.root / "postgres"
        self.postgres_conf = self.root / "postgres.conf"
        self.buckets = self.root / "s3"
        self.etags = self.root / "s3-etags"
        self.instance = self.root / "dagster"
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.users_lock = self.run / "users.lock"
        self.start_lock = self.run / "start.lock"

    def create(self) -> None:
        """Make the folders of the embedded servers that are missing, and close to others what is there."""
        self.create_root()
        for folder in (self.run, self.logs, self.buckets):
            make(folder, 0o700)

    def create_root(self) -> None:
        """Make the home itself if it is missing; close to others what an earlier version or a person left open in it.

        What is not ours in a folder that somebody else uses too is left alone. Raises UsageError as check_is_ours.
        """
        self.check_is_ours()
        self.root.parent.mkdir(parents=True, exist_ok=True)
        make(self.root, 0o711 if os.geteuid() == 0 else 0o700)
        closed = [path.name for path in self._ours if close(path)]
        if closed:
            logger.warning("Others could read %s in %s, and no longer can.", ", ".join(closed), self.root)

    @property
    def _ours(self) -> tuple[Path, ...]:
        servers = (self.credentials_file, self.cluster, self.postgres_conf, self.buckets, self.etags)
        return (*servers, self.instance, self.logs, self.run)

    def check_is_ours(self) -> None:
        """Raise UsageError where the folder holds something, and nothing of ours: it is a person's, not a home.

        Hidden files do not count, nor what a new disk holds: a new user's home, or an empty disk, may become one.
        """
        if not self.root.is_dir():
            return
        # Once: another process may be making the home at this moment.
        found = {path.name for path in self.root.iterdir() if not path.name.startswith(".")} - {"lost+found"}
        if found and not found & {path.name for path in self._ours}:
            raise UsageError(
                f"The folder {self.root} is no home of kpi_assets, and holds other files ({min(found)!r}): set "
                "KPI_HOME to a new or an empty folder."
            )

    def instance_folder(self) -> Path:
        """The folder of the Dagster instance, made if it is missing."""
        self.create_root()
        make(self.instance, 0o700)
        return self.instance

    @cached_property
    def credentials(self) -> Credentials:
        """The passwords of this home, made by whoever asks first, under the start lock; all others read the same.

        Raises UserError when the file is unreadable, or lost while its database lives on.
        """
        try:
            text = self.credentials_file.read_text()
        except FileNotFoundError:
            return self._new_credentials()
        try:
            return Credentials.model_validate_json(text)
        except ValidationError:
            raise UserError(
                f"{self.credentials_file} is damaged: put the original back, or remove {self.root} to begin anew."
            ) from None

    def _new_credentials(self) -> Credentials:
        if self.cluster.exists():
            raise UserError(
                f"{self.credentials_file} is missing, and the database in {self.cluster} opens with its password only: "
                f"put the file back, or remove {self.root} to begin anew."
            )
        words = {
            "postgres_password": secrets.token_hex(16),
            "reader_password": secrets.token_hex(16),
            "s3_access_key_id": "KPI" + secrets.token_hex(8).upper(),
            "s3_secret_access_key": secrets.token_hex(20),
        }
        replace(self.credentials_file, json.dumps(words, indent=2) + "\n")
        return Credentials.model_validate(words)

    def log(self, server: str) -> Path:
        """Where the named server writes what it has to say."""
        return self.logs / f"{server}.log"


def make(folder: Path, mode: int) -> None:
    """Make a folder of that mode, whatever the umask; one that is there keeps its mode."""
    if not folder.is_dir():
        folder.mkdir(mode, exist_ok=True)
        folder.chmod(mode)


def close(path: Path) -> bool:
    """Take from others what a mode gives them, where the path is ours to change; whether there was anything."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode) or not status.st_mode & OTHERS or os.geteuid() not in {0, status.st_uid}:
        return False
    path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
    return True


def replace(path: Path, text: str, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write the file in one step: a reader finds the old text or the new one, never half, never under a wider mode.

    `owner` is (uid, gid), for an account that only root can give files to.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        if owner:
            os.fchown(file.fileno(), *owner)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def size(log: Path) -> int:
    """How far a log file has got."""
    return log.stat().st_size if log.exists() else 0


def trim(log: Path) -> None:
    """Keep a log file below its bound, one predecessor aside; works while a server is appending to it."""
    if size(log) > LOG_BYTES:
        before = log.with_suffix(".log.1")
        before.unlink(missing_ok=True)
        with (
            log.open("rb") as now,
            os.fdopen(os.open(before, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept,
        ):
            shutil.copyfileobj(now, kept)
        os.truncate(log, 0)


def telling_line(log: Path, since: int) -> str:
    """The first line after byte `since` that says what went wrong, the rest being what followed; else the last line."""
    said = log.read_bytes()[since:] if log.exists() else b""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "CRITICAL", "rror:"))]
    return [*telling[:1], *lines[-1:], "nothing"][0].strip()
