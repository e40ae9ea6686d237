"""Freshness: which KPIs are late, by their latest published load_date or by the instant through which they are built.

Dagster's own policy (assets/) counts from the last materialization, so the backfill of an old load_date would turn it
green. This counts from the load_date. A KPI that reads tables that grow may count in minutes, from the instant through
which it has been built (through.py). Not here: recording incidents (ledger/incidents.py) and sending alerts (alerts/).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.monitoring.through import through


@dataclass(frozen=True)
class LateKpi:
    """A KPI whose latest published load_date ended longer ago than its header allows.

    `lacking` is the next load_date on which the KPI is due. Days on which it is not due do not count: the hours begin
    with `lacking`, which for a daily KPI is the end of the latest load_date.
    """

    relation: Relation
    latest: date
    lacking: date
    within_hours: float

    @property
    def since(self) -> datetime:
        """When it became late."""
        return due_by(self.lacking, self.within_hours)

    @property
    def sentence(self) -> str:
        """A sentence that stays the same until a newer load_date is published."""
        is_next = self.lacking == self.latest + timedelta(days=1)
        begin = "that load_date's end" if is_next else f"the beginning of {self.lacking}, on which it is due next"
        return (
            f"{self.relation} is late since {self.since:%Y-%m-%d %H:%M} UTC: "
            f"its latest published load_date is {self.latest}, and its freshness is within_hours: "
            f"{self.within_hours:g}, counted from {begin}"
        )


@dataclass(frozen=True)
class OldKpi:
    """A KPI that has been built through an instant that lies further back than its header allows, in minutes.

    `lacking` is its latest load_date, to which the events belong that it lacks.
    """

    relation: Relation
    lacking: date
    through: datetime
    within_minutes: float

    @property
    def since(self) -> datetime:
        """When it became late."""
        return self.through + timedelta(minutes=self.within_minutes)

    @property
    def sentence(self) -> str:
        """A sentence that stays the same until it is built through a later instant."""
        return (
            f"{self.relation} is late since {self.since:%Y-%m-%d %H:%M} UTC: its numbers of {self.lacking} have the "
            f"events until {self.through:%H:%M:%S} UTC, and its freshness is within_minutes: {self.within_minutes:g}"
        )


def due_by(lacking: date, within_hours: float) -> datetime:
    """Return until when the load_date must be published that a KPI lacks."""
    return datetime.combine(lacking, time(), timezone.utc) + timedelta(hours=within_hours)


@dataclass(frozen=True)
class Due:
    """Until when a KPI is fresh, and through which instant it is built; None of what is not known or not asked for."""

    by: datetime | None = None
    through: datetime | None = None


def due(connection: Connection[Any], pipeline: Pipeline, table: Table, latest: date | None) -> Due:
    """Return until when a KPI is fresh whose latest published load_date is given."""
    freshness = table.header.freshness
    if latest is None or freshness is None:
        return Due()
    if freshness.within_minutes is not None:
        built = through(connection, pipeline, table, latest)
        return Due(built + timedelta(minutes=freshness.within_minutes), built) if built else Due()
    lacking = pipeline.calendars[table.relation].next_after(latest)
    return Due(due_by(lacking, freshness.within_hours or 0)) if lacking else Due()


def late(connection: Connection[Any], pipeline: Pipeline, now: datetime | None = None) -> list[LateKpi | OldKpi]:
    """Return the KPIs that are late, sorted by name. A KPI that was never published is not late.

    The hours are counted from the end of the load_date, 24:00 UTC, because a day is due only once it is over; if the
    KPI is not due on the next day, from the beginning of the next load_date on which it is.
    """
    at = now or datetime.now(timezone.utc)
    return [found for found in deadlines(connection, pipeline) if found.since < at]


def deadlines(connection: Connection[Any], pipeline: Pipeline) -> list[LateKpi | OldKpi]:
    """Return when each KPI that has a freshness is late, unless it is published again, sorted by name."""
    watched = {relation: table for relation, table in pipeline.tables.items() if table.header.freshness}
    rows = connection.execute(
        """
        select w.asset, l.load_date
        from unnest(%(assets)s::text[]) as w (asset)
        cross join lateral (
            select max(p.load_date) as load_date from ops.published as p where p.asset = w.asset
        ) as l
        where l.load_date is not null
        order by w.asset
        """,
        {"assets": [str(relation) for relation in watched]},
    ).fetchall()
    return [
        found
        for asset, latest in rows
        for found in _deadline(connection, pipeline, watched[Relation.parse(asset)], latest)
    ]


def _deadline(
    connection: Connection[Any], pipeline: Pipeline, table: Table, latest: date
) -> Iterator[LateKpi | OldKpi]:
    freshness = table.header.freshness
    assert freshness is not None
    if freshness.within_minutes is not None:
        built = through(connection, pipeline, table, latest)
        if built:
            yield OldKpi(table.relation, latest, built, freshness.within_minutes)
        return
    lacking = pipeline.calendars[table.relation].next_after(latest)
    if lacking and freshness.within_hours is not None:
        yield LateKpi(table.relation, latest, lacking, freshness.within_hours)


def report_late(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open an incident for each load_date that late KPIs lack; KPIs that lack the same load_date share one."""
    lacking: dict[date, list[LateKpi | OldKpi]] = {}
    for found in late(connection, pipeline):
        lacking.setdefault(found.lacking, []).append(found)
    for load_date, kpis in lacking.items():
        sentences = [found.sentence for found in kpis]
        incidents.report_late(connection, pipeline.name, load_date, *sentences, kpi=str(kpis[0].relation))
