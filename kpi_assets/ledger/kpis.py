"""The KPIs of a pipeline, ops.kpis: when each is due, and what it is made of, for the view ops.kpi_trust.

A database does not know what the files declare. So each publish of a KPI and each end of a run records it.
Not here: when a KPI is due (monitoring/due.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from kpi_assets.model.names import Relation


@dataclass(frozen=True)
class DeclaredKpi:
    """One row of ops.kpis."""

    relation: Relation
    load_date: date | None
    due_by: datetime | None
    made_of: Sequence[str]
    grows: Sequence[str] = ()
    within_minutes: float | None = None
    final_after_days: int | None = None
    final_by: str | None = None


def latest(connection: Connection[Any], relations: Collection[Relation]) -> dict[Relation, date]:
    """Return the latest published load_date of each table that has one, and that readers are shown."""
    rows = connection.execute(
        "select asset, max(load_date) from ops.publishes where asset = any(%s) and removed_at is null "
        "and load_date <= coalesce((select max(load_date) from ops.releases where ended_at is null), 'infinity') "
        "group by asset",
        [[str(relation) for relation in relations]],
    ).fetchall()
    return {Relation.parse(asset): load_date for asset, load_date in rows}


_PUT = """
insert into ops.kpis (kpi, load_date, due_by, made_of, grows, within_minutes, final_after_days, final_by)
select * from jsonb_to_recordset(%(kpis)s) as k (
    kpi text, load_date date, due_by timestamptz, made_of text[], grows text[], within_minutes double precision,
    final_after_days integer, final_by text
)
on conflict (kpi) do update set
    load_date = excluded.load_date, due_by = excluded.due_by, made_of = excluded.made_of, grows = excluded.grows,
    within_minutes = excluded.within_minutes, final_after_days = excluded.final_after_days,
    final_by = excluded.final_by, gone_at = null
where (
        kpis.load_date, kpis.due_by, kpis.made_of, kpis.grows, kpis.within_minutes, kpis.final_after_days,
        kpis.final_by, kpis.gone_at
    )
    is distinct from (
        excluded.load_date, excluded.due_by, excluded.made_of, excluded.grows, excluded.within_minutes,
        excluded.final_after_days, excluded.final_by, null::timestamptz
    )
"""


def record(connection: Connection[Any], kpis: Sequence[DeclaredKpi]) -> None:
    """Record KPIs, inside the transaction that publishes the load_date of each; one that is older changes nothing."""
    if kpis:
        connection.execute(f"{_PUT} and excluded.load_date >= coalesce(kpis.load_date, '-infinity')", _parameters(kpis))


def replace_all(connection: Connection[Any], kpis: Sequence[DeclaredKpi]) -> None:
    """Record all KPIs that are declared; every other one is gone."""
    connection.execute(_PUT, _parameters(kpis))
    connection.execute(
        "update ops.kpis set gone_at = clock_timestamp() where gone_at is null and kpi <> all(%s)",
        [[str(each.relation) for each in kpis]],
    )


def _parameters(kpis: Sequence[DeclaredKpi]) -> dict[str, Jsonb]:
    return {
        "kpis": Jsonb(
            [
                {
                    "kpi": str(each.relation),
                    "load_date": each.load_date.isoformat() if each.load_date else None,
                    "due_by": each.due_by.isoformat() if each.due_by else None,
                    "made_of": list(each.made_of),
                    "grows": list(each.grows),
                    "within_minutes": each.within_minutes,
                    "final_after_days": each.final_after_days,
                    "final_by": each.final_by,
                }
                for each in kpis
            ]
        )
    }
