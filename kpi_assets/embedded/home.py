"""The files below $KPI_HOME: their paths, who may read them, and the passwords of the embedded servers.

Belongs here: paths, modes, the credentials file, log files. Not here: what the servers do with them.
"""

import json
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from kpi_assets.errors import UsageError, UserError

logger = logging.getLogger(__name__)

LOG_BYTES = 8 << 20
# What a line has in it that reports an error, and how such a line of SeaweedFS begins.
ERROR_WORDS = ("FATAL", "PANIC", "CRITICAL", "rror:")
ERROR_OF_GLOG = re.compile(r"[EF][0-9]{4} [0-9:.]+ ")
OTHERS = 0o077  # the bits of a mode for everybody but the owner


class Credentials(BaseModel):
    """The passwords and keys of one home. They are made once and kept in a file that only its owner can read."""

    postgres_password: SecretStr
    reader_password: SecretStr
    s3_access_key_id: SecretStr
    s3_secret_access_key: SecretStr


class ApiSecrets(BaseModel):
    """The secrets of the simulated APIs by name, and the password of their databases; made once, as Credentials are."""

    password: SecretStr
    of_apis: dict[str, SecretStr]

    def revealed(self) -> dict[str, Any]:
        """Return them as JSON can hold them."""
        of_apis = {name: secret.get_secret_value() for name, secret in self.of_apis.items()}
        return {"password": self.password.get_secret_value(), "of_apis": of_apis}


