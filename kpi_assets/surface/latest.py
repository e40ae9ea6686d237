"""The version of a pipeline: what tells whether anything that pages show has changed since they were made.

Belongs here: reading a version, and sharing one reading among all requests that wait for it. Not here: what is made of
it (answer.py), and the files of the pipeline (files.py).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.freshness import LateKpi, OldKpi, deadlines

T = TypeVar("T")

# Rows are counted beside the highest id: two transactions may end in the order opposite to that of their ids.
_VERSION = """
select
    (select coalesce(max(publish_id), 0) from ops.publishes) as publish_id,
    (select count(*) from ops.publishes{of_publishes}) as publishes,
    (select count(*) from ops.publishes where superseded_at is null) as published,
    (select coalesce(max(id), 0) from ops.pipeline_runs) as build_id,
    (select count(*) from ops.pipeline_runs{of_builds}) as builds,
    (select coalesce(string_agg(id::text, '-' order by id), '') from ops.pipeline_runs where status = 'running')
        as running,
    (select coalesce(max(id), 0) from ops.data_quality_results) as result_id,
    (select count(*) from ops.alerts) as alerts,
    (select count(*) || '-' || coalesce(sum(occurrences), 0) from ops.alerts where closed_at is null) as open_alerts,
    (select count(*) || '-' || count(ended_at) from ops.releases) as releases,
    (select count(delivered_at) from ops.alert_deliveries) as delivered,
    (select count(*) || '-' || coalesce(sum(hashtext(measure_version)), 0) from ops.kpi_values{of_values}) as measured,
    (select count(*) || '-' || count(revoked_at) from ops.rulings) as ruled,
    (select count(*) || '-' || count(applied_at) from ops.erasures) as erased,
    exists (select 1 from ops.erasures where was_behind and applied_at is null) as is_behind
"""
_OF_DAYS = _VERSION.format(of_publishes="", of_builds="", of_values="")
# Where every tick publishes, only the last rows are counted: no transaction takes so long that it ends before them.
_OF_STREAMS = _VERSION.format(
    of_publishes=" where publish_id > (select max(publish_id) from ops.publishes) - 10000",
    of_builds=" where id > (select max(id) from ops.pipeline_runs) - 10000",
    of_values=" inner join ops.publishes using (publish_id) where superseded_at is null",
)


class Version(NamedTuple):
    """What pages show of a pipeline, as numbers that change with it. A version never comes back."""

    publish_id: int = 0
    publishes: int = 0
    published: int = 0
    build_id: int = 0
    builds: int = 0
    running: str = ""
    result_id: int = 0
    alerts: int = 0
    open_alerts: str = ""
    releases: str = ""
    delivered: int = 0
    measured: str = ""  # `kpi measures --refresh` computes values anew, without a publish
    ruled: str = ""  # `kpi revoke` takes back by whose word something is published, without a publish
    erased: str = ""  # `kpi erase` empties what ops has of persons, without a publish
    is_behind: bool = False  # it was restored from before an erasure, and has the persons still
    late: tuple[str, ...] = ()  # it changes with the clock alone
    built: tuple[str, ...] = ()  # through which minute the KPIs are built whose freshness counts in minutes
    hour: str = ""  # pages say how long ago something was
    instants: tuple[OldKpi, ...] = ()  # exactly through which instants: no part of the digest, since they always move

    @property
    def publishes_only(self) -> tuple[int, int, int]:
        """The part that changes with what is published."""
        return self.publish_id, self.publishes, self.published

    @property
    def digest(self) -> str:
        """A short text that differs where the versions differ."""
        return hashlib.blake2s(repr(tuple(self._replace(instants=()))).encode(), digest_size=8).hexdigest()


class Versions:
    """Reads versions. Safe for threads."""

    def __init__(self) -> None:
        self._deadlines: dict[str, tuple[Version, Pipeline, list[LateKpi | OldKpi]]] = {}

    def read(self, connection: Connection[Any], pipeline: Pipeline, now: datetime) -> Version:
        """Return the version of a pipeline in the connection's snapshot, or in this moment."""
        query = _OF_STREAMS if pipeline.stream_tables else _OF_DAYS
        [row] = psycopg.Cursor(connection).execute(query, prepare=True).fetchall()
        found = Version(*row)
        kept = self._deadlines.get(pipeline.name)
        if kept is None or kept[0].publishes_only != found.publishes_only or kept[1] is not pipeline:
            kept = found, pipeline, deadlines(connection, pipeline)
            self._deadlines[pipeline.name] = kept
        known = kept[2]
        if any(isinstance(each, OldKpi) for each in known):  # without a publish, a tick may have found nothing new
            known = deadlines(connection, pipeline)
        late_kpis = tuple(str(each.relation) for each in known if each.since < now)
        instants = tuple(each for each in known if isinstance(each, OldKpi))
        built = tuple(f"{each.relation} {each.through:%Y%m%d%H%M}" for each in instants)
        return found._replace(late=late_kpis, built=built, hour=f"{now:%Y%m%d%H}", instants=instants)


class Shared(Generic[T]):
    """A question whose answer is shared by all that wait for it. Nobody gets one that was asked before he came."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def fresh(self) -> T:
        """Return an answer to a question that was asked after this call."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._ask())
            return await asyncio.shield(self._running)
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: "asyncio.Task[T]") -> T:
        await asyncio.wait([running])
        self._running, self._next = self._next, None
        return await self._ask()
