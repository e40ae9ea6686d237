"""Reads KPIs with all that is known of each number: the load_dates shown, those that are not, and what was restated.

Everything is read from the ledger in one snapshot, now or as of an instant in the past. The rows of a KPI are not read
here (breakdown.py), nor what a publish was made from (lineage.py).

Belongs here: what is true of a KPI. Not here: how it is said to readers (said.py), and the tile of one measure
(tiles.py).
"""

from datetime import date, datetime
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import releases
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.monitoring.freshness import Due, due
from kpi_assets.read.asked import Asked, measures_of
from kpi_assets.read.kpi_state import (
    FailedCheck,
    KpiGate,
    KpiState,
    Point,
    Restatement,
    Stop,
    Values,
    Waived,
    find_kpi,
    kpi_id,
    kpi_tables,
)
from kpi_assets.read.points import read_latest, read_points
from kpi_assets.read.stops import lacking_of, read_attempts, read_stops

__all__ = [
    "FailedCheck",
    "KpiGate",
    "KpiState",
    "Point",
    "Restatement",
    "Stop",
    "Values",
    "Waived",
    "find_kpi",
    "kpi_id",
    "kpi_tables",
    "read_kpis",
]


def read_kpis(
    connection: Connection[Any],
    pipeline: Pipeline,
    *,
    now: datetime,
    as_of: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
    only: Table | None = None,
) -> list[KpiState]:
    """Return the KPIs of a pipeline, or `only` one: the load_dates from `first` to `last`.

    They are as they were shown at `as_of`, by default now. Call it inside one snapshot. The latest load_date is always
    among the points, and stops that are not older than it among the stops.
    """
    tables = [only] if only else kpi_tables(pipeline)
    if not tables:
        return []
    newest = releases.newest(connection, as_of) or date.max
    asked = Asked(pipeline, tables, as_of, first or date.min, last or date.max, newest)
    latest = read_latest(connection, asked)
    points = read_points(connection, asked, latest)
    attempts = read_attempts(connection, asked, latest)
    stops = read_stops(connection, asked, latest, points, attempts)
    breached = _read_breached(connection, asked)
    at = as_of or now
    found = []
    for table in tables:
        name = str(table.relation)
        next_due = pipeline.calendars[table.relation].next_after(latest[name]) if name in latest else None
        freshness = table.header.freshness
        is_unknown = as_of is not None and freshness is not None and freshness.within_minutes is not None
        until = Due() if is_unknown else due(connection, pipeline, table, latest.get(name))
        shown = {day: asked.is_in_range(day) or day == latest[name] for day in points[name]}
        found.append(
            KpiState(
                pipeline,
                table,
                [point for day, point in points[name].items() if shown[day]],
                stops[name],
                until.by,
                late=until.by is not None and until.by < at,
                through=until.through,
                as_of=as_of,
                measures=measures_of(table),
                now=at,
                next_due=next_due,
                lacking=lacking_of(asked, table, next_due, attempts),
                breached=breached.get(name, {}),
                beyond=[point for day, point in points[name].items() if not shown[day]],
            )
        )
    return found


def _read_breached(connection: Connection[Any], asked: Asked) -> dict[str, dict[str, datetime]]:
    """Return since when measures are beyond their thresholds, by KPI and measure."""
    watched = [str(table.relation) for table in asked.tables if any(each.alert for each in measures_of(table).values())]
    found: dict[str, dict[str, datetime]] = {}
    if not watched:
        return found
    for name, measure, since in connection.execute(
        "select job, measure, opened_at from ops.alerts where kind = 'breached' and measure is not null "
        "and job = any(%(names)s) "
        "and opened_at <= %(at)s::timestamptz and (closed_at is null or closed_at > %(at)s::timestamptz) order by id",
        {"names": watched, "at": asked.at},
    ).fetchall():
        found.setdefault(name, {})[measure] = since
    return found
