"""Reads from the ledger how a pipeline is: fresh or late, held or published, landed or lagging.

Only what the pipeline's files declare has figures, so what was removed from them makes no series. Each query looks up
a few rows by an index, however long the history is.
Not here: the names of the figures (instruments.py), and how often they are read (surface/figures.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import kpis, streams
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.freshness import due
from kpi_assets.monitoring.through import through
from kpi_assets.telemetry import instruments
from kpi_assets.telemetry.instruments import Instrument
from kpi_assets.warehouse.connection import LEDGER_ALONE, one_snapshot

KINDS = ("held", "failed", "late", "stalled", "breached", "drifted", "waived")  # of incidents, open until over
STATUSES = ("pass", "fail", "warn", "error")

_LATEST = """
select a.asset, p.published_at, p.rows
from unnest(%(assets)s::text[]) as a (asset)
cross join lateral (
    select p.published_at, p.rows from ops.publishes as p
    where p.asset = a.asset and p.superseded_at is null
    order by p.load_date desc limit 1
) as p
"""
_HELD = """
select r.job, count(distinct r.load_date)
from ops.holds as h
inner join ops.pipeline_runs as r on r.id = h.build_id and r.status = 'held'
where r.job = any(%(assets)s) and not exists (
    select from ops.pipeline_runs as later
    where later.job = r.job and later.load_date = r.load_date and later.id > r.id and later.status <> 'running'
)
group by r.job
"""
# By check, because the results of a load_date that grows are many, and an index has them by check.
_CHECKS = """
select c.asset, q.status, count(*)
from unnest(%(assets)s::text[], %(checks)s::text[]) as c (asset, name)
cross join lateral (
    select r.load_date from ops.pipeline_runs as r where r.job = c.asset
    order by r.load_date desc nulls last limit 1
) as latest
cross join lateral (
    select q.status from ops.data_quality_results as q
    where q.table_name = c.asset and q.load_date = latest.load_date and q.check_name = c.name
    order by q.id desc limit 1
) as q
group by c.asset, q.status
"""
_INCIDENTS = "select kind, count(*) from ops.alerts where closed_at is null group by kind"


@dataclass(frozen=True)
class Figure:
    """One value of a metric; `labels` are the values of the labels of its instrument, in their order."""

    instrument: Instrument
    labels: tuple[str, ...]
    value: float


def read_figures(connection: Connection[Any], pipeline: Pipeline, now: datetime) -> list[Figure]:
    """Return all figures of a pipeline, read in one snapshot."""
    with one_snapshot(connection, LEDGER_ALONE):
        return [
            Figure(instruments.LEDGER_READ, (pipeline.name,), 1),
            *_of_kpis(connection, pipeline, now),
            *_of_tables(connection, pipeline),
            *_of_checks(connection, pipeline),
            *_of_incidents(connection, pipeline),
            *_of_streams(connection, pipeline, now),
        ]


def unread(pipeline: str) -> Figure:
    """Return the figure of a pipeline whose ledger could not be read."""
    return Figure(instruments.LEDGER_READ, (pipeline,), 0)


def _of_kpis(connection: Connection[Any], pipeline: Pipeline, now: datetime) -> Iterator[Figure]:
    tables = [table for table in pipeline.tables.values() if table.header.kpi]
    latest = kpis.latest(connection, [table.relation for table in tables]) if tables else {}
    for table in tables:
        load_date = latest.get(table.relation)
        if load_date is None:
            continue
        labels = (pipeline.name, str(table.relation))
        instant: datetime | None = datetime.combine(load_date, time(), timezone.utc) + timedelta(days=1)
        if pipeline.streams_of(table):
            instant = through(connection, pipeline, table, load_date)
        if instant:
            yield Figure(instruments.FRESHNESS, labels, _seconds(now - instant))
        if by := due(connection, pipeline, table, load_date).by:
            yield Figure(instruments.LATE, labels, int(by < now))


def _of_tables(connection: Connection[Any], pipeline: Pipeline) -> Iterator[Figure]:
    assets = [str(relation) for relation in pipeline.tables]
    objects = [table.object_name for table in pipeline.tables.values() if table.has_object]
    for asset, published_at, rows in connection.execute(_LATEST, {"assets": assets}).fetchall():
        yield Figure(instruments.PUBLISHED, (pipeline.name, asset), published_at.timestamp())
        yield Figure(instruments.ROWS, (pipeline.name, asset), rows)
    held = dict(connection.execute(_HELD, {"assets": assets + objects}).fetchall())
    for asset in assets + objects:
        yield Figure(instruments.HELD, (pipeline.name, asset), held.get(asset, 0))


def _of_checks(connection: Connection[Any], pipeline: Pipeline) -> Iterator[Figure]:
    named = [(str(table.relation), check.name) for table in pipeline.tables.values() for check in table.checks]
    given = {"assets": [asset for asset, _ in named], "checks": [name for _, name in named]}
    found = {(asset, status): count for asset, status, count in connection.execute(_CHECKS, given).fetchall()}
    for asset in dict.fromkeys(asset for asset, _ in found):
        for status in STATUSES:
            yield Figure(instruments.CHECKS, (pipeline.name, asset, status), found.get((asset, status), 0))


def _of_incidents(connection: Connection[Any], pipeline: Pipeline) -> Iterator[Figure]:
    found = dict(connection.execute(_INCIDENTS).fetchall())
    for kind in KINDS:
        yield Figure(instruments.INCIDENTS, (pipeline.name, kind), found.get(kind, 0))


def _of_streams(connection: Connection[Any], pipeline: Pipeline, now: datetime) -> Iterator[Figure]:
    known = streams.positions(connection)
    for stream in sorted({table.stream for table in pipeline.stream_tables if table.stream}):
        own = [each for each in known if each.stream == stream]
        if not own:
            continue
        labels = (pipeline.name, stream)
        lag = sum(max(0, each.high_watermark - (each.next or 0)) for each in own if each.high_watermark is not None)
        yield Figure(instruments.LAG, labels, lag)
        yield Figure(instruments.STOPPED, labels, sum(each.problem is not None for each in own))
        landed = [each.caught_up_at for each in own if each.caught_up_at]
        if len(landed) == len(own):
            yield Figure(instruments.LANDED_AGE, labels, _seconds(now - min(landed)))


def _seconds(age: timedelta) -> float:
    return max(0.0, round(age.total_seconds(), 3))
