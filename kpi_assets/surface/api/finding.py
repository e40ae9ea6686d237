"""What every address of a KPI begins with: which KPI is meant, what is known of it, and which load_date.

Belongs here: finding, and the problems of what is not there. Not here: parameters that are wrong (parameters.py).
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from fastapi import Request

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read import said
from kpi_assets.read.kpis import KpiState, Point, find_kpi, kpi_tables, read_kpis
from kpi_assets.surface.answer import Problem, Reading
from kpi_assets.surface.api.answers import ProblemAnswer, reason_of

_PROBLEM = {"content": {"application/problem+json": {"schema": ProblemAnswer.model_json_schema()}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such KPI, or the load_date is not published: `detail` says why.", **_PROBLEM},
    422: {"description": "A parameter is wrong or unknown: `title` names it.", **_PROBLEM},
}
GONE: dict[int | str, dict[str, Any]] = {
    410: {"description": "The rows are there no more: they were replaced by those of another publish.", **_PROBLEM},
    501: {"description": "This server cannot write the format: `title` says what it lacks.", **_PROBLEM},
}


def pipelines_of(request: Request) -> Mapping[str, Pipeline]:
    """Return the pipelines that are served."""
    found: Mapping[str, Pipeline] = request.app.state.surface.pipelines
    return found


def address_of(request: Request) -> str:
    """Return the address of a request, without its host."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def kpi_named(request: Request, pipeline: str, table: str) -> tuple[Pipeline, Table]:
    """Return the KPI of an address. Raises Problem 404."""
    found = pipelines_of(request).get(pipeline)
    kpi = find_kpi(found, table) if found else None
    if found is None or kpi is None:
        raise Problem(404, "There is no such KPI.", "/api/v1/kpis lists every KPI with its id.")
    return found, kpi


def state_of(
    reading: Reading,
    pipeline: Pipeline,
    table: Table,
    *,
    as_of: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
) -> KpiState:
    """Return all that is known of one KPI."""
    [found] = states_of(reading, pipeline, only=table, as_of=as_of, first=first, last=last)
    return found


def states_of(
    reading: Reading,
    pipeline: Pipeline,
    *,
    only: Table | None = None,
    as_of: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
) -> list[KpiState]:
    """Return all that is known of the KPIs of a pipeline; of one that was never run, that nothing is published."""
    if reading.has(pipeline):
        connection = reading.of(pipeline)
        return read_kpis(connection, pipeline, now=reading.now, as_of=as_of, first=first, last=last, only=only)
    return [
        KpiState(
            pipeline, table, (), (), None, late=False, as_of=as_of, measures=table.header.kpi.measures, now=reading.now
        )
        for table in kpi_tables(pipeline)
        if table.header.kpi and only in (None, table)
    ]


def day_of(
    reading: Reading, pipeline: Pipeline, table: Table, load_date: date | None, as_of: datetime | None = None
) -> tuple[KpiState, Point]:
    """Return one KPI, and a load_date that is shown, by default the latest. Raises Problem 404."""
    alone = load_date or reading.now.date()
    kpi = state_of(reading, pipeline, table, as_of=as_of, first=alone, last=alone)
    return kpi, point_of(kpi, load_date)


def point_of(kpi: KpiState, load_date: date | None) -> Point:
    """Return a load_date that is shown, by default the latest. Raises Problem 404, which says why it is not shown."""
    point = kpi.point(load_date) if load_date else kpi.latest
    if point is None:
        raise Problem(404, *not_shown(kpi, load_date))
    return point


def not_shown(kpi: KpiState, load_date: date | None) -> tuple[str, str]:
    """Return that a load_date is not published, and why."""
    name = kpi.table.relation
    if load_date is None:
        return f"No load_date of {name} is published.", _why(kpi) or "It has not been built yet."
    title = f"{name} of {load_date} is not published."
    if stop := kpi.stop_of(load_date):
        return title, f"{said.headline(stop)} Why: {reason_of(kpi, stop)}."
    if kpi.now and load_date > kpi.now.date():
        return title, "The load_date lies in the future."
    if not kpi.pipeline.is_table_due(kpi.table, load_date):
        return title, "It is not due on this load_date."
    return title, f"Nothing was built of it{f' by {kpi.as_of.isoformat()}' if kpi.as_of else ' yet'}."


def _why(kpi: KpiState) -> str:
    return f"{said.headline(kpi.stop)} Why: {reason_of(kpi, kpi.stop)}." if kpi.stop else ""
