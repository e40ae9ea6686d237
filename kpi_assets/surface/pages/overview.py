"""The overview of all pipelines, and the pages of one pipeline and of one board: tiles, and what became of load_dates.

Belongs here: which tiles there are, in which order, and how many. Not here: what a tile says (read/tiles.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from psycopg import Connection

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.titles import day
from kpi_assets.read.kpis import KpiState, find_kpi, read_kpis
from kpi_assets.read.newest import newest_load_date
from kpi_assets.read.said import Banner, banners
from kpi_assets.read.tiles import Tile, tiles_of
from kpi_assets.surface import draw
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.pages.charts import days_of, lead_of, newest_publish, spark_of
from kpi_assets.surface.pages.words import pipeline_title
from kpi_assets.surface.render import link, page, things

router = APIRouter(include_in_schema=False)

DAYS = 40  # load_dates that a tile looks back, with those it is compared with
STRIP = 28
FEW = 60  # tiles that one page shows of all pipelines together
SOME = 12  # tiles of each pipeline, if there are more


@dataclass(frozen=True)
class Card:
    """A tile as it is shown. A KPI without measures has a card that only names its rows."""

    kpi: KpiState
    tile: Tile | None
    title: str
    address: str
    is_lead: bool = False

    @property
    def picture(self) -> draw.Svg:
        """The sparkline."""
        return spark_of(self.tile) if self.tile else draw.Svg()

    @property
    def chart(self) -> draw.Svg:
        """The chart of a large tile."""
        return lead_of(self.tile) if self.tile and self.is_lead else draw.Svg()

    @property
    def newest(self) -> int:
        """The newest publish that it shows."""
        return newest_publish(self.kpi)

    @property
    def found_by(self) -> str:
        """The text in which `find` looks."""
        words = (self.title, self.kpi.title, self.kpi.id, self.tile.name if self.tile else "")
        return " ".join(words).replace("_", " ").lower() + " " + self.kpi.id.lower()


@dataclass(frozen=True)
class Board:
    """Some tiles below one title; the only board of a pipeline has none."""

    title: str
    address: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Day:
    """One box of the strip."""

    load_date: date
    state: str
    text: str


@dataclass(frozen=True)
class Section:
    """A pipeline. `more` tiles of it are on its own page."""

    pipeline: Pipeline
    title: str
    kpis: Sequence[KpiState]
    strip: Sequence[Day]
    banners: Sequence[Banner]
    boards: Sequence[Board]
    more: int = 0
    is_built: bool = True

    @property
    def is_good(self) -> str:
        """A sentence if all KPIs are as they should be; else empty."""
        if self.banners or not self.kpis or any(kpi.gate not in ("published", "warned") for kpi in self.kpis):
            return ""
        latest = {kpi.latest.load_date for kpi in self.kpis if kpi.latest}
        if len(latest) != 1:
            return f"{things(len(self.kpis), 'KPI')} passed and none is late."
        whose = {1: "the KPI shows", 2: "both KPIs show"}.get(len(self.kpis), f"all {len(self.kpis)} KPIs show")
        return f"{whose} {day(latest.pop(), year=True)}, whose data passed."


@router.get("/")
async def overview(request: Request, find: str = "") -> Response:
    """Show all pipelines."""
    pipelines = _pipelines(request)

    def make(reading: Reading) -> Body:
        sections = [_section(reading, pipeline) for pipeline in pipelines.values()]
        sections.sort(key=lambda section: (not section.is_built, not section.kpis))
        return _body("overview", sections, reading, find=find, heading="Overview")

    return await answer(request, list(pipelines), make)


@router.get("/pipelines/{name}")
async def one_pipeline(request: Request, name: str, find: str = "") -> Response:
    """Show one pipeline, with all its tiles."""
    pipeline = find_pipeline(request, name)

    def make(reading: Reading) -> Body:
        return _body("pipeline", [_section(reading, pipeline)], reading, find=find, is_all=True)

    return await answer(request, [name], make)


@router.get("/boards/{name}/{board}")
async def one_board(request: Request, name: str, board: str, find: str = "") -> Response:
    """Show one board of a pipeline."""
    pipeline = find_pipeline(request, name)
    if board not in boards_of(pipeline):
        raise Problem(404, "There is no such board.", f"{pipeline_title(pipeline)} has no board {board!r}.")

    def make(reading: Reading) -> Body:
        section = _section(reading, pipeline)
        section = replace(section, boards=[each for each in section.boards if each.title == board])
        return _body("board", [section], reading, find=find, is_all=True, heading=board)

    return await answer(request, [name], make)


def find_pipeline(request: Request, name: str) -> Pipeline:
    """Return a pipeline by its name. Raises Problem if there is none."""
    pipelines = _pipelines(request)
    if name not in pipelines:
        raise Problem(404, "There is no such pipeline.", f"No pipeline is called {name!r}.")
    return pipelines[name]


def first_day(connection: Connection[Any], pipeline: Pipeline) -> date | None:
    """Return the first day that tiles show; None if nothing is published."""
    newest = newest_load_date(connection, pipeline)
    return newest - timedelta(days=DAYS) if newest else None


def boards_of(pipeline: Pipeline) -> Mapping[str, Sequence[str]]:
    """Return the boards of a pipeline: each with the names of its tiles, as `table.measure`."""
    return pipeline.config.boards


def _pipelines(request: Request) -> Mapping[str, Pipeline]:
    found: Mapping[str, Pipeline] = request.app.state.surface.pipelines
    return found


def _section(reading: Reading, pipeline: Pipeline) -> Section:
    title = pipeline_title(pipeline)
    if not reading.has(pipeline):
        return Section(pipeline, title, [], [], [], [], is_built=False)
    connection = reading.of(pipeline)
    kpis = read_kpis(connection, pipeline, now=reading.now, first=first_day(connection, pipeline))
    is_built = any(kpi.points or kpi.stops for kpi in kpis)
    return Section(
        pipeline, title, kpis, _strip(kpis), banners(kpis), _boards(pipeline, kpis), is_built=is_built or not kpis
    )


def _boards(pipeline: Pipeline, kpis: Sequence[KpiState]) -> list[Board]:
    cards = {_place(card): card for card in _cards(kpis)}
    found, placed = [], set()
    for title, names in boards_of(pipeline).items():
        places = [place for name in names if (place := _place_of(pipeline, name)) in cards]
        placed |= set(places)
        address = f"/boards/{pipeline.name}/{quote(title)}"
        found.append(Board(title, address, [cards[place] for place in places]))
    rest = [card for place, card in cards.items() if place not in placed]
    if rest:
        found.append(Board("Other KPIs" if found else "", "", rest))
    return [replace(board, cards=list(_with_lead(board.cards))) for board in found if board.cards]


def _place(card: Card) -> tuple[str, str]:
    """Return what a board names of a tile: the table and the measure."""
    return str(card.kpi.table.relation), card.tile.name if card.tile else ""


def _place_of(pipeline: Pipeline, name: str) -> tuple[str, str]:
    """Return the table and the measure that a board names, as `kpi.measure` or `schema.kpi.measure`."""
    kpi, _, measure = name.rpartition(".")
    table = find_kpi(pipeline, kpi)
    return str(table.relation) if table else "", measure


def _cards(kpis: Sequence[KpiState]) -> Iterator[Card]:
    for kpi in kpis:
        for tile in tiles_of(kpi):
            yield Card(kpi, tile, tile.measure.title, link(f"/kpi/{kpi.id}", measure=tile.name))
        if not kpi.measures:
            yield Card(kpi, None, kpi.title, f"/kpi/{kpi.id}")


def _with_lead(cards: Sequence[Card]) -> Iterator[Card]:
    for number, card in enumerate(cards):
        yield replace(card, is_lead=number == 0 and card.tile is not None)


def _strip(kpis: Sequence[KpiState]) -> list[Day]:
    """Return what became of the last load_dates, over all KPIs of a pipeline."""
    days = sorted({each for kpi in kpis for each in days_of(kpi)})[-STRIP:]
    return [_day(kpis, load_date) for load_date in days]


def _day(kpis: Sequence[KpiState], load_date: date) -> Day:
    due = [kpi for kpi in kpis if kpi.pipeline.calendars[kpi.table.relation].is_due(load_date)]
    states = [stop.state for kpi in kpis if (stop := kpi.stop_of(load_date))]
    shown = sum(any(point.load_date == load_date for point in kpi.points) for kpi in kpis)
    state = next((each for each in ("failed", "held", "running", "waiting") if each in states), "")
    text = f"{shown} of {things(max(len(due), shown), 'KPI')} published"
    if state:
        text = f"{state}, {text}"
    elif not shown:
        state, text = "none", "nothing published"
    elif shown < len(due):
        state = "part"
    return Day(load_date, state or "published", f"{day(load_date, year=True)}: {text}")


def _body(
    kind: str,
    sections: Sequence[Section],
    reading: Reading,
    *,
    find: str = "",
    is_all: bool = False,
    heading: str = "",
) -> Body:
    words = find.strip().lower()
    number = sum(len(board.cards) for section in sections for board in section.boards)
    if words:
        sections = [_found(section, words) for section in sections]
        sections = [section for section in sections if section.boards]
    elif not is_all and number > FEW:
        sections = [_shortened(section) for section in sections]
    return Body(
        page(
            "overview",
            kind=kind,
            sections=sections,
            find=find,
            heading=heading,
            problem=reading.problem,
        )
    )


def _found(section: Section, words: str) -> Section:
    boards = [
        replace(board, cards=[replace(card, is_lead=False) for card in board.cards if words in card.found_by])
        for board in section.boards
    ]
    return replace(section, boards=[board for board in boards if board.cards])


def _shortened(section: Section) -> Section:
    """Show the first tiles of a pipeline that has many."""
    left, boards = SOME, []
    for board in section.boards:
        if left > 0:
            boards.append(replace(board, cards=board.cards[:left]))
        left -= len(board.cards)
    return replace(section, boards=boards, more=max(-left, 0))
