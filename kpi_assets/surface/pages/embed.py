"""The tile of a measure as one picture, for wikis, mails and Dagster's UI.

Belongs here: its address, and what it says. Not here: its shape (templates/embed.svg).
"""

from fastapi import APIRouter, Request, Response

from kpi_assets.read import said
from kpi_assets.read.kpis import read_kpis
from kpi_assets.read.tiles import tile_of
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.pages.charts import spark_of
from kpi_assets.surface.pages.kpi import find_table
from kpi_assets.surface.pages.overview import find_pipeline, first_day
from kpi_assets.surface.render import picture

router = APIRouter(include_in_schema=False)


@router.get("/embed/{pipeline}/{table}.svg")
async def embed(request: Request, pipeline: str, table: str, measure: str = "") -> Response:
    """Draw a tile."""
    found = find_pipeline(request, pipeline)
    kpi = find_table(found, table)
    assert kpi.header.kpi
    measures = kpi.header.kpi.measures
    name = measure or next(iter(measures), "")
    if name not in measures:
        raise Problem(404, "There is no such measure.", f"{table} has {', '.join(measures) or 'no measures'}.")

    def make(reading: Reading) -> Body:
        connection = reading.of(found)
        first = first_day(connection, found)
        [state] = read_kpis(connection, found, now=reading.now, first=first, only=kpi)
        tile = tile_of(state, name)
        return Body(
            picture("embed", tile=tile, state=state, said=said.gate(state), spark=spark_of(tile)), "image/svg+xml"
        )

    return await answer(request, [pipeline], make)