class Home:
    """The folder of one embedded stack.

    Nobody else can enter the folder (0700). If kpi runs as root, others may pass through it but not list it (0711),
    because the account that PostgreSQL runs under must reach its data. Everything inside is closed to others.
    """

    def __init__(self, root: Path):
        self.root = root.expanduser().resolve()
        self.credentials_file = self.root / "credentials.json"
        self.api_secrets_file = self.root / "apis.json"
        self.salt_file = self.root / "erasure_salt"
        self.cluster = self.root / "postgres"
        self.postgres_conf = self.root / "postgres.conf"
        self.s3_data = self.root / "s3-data"
        self.s3_conf = self.root / "s3-conf"
        self.rclone_buckets = self.root / "s3"  # of homes of earlier versions, as is the next
        self.rclone_etags = self.root / "s3-etags"
        self.instance = self.root / "dagster"
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.users_lock = self.run / "users.lock"
        self.start_lock = self.run / "start.lock"

    def create(self) -> None:
        """Make the missing folders of the embedded servers, and close existing ones to others."""
        self.create_root()
        for folder in (self.run, self.logs, self.s3_data):
            make_folder(folder, 0o700)

    def create_root(self) -> None:
        """Make the home itself if it is missing, and close to others whatever of ours is open to them.

        Files of other programs in the folder are left alone. Raises UsageError as check_is_ours does.
        """
        self.check_is_ours()
        self.root.parent.mkdir(parents=True, exist_ok=True)
        make_folder(self.root, 0o711 if os.geteuid() == 0 else 0o700)
        closed = [path.name for path in self._ours if close_to_others(path)]
        if closed:
            logger.warning("Others could read %s in %s, and no longer can.", ", ".join(closed), self.root)

    @property
    def _ours(self) -> tuple[Path, ...]:
        servers = (
            self.credentials_file,
            self.api_secrets_file,
            self.salt_file,
            self.cluster,
            self.postgres_conf,
            self.s3_data,
            self.s3_conf,
            self.rclone_buckets,
            self.rclone_etags,
        )
        return (*servers, self.instance, self.logs, self.run)

    def check_is_ours(self) -> None:
        """Raise UsageError if the folder has files but none of ours, so that it must be somebody else's.

        Hidden files and `lost+found` do not count, so that a new user's home or an empty disk may become a home.
        """
        if not self.root.is_dir():
            return
        # List the folder only once, because another process may be making the home at this moment.
        found = {path.name for path in self.root.iterdir() if not path.name.startswith(".")} - {"lost+found"}
        if found and not found & {path.name for path in self._ours}:
            raise UsageError(
                f"The folder {self.root} is not a home of kpi_assets and holds other files ({min(found)!r}): set "
                "KPI_HOME to a new or an empty folder."
            )

    def instance_folder(self) -> Path:
        """Return the folder of the Dagster instance, and make it if it is missing."""
        self.create_root()
        make_folder(self.instance, 0o700)
        return self.instance

    @cached_property
    def credentials(self) -> Credentials:
        """The passwords of this home. The first process to need them makes them, under the start lock.

        Raises UserError if the file is damaged, or missing although its database exists.
        """
        try:
            text = self.credentials_file.read_text()
        except FileNotFoundError:
            return self._new_credentials()
        try:
            return Credentials.model_validate_json(text)
        except ValidationError:
            raise UserError(
                f"{self.credentials_file} is damaged: restore the original, or remove {self.root} to start over."
            ) from None

    def api_secrets(self, apis: Collection[str]) -> ApiSecrets:
        """Return the secrets of the simulated APIs. The first process to need them makes them, under the start lock.

        Raises UserError if the file is damaged.
        """
        found = None
        if self.api_secrets_file.exists():
            try:
                found = ApiSecrets.model_validate_json(self.api_secrets_file.read_text())
            except ValidationError:
                raise UserError(
                    f"{self.api_secrets_file} is damaged: run `kpi down`, remove the file, and try again."
                ) from None
        if found is not None and found.of_apis.keys() >= {*apis}:
            return found
        values = {
            "password": found.password if found else secrets.token_hex(16),
            "of_apis": {**{name: secrets.token_urlsafe(24) for name in apis}, **(found.of_apis if found else {})},
        }
        made = ApiSecrets.model_validate(values)
        replace_file(self.api_secrets_file, json.dumps(made.revealed(), indent=2) + "\n")
        return made

    @cached_property
    def erasure_salt(self) -> SecretStr:
        """The salt of erased persons of this home. The first process to need it makes it, as Credentials are."""
        if not self.salt_file.exists():
            replace_file(self.salt_file, secrets.token_hex(32) + "\n")
        return SecretStr(self.salt_file.read_text().strip())

    def _new_credentials(self) -> Credentials:
        if self.cluster.exists():
            raise UserError(
                f"{self.credentials_file} is missing, and the database in {self.cluster} needs the password in it: "
                f"restore the file, or remove {self.root} to start over."
            )
        values = {
            "postgres_password": secrets.token_hex(16),
            "reader_password": secrets.token_hex(16),
            "s3_access_key_id": "KPI" + secrets.token_hex(8).upper(),
            "s3_secret_access_key": secrets.token_hex(20),
        }
        replace_file(self.credentials_file, json.dumps(values, indent=2) + "\n")
        return Credentials.model_validate(values)

    def log(self, server: str) -> Path:
        """Return the path of the named server's log file."""
        return self.logs / f"{server}.log"


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder with that mode, regardless of the umask. An existing folder keeps its mode."""
    if not folder.is_dir():
        folder.mkdir(mode, exist_ok=True)
        folder.chmod(mode)


def close_to_others(path: Path) -> bool:
    """Take all permissions on the path from others, if we may change it; return whether there were any."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode) or not status.st_mode & OTHERS or os.geteuid() not in {0, status.st_uid}:
        return False
    path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
    return True


def replace_file(path: Path, text: str, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write the file atomically: a reader finds the old text or the new text, and the mode is never wider than `mode`.

    `owner` is (uid, gid); only root can set it.
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


def log_size(log: Path) -> int:
    """Return the size of a log file in bytes, 0 if there is none."""
    return log.stat().st_size if log.exists() else 0


def trim_log(log: Path) -> None:
    """Move the text of a log file above LOG_BYTES to `<name>.log.1`. Works while a server appends to the file."""
    if log_size(log) > LOG_BYTES:
        previous = log.with_suffix(".log.1")
        previous.unlink(missing_ok=True)
        with (
            log.open("rb") as current,
            os.fdopen(os.open(previous, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as kept,
        ):
            shutil.copyfileobj(current, kept)
        os.truncate(log, 0)


def error_line(log: Path, since: int) -> str:
    """Return the first line after byte `since` that reports an error, else the last line, else "nothing".

    The first error is the cause; the later ones follow from it.
    """
    written = log.read_bytes()[since:] if log.exists() else b""
    lines = [line for line in written.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if ERROR_OF_GLOG.match(line) or any(word in line for word in ERROR_WORDS)]
    return [*errors[:1], *lines[-1:], "nothing"][0].strip()
