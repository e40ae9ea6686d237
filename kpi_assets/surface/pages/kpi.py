"""The page of a KPI: its number over load_dates, the rows behind it, whether to trust it, and where it comes from.

Belongs here: its address, and what its template is given. Not here: rows (breakdown.py), files and checks (origin.py),
and what is drawn (charts.py).
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from kpi_assets.errors import UserError
from kpi_assets.model.measure import Measure
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.model.titles import day
from kpi_assets.read import said
from kpi_assets.read.kpis import KpiState, Point, find_kpi, read_kpis
from kpi_assets.read.lineage import read_lineage
from kpi_assets.read.tiles import RestatedValue, tile_of
from kpi_assets.settings import Settings
from kpi_assets.surface import draw
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.pages.breakdown import rows_of
from kpi_assets.surface.pages.charts import days_of, newest_publish, trend_of
from kpi_assets.surface.pages.origin import gates_of, stages_of
from kpi_assets.surface.pages.overview import find_pipeline
from kpi_assets.surface.pages.window import day_of, instant_of, last_of, window_of
from kpi_assets.surface.pages.words import pipeline_title
from kpi_assets.surface.render import link, page

router = APIRouter(include_in_schema=False)

IN_TABLE = 100  # load_dates of the table below the chart
RESTATED = 2  # shown without a click
MORE_RESTATED = 10


@dataclass(frozen=True)
class Asked:
    """The words of an address."""

    path: str
    measure: str
    load_date: date | None
    as_of: datetime | None
    last: str
    first_day: date | None
    last_day: date | None

    def to(self, **others: object) -> str:
        """Return the address with other words."""
        words: dict[str, object] = {
            "measure": self.measure,
            "load_date": self.load_date,
            "as_of": instant(self.as_of),
            "last": None if self.last == "90" else self.last,
            "from_": self.first_day,
            "to": self.last_day,
        }
        return link(self.path, **{**words, **others})


@router.get("/kpi/{pipeline}/{table}")
async def one_kpi(
    request: Request,
    pipeline: str,
    table: str,
    measure: str = "",
    load_date: str = "",
    as_of: str = "",
    first: Annotated[str, Query(alias="from")] = "",
    to: str = "",
    last: str = "",
) -> Response:
    """Show a KPI."""
    found = find_pipeline(request, pipeline)
    kpi = find_table(found, table)
    assert kpi.header.kpi
    measures = kpi.header.kpi.measures
    if measure and measure not in measures:
        raise Problem(404, "There is no such measure.", f"{table} has {', '.join(measures) or 'no measures'}.")
    asked = Asked(
        f"/kpi/{quote(pipeline)}/{quote(table)}",
        measure or next(iter(measures), ""),
        day_of("load_date", load_date),
        instant_of("as_of", as_of, datetime.now(timezone.utc)),
        last_of(last),
        day_of("from", first),
        day_of("to", to),
    )
    settings: Settings = request.app.state.surface.settings
    return await answer(
        request,
        [pipeline],
        lambda reading: _body(reading, found, kpi, asked, settings),
        reads=[kpi.relation],
    )


def find_table(pipeline: Pipeline, name: str) -> Table:
    """Return a KPI by its name. Raises Problem if there is none."""
    found = find_kpi(pipeline, name)
    if found is None:
        raise Problem(404, "There is no such KPI.", f"{pipeline_title(pipeline)} has no KPI {name!r}.")
    return found


def instant(at: datetime | None) -> str | None:
    """Write an instant as addresses have it."""
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z") if at else None


def _body(reading: Reading, pipeline: Pipeline, table: Table, asked: Asked, settings: Settings) -> Body:
    if not reading.has(pipeline):
        raise Problem(404, "Nothing is published yet.", f"{pipeline_title(pipeline)} was never run.")
    connection = reading.of(pipeline)
    [kpi] = read_kpis(connection, pipeline, now=reading.now, as_of=asked.as_of, only=table)
    chosen = _chosen(kpi, asked)
    lineage = read_lineage(connection, pipeline, chosen.publish_id) if chosen else None
    rows, gone = None, ""
    if chosen:
        try:
            rows = rows_of(connection, kpi, chosen)
        except UserError as error:
            gone = str(error)
    tile = tile_of(kpi, asked.measure, chosen.load_date if chosen else None) if asked.measure else None
    window = window_of(days_of(kpi), asked.last, asked.first_day, asked.last_day)
    charts = draw.Svg()
    if tile and window.days:
        trend = trend_of(
            tile,
            window.days,
            lambda load_date: asked.to(load_date=load_date),
            lambda first, last: asked.to(from_=first, to=last, last=None),
        )
        charts = draw.Svg("".join(draw.trend(trend, size) for size in (draw.WIDE, draw.NARROW)))
    shown = set(window.days)
    restated = list(tile.restated) if tile else []
    stop = kpi.stop
    return Body(
        page(
            "kpi",
            kpi=kpi,
            header=table.header,
            section=pipeline_title(pipeline),
            asked=asked,
            chosen=chosen,
            is_latest=chosen is kpi.latest,
            tile=tile,
            definition=_definition(table, tile.measure) if tile else "",
            tabs=[tile_of(kpi, name, chosen.load_date if chosen else None) for name in kpi.measures],
            window=window,
            charts=charts,
            points=[point for point in reversed(kpi.points) if point.load_date in shown],
            in_table=IN_TABLE,
            restated=sorted(restated, key=lambda each: each.publish_id, reverse=True),
            restated_shown=RESTATED,
            restated_more=MORE_RESTATED,
            before=lambda each: _before(asked, each),
            has_old_code=len({point.code_version for point in kpi.points}) > 1,
            newest=newest_publish(kpi),
            rows=rows,
            gone=gone,
            lineage=lineage,
            stages=stages_of(lineage) if lineage else [],
            gates=gates_of(pipeline, lineage) if lineage else [],
            stop=stop,
            reasons=said.reasons(pipeline, stop) if stop else [],
            headline=said.headline(stop) if stop else "",
            late_headline=said.late_headline(kpi),
            waivers=[said.waived(pipeline, each) for each in chosen.waived] if chosen else [],
            waived_headline=said.waived_headline(chosen) if chosen and chosen.waived else "",
            finality=said.finality(kpi, chosen) if chosen else "",
            shown=said.shown(kpi),
            sql=table.query.sql.strip() if table.query else "",
            checks_page=_checks_page(settings, pipeline, table),
            serve_url=getattr(settings, "serve_url", None) or "",
            watch=asked.as_of is None,
        )
    )


def _chosen(kpi: KpiState, asked: Asked) -> Point | None:
    """Return the load_date that is shown. Raises Problem if the one that was asked for is not."""
    if asked.load_date is None:
        return kpi.latest
    found = next((point for point in kpi.points if point.load_date == asked.load_date), None)
    if found is None:
        stop = kpi.stop_of(asked.load_date)
        why = said.headline(stop) if stop else f"{kpi.title} has no published {day(asked.load_date, year=True)}."
        raise Problem(404, "This day is not published.", why)
    return found


def _definition(table: Table, measure: Measure) -> str:
    """Return what a measure means: its description, else that of the only column that it is an aggregate of."""
    if measure.description:
        return measure.description
    found = re.fullmatch(r"(?:sum|avg|min|max)\((\w+)\)", measure.value.replace(" ", ""), re.IGNORECASE)
    column = table.header.columns.get(found[1]) if found else None
    return column.description if column else ""


def _before(asked: Asked, restated: RestatedValue) -> str:
    """Return the address that shows what readers saw before a load_date was restated."""
    return asked.to(load_date=restated.load_date, as_of=instant(restated.at - timedelta(microseconds=1)))


def _checks_page(settings: Settings, pipeline: Pipeline, table: Table) -> str:
    """Return the page of its checks in Dagster's UI, if it is known where that is."""
    if "ui_url" not in settings.model_fields_set:
        return ""
    key = "/".join(quote(part, safe="") for part in (pipeline.name, *table.relation))
    return f"{settings.ui_url}/assets/{key}?view=checks"
