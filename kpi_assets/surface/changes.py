"""What is shown of each pipeline, looked at again and again for as long as somebody waits for news of it.

All that wait share one look. Whoever is slow misses no state but the ones in between: he is told what differs from what
he was told last.

Belongs here: when it is looked, and what differs. Not here: what a version is (latest.py), and how news are sent
(api/events.py).
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from kpi_assets.read.kpi_state import kpi_id
from kpi_assets.scrub import scrub
from kpi_assets.surface.answer import AWAY_ERRORS, Answers
from kpi_assets.surface.files import code_hash
from kpi_assets.surface.latest import Version

logger = logging.getLogger(__name__)

LOOK = 2.0  # seconds between two looks


@dataclass(frozen=True)
class Built:
    """Through which instant a KPI is built, and until when it is fresh, if its freshness counts in minutes."""

    through: datetime
    due_by: datetime


@dataclass(frozen=True)
class Shown:
    """What is shown of a pipeline: the newest publish, a version that differs if any page does, and its KPIs' age."""

    publish_id: int
    version: str
    built: Mapping[str, Built] = field(default_factory=dict)


@dataclass
class Changes:
    """The states by pipeline, and who waits for others."""

    look: Callable[[], Awaitable[Mapping[str, Shown]]]
    states: Mapping[str, Shown] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: int = 0
    _watch: "asyncio.Task[None] | None" = None

    @property
    def moved(self) -> asyncio.Event:
        """An event that happens as soon as the states differ from those of this moment."""
        return self._moved

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the states until the end of the context. They are unknown until the first look has ended."""
        self._waiting += 1
        if self._watch is None:
            self.states = {}
            self._watch = asyncio.ensure_future(self._look_again())
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.close()

    def close(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _look_again(self) -> None:
        is_away = False
        while True:
            try:
                found = await self.look()
            except AWAY_ERRORS as error:
                if not is_away:
                    logger.warning("What is new is not known: %s", scrub(str(error)))
                is_away = True
            else:
                is_away = False
                if found != self.states:
                    self.states = found
                    self._moved.set()
                    self._moved = asyncio.Event()
            await asyncio.sleep(LOOK)


def changes_of(answers: Answers) -> Changes:
    """Return the states that answers have."""

    async def look() -> Mapping[str, Shown]:
        pipelines, files = answers.files.pipelines, answers.files.digest
        versions = await answers.versions(list(pipelines))
        return {name: _shown(answers, name, files, version) for name, version in versions.items()}

    return Changes(look)


def _shown(answers: Answers, name: str, files: str, version: Version) -> Shown:
    digest = hashlib.blake2s(f"{code_hash()} {files} {version.digest}".encode(), digest_size=8).hexdigest()
    built: dict[str, Built] = {}
    with suppress(KeyError):  # of a pipeline or table whose file is gone since
        pipeline = answers.files.pipelines[name]
        for each in version.instants:
            table = pipeline.tables[each.relation]
            if table.header.kpi:
                built[kpi_id(pipeline, table)] = Built(each.through, each.since)
    return Shown(version.publish_id, digest, built)
