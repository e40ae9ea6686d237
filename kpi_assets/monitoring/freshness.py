"""Freshness: which KPIs are late, by their latest published load_date.

Dagster's own policy (assets/) counts from the last materialization, so the backfill of an old load_date would turn it
green. This counts from the load_date. Not here: recording incidents (ledger/incidents.py) and sending alerts (alerts/).
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline


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


def due_by(lacking: date, within_hours: float) -> datetime:
    """Return until when the load_date must be published that a KPI lacks."""
    return datetime.combine(lacking, time(), timezone.utc) + timedelta(hours=within_hours)


def late(connection: Connection[Any], pipeline: Pipeline, now: datetime | None = None) -> list[LateKpi]:
    """Return the KPIs that are late, sorted by name. A KPI that was never published is not late.

    The hours are counted from the end of the load_date, 24:00 UTC, because a day is due only once it is over; if the
    KPI is not due on the next day, from the beginning of the next load_date on which it is.
    """
    hours = {r: t.header.freshness.within_hours for r, t in pipeline.tables.items() if t.header.freshness}
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
        {"assets": [str(relation) for relation in hours]},
    ).fetchall()
    at, found = now or datetime.now(timezone.utc), []
    for asset, latest in rows:
        relation = Relation.parse(asset)
        lacking = pipeline.calendars[relation].next_after(latest)
        if lacking and due_by(lacking, hours[relation]) < at:
            found.append(LateKpi(relation, latest, lacking, hours[relation]))
    return found


def report_late(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open an incident for each load_date that late KPIs lack; KPIs that lack the same load_date share one."""
    lacking: dict[date, list[LateKpi]] = {}
    for found in late(connection, pipeline):
        lacking.setdefault(found.lacking, []).append(found)
    for load_date, kpis in lacking.items():
        sentences = [found.sentence for found in kpis]
        incidents.report_late(connection, pipeline.name, load_date, *sentences, kpi=str(kpis[0].relation))
