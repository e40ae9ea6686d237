"""Freshness: which KPIs are late, by the latest load_date that is published of them.

The policy that Dagster is told (assets/) asks when anything of the asset was last materialised: the backfill of an old
load_date turns it green. This asks for the load_date. Not here: who is told (incidents.py).
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
        """The same words as long as nothing newer is published."""
        return (
            f"{self.relation} is late since {self.since.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC: "
            f"its latest published load_date is {self.latest}, and its freshness is within_hours: "
            f"{self.within_hours:g}, counted from that load_date's end"
        )


def late(connection: Connection[Any], pipeline: Pipeline, now: datetime | None = None) -> list[LateKpi]:
    """The KPIs that are late, by their names; one of which nothing was ever published is not late but new.

    The hours are counted from the end of the load_date, 24:00 UTC: a day is due once it is over.
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
    """Open an incident for the load_date that late KPIs lack; one for all that lack the same."""
    lacking: dict[date, list[LateKpi]] = {}
    for found in late(connection, pipeline):
        lacking.setdefault(found.latest + timedelta(days=1), []).append(found)
    for load_date, kpis in lacking.items():
        sentences = [found.sentence for found in kpis]
        incidents.report_late(connection, pipeline.name, load_date, *sentences, kpi=str(kpis[0].relation))
