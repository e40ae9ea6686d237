"""What stands behind a number: every check on the way to it, and every publish and object that it was made from.

Not here: walking the ledger (read/lineage.py).
"""

from collections.abc import Callable
from datetime import date, datetime

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from kpi_assets.read.kpis import KpiState, Point
from kpi_assets.read.lineage import Lineage, read_lineage
from kpi_assets.surface.answer import Body, Reading, answer
from kpi_assets.surface.api.answers import API, Answer, ChecksAnswer, LineageAnswer, checks_answer, lineage_answer
from kpi_assets.surface.api.exact import dumps
from kpi_assets.surface.api.finding import PROBLEMS, address_of, day_of, kpi_named
from kpi_assets.surface.api.parameters import (
    AsOf,
    LoadDate,
    PipelineName,
    TableName,
    in_time,
    only_declared,
    route_name,
)

router = APIRouter(
    prefix=API, tags=["Trust"], dependencies=[Depends(only_declared)], generate_unique_id_function=route_name
)


@router.get(
    "/kpis/{pipeline}/{table}/checks",
    response_model=ChecksAnswer,
    responses=PROBLEMS,
    summary="Every check on the way to a number",
)
async def checks(
    request: Request, pipeline: PipelineName, table: TableName, load_date: LoadDate = None, as_of: AsOf = None
) -> Response:
    """The checks of the KPI and of everything that it comes from, as they were made for this very publish."""
    return await _behind(request, pipeline, table, load_date, as_of, checks_answer)


@router.get(
    "/kpis/{pipeline}/{table}/lineage",
    response_model=LineageAnswer,
    responses=PROBLEMS,
    summary="From the number to the objects on S3",
)
async def lineage(
    request: Request, pipeline: PipelineName, table: TableName, load_date: LoadDate = None, as_of: AsOf = None
) -> Response:
    """Every publish that the number was made from, and the objects with their size and sha256."""
    return await _behind(request, pipeline, table, load_date, as_of, lineage_answer)


async def _behind(
    request: Request,
    pipeline: str,
    table: str,
    load_date: date | None,
    as_of: datetime | None,
    form: Callable[[KpiState, Point, Lineage, str], Answer],
) -> Response:
    found, kpi_table = kpi_named(request, pipeline, table)

    def make(reading: Reading) -> Body:
        in_time(as_of, reading.now)
        kpi, point = day_of(reading, found, kpi_table, load_date, as_of)
        behind = read_lineage(reading.of(found), found, point.publish_id)
        return Body(dumps(form(kpi, point, behind, address_of(request))), "application/json")

    return await answer(request, [found.name], make)
