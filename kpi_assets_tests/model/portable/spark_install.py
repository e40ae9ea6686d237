"""What Spark needs, fetched when a test first needs it: packages by uv, and jars by Maven's own client.

Everything is pinned with its SHA-256 in the lock files beside this module, and lies in .spark/ of the checkout: no
product needs it. `make lock` writes the lock files of packages. Not here: running Spark (spark.py).
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kpi_assets.settings import CHECKOUT

FOLDER = CHECKOUT / ".spark"
_HERE = Path(__file__).parent
SPARK, JARS = (_HERE / f"{name}.lock" for name in ("spark", "jars"))
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"


def packages(lock: Path, within: Path = FOLDER) -> Path:
    """Return the folder with the packages of a lock file."""

    def install(folder: Path) -> None:
        uv = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", sys.executable]
        subprocess.run([*uv, "--no-deps", "--require-hashes", "--target", folder, "-r", lock], check=True)

    return _once(lock, within, install)


def jars(within: Path = FOLDER, lock: Path = JARS) -> list[Path]:
    """Return the jars of a lock file. Raises RuntimeError if one is not the one that was pinned."""

    def fetch(folder: Path) -> None:
        for artifact, sha256 in map(str.split, lock.read_text().splitlines()):
            command = ["mvn", "-q", "-B", _COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            _, name, version = artifact.split(":")
            found = hashlib.sha256((folder / f"{name}-{version}.jar").read_bytes()).hexdigest()
            if found != sha256:
                raise RuntimeError(
                    f"{artifact} came with the SHA-256 {found}, and {lock} pins {sha256}: find out why it changed "
                    "before you pin it anew."
                )

    return sorted(_once(lock, within, fetch).glob("*.jar"))


def _once(lock: Path, within: Path, fetch: Callable[[Path], None]) -> Path:
    """Return a folder of this content of a lock file, which is filled if it is not complete."""
    folder = within / f"{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    within.mkdir(parents=True, exist_ok=True)
    with (within / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # several workers of pytest may need it at once
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fetch(folder)
            (folder / "complete").touch()
    return folder
