"""The pipelines' files as `kpi serve` knows them: read at its start, and again when one of them has changed.

A pipeline whose files cannot be read any more is shown as it was before, and pages say so.

Belongs here: noticing a change, and what is wrong with the files. Not here: reading the tree (model/tree.py).
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_sound
from kpi_assets.settings import Settings

PACKAGE = Path(__file__).resolve().parent.parent
_SHOWN = ("surface", "read", "model", "monitoring")  # the packages whose code decides what a page looks like
_Marks = tuple[tuple[str, int, int], ...]  # path, time of change and size of each file


@cache
def code_hash() -> str:
    """Return a hash of the code, templates and static files, by which a new version is told from an earlier one."""
    found = hashlib.blake2s(digest_size=6)
    for package in _SHOWN:
        for path in sorted((PACKAGE / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                found.update(path.read_bytes())
    return found.hexdigest()


class Found(NamedTuple):
    """Pipelines as their files were read, a sentence for readers if some cannot be read, and a hash of the files."""

    pipelines: Mapping[str, Pipeline]
    problem: str | None
    digest: str


class Files:
    """The pipelines by name, a hash of their files, and a sentence if some cannot be read as they are now."""

    def __init__(self, settings: Settings, pipelines: Mapping[str, Pipeline] | None = None) -> None:
        self._sql_dir, self._min_rows = settings.sql_dir, settings.min_rows
        self.pipelines: Mapping[str, Pipeline] = pipelines or {}
        self.problem: str | None = None
        self.is_read = pipelines is not None
        self._marks = self._look()
        self.digest = self._hash()

    def refresh(self) -> bool:
        """Read the files again if one has changed since. Return whether they were read."""
        found = self.read_anew()
        if found:
            self.take(found)
        return found is not None

    def take(self, found: "Found") -> None:
        """Know the files as they were read. Call it where requests are answered, so that none knows a part of it."""
        self.pipelines, self.problem, self.digest, self.is_read = found.pipelines, found.problem, found.digest, True

    def read_anew(self) -> "Found | None":
        """Read the files if one has changed since they were read last; None if none has."""
        marks = self._look()
        if self.is_read and marks == self._marks:
            return None
        self._marks = marks
        pipelines = self.pipelines
        try:
            sound, broken = load_sound(self._sql_dir, self._min_rows)
        except (UserError, OSError, ValueError):  # ValueError: bytes that are not UTF-8
            problem: str | None = "The pipelines' files cannot be read any more: `kpi check` says why."
        else:
            kept = {name: pipeline for name, pipeline in self.pipelines.items() if name in broken}
            pipelines = dict(sorted({**sound, **kept}.items()))
            problem = _sentence(sorted(broken), sorted(kept))
        return Found(pipelines, problem, self._hash())

    def _look(self) -> _Marks:
        found = []
        for path in sorted(self._sql_dir.rglob("*")):
            try:
                stat = path.stat()
            except OSError:  # removed meanwhile
                continue
            found.append((str(path), stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def _hash(self) -> str:
        found = hashlib.blake2s(repr(self._marks).encode(), digest_size=6)
        return found.hexdigest()


def _sentence(broken: list[str], kept: list[str]) -> str | None:
    if not broken:
        return None
    files = f"The files of {', '.join(broken)} cannot be read: `kpi check {broken[0]}` says why."
    return f"{files} Shown as they were before: {', '.join(kept)}." if kept else files
