"""How one request is answered: from what the reader has, from what is kept, or by reading once for all that wait.

An answer is never older than its request. All that it shows of a pipeline is read in one snapshot, whose version is in
the answer's ETag. So a reader who sends the ETag back learns that nothing has changed, and nothing is read.

Belongs here: snapshots, versions, ETags, and threads. Not here: what is in an answer (pages/, api/).
"""

import asyncio
import hashlib
import logging
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import psycopg
from fastapi import Request, Response
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.scrub import scrub
from kpi_assets.surface.cache import Cache, Entry
from kpi_assets.surface.databases import Databases, NotPreparedError
from kpi_assets.surface.files import Files, code_hash
from kpi_assets.surface.latest import Shared, Version, Versions
from kpi_assets.surface.numbers import Numbers
from kpi_assets.surface.problems import Problem
from kpi_assets.warehouse.connection import LEDGER_ALONE, WarehouseError, one_snapshot

__all__ = ["AWAY_ERRORS", "Answers", "Body", "Problem", "Reading", "answer"]

logger = logging.getLogger(__name__)

RENDERS = 4  # answers that are made at once
PATIENCE = 30.0  # seconds that making one may take
AWAY_ERRORS = (WarehouseError, psycopg.OperationalError, psycopg.InterfaceError)
_TOO_LONG = ("It took too long", "Ask for less: fewer load_dates, or fewer rows.")
_BEHIND = (
    "The database {0!r} was restored from before persons were erased, and still has them: `kpi erase {0} --apply` "
    "erases them."
)
_AWAY = "The warehouse does not answer now. The page comes back as soon as it does."


@dataclass(frozen=True)
class Body:
    """What is sent. Only a body of status 200 is kept for others."""

    content: bytes
    media: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


class Reading:
    """What one answer reads: at most one snapshot of each pipeline's database, opened when it is first asked for.

    `problem` is a sentence for readers if the files of pipelines cannot be read as they are now. `reads` are the
    relations whose rows are read, and not the ledger alone: no publish replaces them meanwhile.
    """

    def __init__(
        self,
        databases: Databases,
        files: Files,
        reader: Versions,
        names: Sequence[str],
        reads: Collection[Relation],
        now: datetime,
    ) -> None:
        self.now, self.pipelines, self.problem = now, dict(files.pipelines), files.problem
        self.versions: dict[str, Version] = {}
        self._databases, self._reader, self._names, self._reads = databases, reader, frozenset(names), reads
        self._open: dict[str, Connection[Any]] = {}
        self._held = ExitStack()
        self._is_over = False

    def of(self, pipeline: Pipeline) -> Connection[Any]:
        """Return the session on a pipeline's database, in its snapshot.

        Raises Problem (503) if the server does not answer, if the pipeline was never run (see `has`), or if persons who
        were erased are in it.
        """
        assert pipeline.name in self._names, f"the ETag would not follow {pipeline.name}: name it in answer()"
        if self._is_over:
            raise Problem(503, *_TOO_LONG)  # it waited for a thread for so long that nobody waits for it any more
        if pipeline.name not in self._open:
            try:
                connection = self._held.enter_context(self._databases.lend(pipeline.name))
                self._held.enter_context(one_snapshot(connection, self._reads))
                version = self.versions[pipeline.name] = self._reader.read(connection, pipeline, self.now)
            except NotPreparedError as error:
                raise Problem(503, "Nothing is published yet", str(error)) from None
            if version.is_behind:
                raise Problem(503, "Nothing is shown now", _BEHIND.format(pipeline.name))
            self._open[pipeline.name] = connection
        return self._open[pipeline.name]

    def has(self, pipeline: Pipeline) -> bool:
        """Whether the pipeline has a database. Without one it was never run, and there is nothing to read.

        Raises Problem (503) if persons who were erased are in it, and nothing else was asked for.
        """
        if pipeline.name in self._open:
            return True
        try:
            self.of(pipeline)
        except Problem:
            found = self.versions.get(pipeline.name)
            if found and found.is_behind and len(self._names) == 1:
                raise
            return False
        return True

    def close(self) -> None:
        """End the snapshots and give the sessions back."""
        with suppress(psycopg.Error):
            self._held.close()

    def cancel(self) -> None:
        """Stop what is being read, from another thread, and read nothing more."""
        self._is_over = True
        for connection in list(self._open.values()):
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=2)


@dataclass
class _Flight:
    """An answer that is being made. It serves everybody who came before it began."""

    began: float
    task: "asyncio.Task[Entry | Body]"


