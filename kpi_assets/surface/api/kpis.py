"""Every KPI with its numbers, one KPI, a measure over load_dates, and what was restated.

Not here: rows (rows.py), checks and lineage (checks.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.sentences import shown
from kpi_assets.model.table import Table
from kpi_assets.read.kpis import KpiState
from kpi_assets.read.mixed import are_mixed
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.api.answers import (
    API,
    KpiAnswer,
    KpisAnswer,
    RestatementsAnswer,
    SeriesAnswer,
    kpi_answer,
    restatements_answer,
    series_answer,
)
from kpi_assets.surface.api.exact import dumps
from kpi_assets.surface.api.finding import PROBLEMS, address_of, kpi_named, pipelines_of, point_of, state_of, states_of
from kpi_assets.surface.api.parameters import (
    AsOf,
    First,
    Last,
    LoadDate,
    MeasureName,
    PipelineName,
    TableName,
    in_order,
    in_time,
    only_declared,
    route_name,
)

JSON = "application/json"

router = APIRouter(
    prefix=API, tags=["KPIs"], dependencies=[Depends(only_declared)], generate_unique_id_function=route_name
)


@router.get("/kpis", response_model=KpisAnswer, responses={422: PROBLEMS[422]}, summary="Every KPI with its numbers")
async def kpis(
    request: Request,
    pipeline: Annotated[str | None, Query(description="Only those of this pipeline.", max_length=200)] = None,
    as_of: AsOf = None,
) -> Response:
    """The latest load_date of each KPI that readers are shown, with its measures and the trust that it deserves."""
    pipelines = pipelines_of(request)
    if pipeline is not None and pipeline not in pipelines:
        raise Problem(422, "The parameter pipeline is wrong.", f"There is no pipeline {shown(pipeline)}.")
    names = [pipeline] if pipeline is not None else list(pipelines)

    def make(reading: Reading) -> Body:
        in_time(as_of, reading.now)
        today = reading.now.date()
        found = {name: states_of(reading, pipelines[name], as_of=as_of, first=today, last=today) for name in names}
        return Body(
            dumps(
                KpisAnswer(
                    kpis=[kpi_answer(kpi) for of_pipeline in found.values() for kpi in of_pipeline],
                    mixed=any(_are_mixed(reading, pipelines[name], found[name], as_of) for name in names),
                    links={"self": address_of(request), "page": "/"},
                )
            ),
            JSON,
        )

    return await answer(request, names, make)


@router.get("/kpis/{pipeline}/{table}", response_model=KpiAnswer, responses=PROBLEMS, summary="One KPI")
async def kpi(
    request: Request, pipeline: PipelineName, table: TableName, load_date: LoadDate = None, as_of: AsOf = None
) -> Response:
    """The measures of one load_date, with what they are compared with and what they should be."""
    found, kpi_table = kpi_named(request, pipeline, table)

    def make(reading: Reading) -> Body:
        in_time(as_of, reading.now)
        alone = load_date or reading.now.date()
        state = state_of(reading, found, kpi_table, as_of=as_of, first=alone, last=alone)
        if load_date is not None:
            point_of(state, load_date)
        return Body(dumps(kpi_answer(state, load_date, itself=address_of(request))), JSON)

    return await answer(request, [found.name], make)


@router.get(
    "/kpis/{pipeline}/{table}/series",
    response_model=SeriesAnswer,
    responses=PROBLEMS,
    summary="A measure over load_dates",
)
async def series(
    request: Request,
    pipeline: PipelineName,
    table: TableName,
    measure: MeasureName = None,
    first: First = None,
    last: Last = None,
    as_of: AsOf = None,
) -> Response:
    """Each load_date that is shown, by its publish, and what it was before; and the load_dates that are not shown."""
    found, kpi_table = kpi_named(request, pipeline, table)
    name = measure_named(kpi_table, measure)
    in_order(first, last)

    def make(reading: Reading) -> Body:
        in_time(as_of, reading.now)
        state = state_of(reading, found, kpi_table, as_of=as_of, first=first, last=last)
        return Body(dumps(series_answer(state, name, first, last, itself=address_of(request))), JSON)

    return await answer(request, [found.name], make)


@router.get(
    "/kpis/{pipeline}/{table}/restatements",
    response_model=RestatementsAnswer,
    responses=PROBLEMS,
    summary="Values that were replaced by others",
)
async def restatements(
    request: Request,
    pipeline: PipelineName,
    table: TableName,
    first: First = None,
    last: Last = None,
    as_of: AsOf = None,
) -> Response:
    """Each value that readers were shown otherwise before: what it was, what it is, since when, and why."""
    found, kpi_table = kpi_named(request, pipeline, table)
    in_order(first, last)

    def make(reading: Reading) -> Body:
        in_time(as_of, reading.now)
        state = state_of(reading, found, kpi_table, as_of=as_of, first=first, last=last)
        return Body(dumps(restatements_answer(state, first, last, itself=address_of(request))), JSON)

    return await answer(request, [found.name], make)


def _are_mixed(reading: Reading, pipeline: Pipeline, kpis: Sequence[KpiState], as_of: datetime | None) -> bool:
    """Return whether the latest load_dates of KPIs rest on different publishes of one raw table."""
    publishes = [kpi.latest.publish_id for kpi in kpis if kpi.latest]
    return bool(publishes) and are_mixed(reading.of(pipeline), publishes, as_of)


def measure_named(table: Table, name: str | None) -> str:
    """Return the name of a measure of a KPI, by default of the headline. Raises Problem 422, or 404 if it has none."""
    assert table.header.kpi
    known = list(table.header.kpi.measures)
    if not known:
        raise Problem(404, "This KPI has no measures.", f"{table.relation} declares none; its rows are at …/rows.")
    if name is None:
        return known[0]
    if name not in known:
        raise Problem(
            422, "The parameter measure is wrong.", f"{shown(name)} is no measure: it has {', '.join(known)}."
        )
    return name
