"""Freshness: which KPIs are late, by their latest published load_date.

Dagster's own policy (assets/) counts from the last materialization, so the backfill of an old load_date would turn it
green. This counts from the load_date. Not here: recording incidents (ledger/incidents.py) and sending alerts (alerts/).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline


@dataclass(frozen=True)
class LateKpi:
    """A KPI whose latest published load_date ended longer ago than its header allows."""

    relation: Relation
    latest: date
    since: datetime
    within_hours: float

    @property
    def sentence(self) -> str:
        """A sentence that stays the same until a newer load_date is published."""
        return (
            f"{self.relation} is late since {self.since.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC: "
            f"its latest published load_date is {self.latest}, and its freshness is within_hours: "
            f"{self.within_hours:g}, counted from that load_date's end"
        )


def late(connection: Connection[Any], pipeline: Pipeline, now: datetime | None = None) -> list[LateKpi]:
    """Return the KPIs that are late, sorted by name. A KPI that was never published is not late.

    The hours are counted from the end of the load_date, 24:00 UTC, because a day is due only once it is over.
    """
    hours = {str(r): t.header.freshness.within_hours for r, t in pipeline.tables.items() if t.header.freshness}
    rows = connection.execute(
        """
        select w.asset, l.load_date, u.late_from, w.hours
        from unnest(%(assets)s::text[], %(hours)s::double precision[]) as w (asset, hours)
        cross join lateral (
            select max(p.load_date) as load_date from ops.published as p where p.asset = w.asset
        ) as l
        cross join lateral (
            select (l.load_date + 1)::timestamp at time zone 'UTC' + make_interval(secs => w.hours * 3600) as late_from
        ) as u
        where u.late_from < %(now)s
        order by w.asset
        """,
        {"assets": list(hours), "hours": list(hours.values()), "now": now or datetime.now(timezone.utc)},
    ).fetchall()
    return [LateKpi(Relation.parse(asset), *rest) for asset, *rest in rows]


def report_late(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open an incident for each load_date that late KPIs lack; KPIs that lack the same load_date share one."""
    lacking: dict[date, list[LateKpi]] = {}
    for found in late(connection, pipeline):
        lacking.setdefault(found.latest + timedelta(days=1), []).append(found)
    for load_date, kpis in lacking.items():
        sentences = [found.sentence for found in kpis]
        incidents.report_late(connection, pipeline.name, load_date, *sentences, kpi=str(kpis[0].relation))