@dataclass
class Answers:
    """What all requests share."""

    databases: Databases
    files: Files
    numbers: Numbers
    cache: Cache = field(default_factory=Cache)
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _versions: dict[tuple[str, ...], Shared[dict[str, Version]]] = field(default_factory=dict)
    _reader: Versions = field(default_factory=Versions)
    _renderers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(RENDERS, "render"))
    _askers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "version"))

    async def versions(self, names: Sequence[str]) -> dict[str, Version]:
        """Return the version of each pipeline, read after this call."""
        key = tuple(names)
        if key not in self._versions:
            self._versions[key] = Shared(self._ask(key))
        return await self._versions[key].fresh()

    def _ask(self, names: Sequence[str]) -> Callable[[], "asyncio.Future[dict[str, Version]]"]:
        def read_one(name: str, now: datetime) -> Version:
            try:
                with self.databases.lend(name) as connection:
                    return self._reader.read(connection, self.files.pipelines[name], now)
            except NotPreparedError:
                return Version(hour=f"{now:%Y%m%d%H}")

        def read() -> dict[str, Version]:
            now = datetime.now(timezone.utc)
            return {name: read_one(name, now) for name in names}

        return lambda: asyncio.get_running_loop().run_in_executor(self._askers, read)

    async def answer(
        self,
        request: Request,
        names: Sequence[str],
        make: Callable[[Reading], Body],
        reads: Collection[Relation] = LEDGER_ALONE,
    ) -> Response:
        """Answer one request; see the function `answer`."""
        arrived, key = time.monotonic(), _key(request)
        # `make` knows the files as they are now. They may be read anew before it ends, and the tag must not say so.
        digest = self.files.digest
        try:
            versions = await self.versions(names)
        except AWAY_ERRORS as error:
            raise self._away(error) from None
        tag = self._tag(key, digest, versions)
        if tag in request.headers.get("if-none-match", ""):
            self.numbers.unchanged += 1
            return Response(status_code=304, headers=_head(tag))
        entry = self.cache.get(key)
        if entry and entry.tag == tag:
            self.numbers.kept += 1
            return entry.response(request, _head(tag))
        made = await self._made_once(key, tag, arrived, digest, versions, make, reads)
        if isinstance(made, Entry):
            return made.response(request, _head(made.tag))
        return Response(made.content, made.status, {"Cache-Control": "no-store", **made.headers}, made.media)

    async def _made_once(
        self,
        key: str,
        tag: str,
        arrived: float,
        digest: str,
        versions: Mapping[str, Version],
        make: Callable[[Reading], Body],
        reads: Collection[Relation],
    ) -> "Entry | Body":
        """Return what one thread makes for all who wait; only those who came after it began wait for the next."""
        while (flight := self._flights.get(key)) is not None and flight.began < arrived:
            await asyncio.wait([flight.task])
            entry = self.cache.get(key)
            if entry and (entry.tag == tag or entry.asked_at >= arrived):
                self.numbers.kept += 1
                return entry
        if flight is None:
            task = asyncio.ensure_future(self._make(key, digest, versions, make, reads))
            flight = self._flights[key] = _Flight(time.monotonic(), task)
            task.add_done_callback(lambda _: self._flights.pop(key))
        return await asyncio.shield(flight.task)

    async def _make(
        self,
        key: str,
        digest: str,
        versions: Mapping[str, Version],
        make: Callable[[Reading], Body],
        reads: Collection[Relation],
    ) -> "Entry | Body":
        asked_at = time.monotonic()
        now = datetime.now(timezone.utc)
        reading = Reading(self.databases, self.files, self._reader, list(versions), reads, now)

        def render() -> Entry | Body:
            try:
                body = make(reading)
            finally:
                reading.close()
            if body.status != 200:
                return body
            tag = self._tag(key, digest, {**versions, **reading.versions})
            return Entry.of(tag, body.content, body.media, body.headers, asked_at)

        work = asyncio.get_running_loop().run_in_executor(self._renderers, render)
        try:
            made = await asyncio.wait_for(asyncio.shield(work), PATIENCE)
        except asyncio.TimeoutError:
            await asyncio.get_running_loop().run_in_executor(None, reading.cancel)
            work.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise Problem(503, *_TOO_LONG) from None
        except Problem:
            raise
        except AWAY_ERRORS as error:
            raise self._away(error) from None
        except UserError as error:
            raise Problem(503, detail=str(error)) from None
        except Exception as error:
            logger.error("%s could not be made: %s", key, scrub("".join(traceback.format_exception(error))))
            raise Problem(500, detail="The log of `kpi serve` says why.") from None
        self.numbers.made += 1
        if isinstance(made, Entry):
            self.cache.put(key, made)
        return made

    def _away(self, error: Exception) -> Problem:
        if isinstance(error, psycopg.errors.QueryCanceled):
            return Problem(503, *_TOO_LONG)
        logger.warning("%s", scrub(str(error)))
        return Problem(503, detail=_AWAY, headers={"Retry-After": "5"})

    def _tag(self, key: str, digest: str, versions: Mapping[str, Version]) -> str:
        parts = [code_hash(), digest, key, *(f"{name}={each.digest}" for name, each in versions.items())]
        return f'W/"{hashlib.blake2s(" ".join(parts).encode(), digest_size=16).hexdigest()}"'

    def close(self) -> None:
        """Wait for no thread, and close the sessions."""
        self._renderers.shutdown(wait=False, cancel_futures=True)
        self._askers.shutdown(wait=False, cancel_futures=True)
        self.databases.close()


async def answer(
    request: Request,
    names: Sequence[str],
    make: Callable[[Reading], Body],
    *,
    reads: Collection[Relation] = LEDGER_ALONE,
) -> Response:
    """Answer a request by what `make` returns, which runs in a thread unless its answer is known already.

    `names` are the pipelines that it may read; what it returns must follow from their data, from the address, and from
    the day and hour alone. `reads` are the relations whose rows it reads beside the ledger. Raises Problem.
    """
    found: Answers = request.app.state.surface.answers
    return await found.answer(request, names, make, reads)


def _key(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _head(tag: str) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": "private, no-cache"}
