"""The packages of a lock file as uv writes it. Not here: what is done with them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?"
)
_HASH = re.compile(r"\s+--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """One pinned version; `marker` says where it is installed, and each of its files has a sha256."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]


def read(lock: Path) -> list[Package]:
    """Every pinned version, in order: a package has several where others are for older Pythons.

    Raises ValueError where a line is none that uv writes, or a package has no hash: nothing is left out in silence.
    """
    return list(_packages(lock))


def _packages(lock: Path) -> Iterator[Package]:
    pin, hashes = None, list[str]()
    for number, line in enumerate([*lock.read_text().splitlines(), ""], start=1):
        if found := _HASH.match(line):
            hashes.append(found[1])
        elif not line.lstrip().startswith("#"):
            if pin:
                if not hashes:
                    raise ValueError(f"{lock}: {pin['name']} has no hash: make the file again with `make lock`")
                yield Package(pin["name"], pin["version"], pin["marker"], tuple(hashes))
            pin, hashes = _PIN.fullmatch(line), []
            if line.strip() and pin is None:
                raise ValueError(f"{lock}, line {number}: {line!r} is no pinned package: make the file again")
