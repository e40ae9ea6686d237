"""The daily digest of a pipeline: the numbers of its boards as text, each with its change and whether to trust it.

Belongs here: what the digest says. Not here: when it is due (automation/digests.py), that it is sent once
(ledger/digests.py), and what a channel makes of it (alerts/).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.alerts.message import HEADING
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.titles import day
from kpi_assets.read import said
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.read.tiles import Tile, tile_of

NEWS = timedelta(days=1)  # how old a restatement may be to be told
OLDEST = timedelta(days=400)  # a measure may be compared with a load_date that lies so far back


@dataclass(frozen=True)
class Board:
    """A group of tiles, under the name that pipeline.yaml or the KPI gives it."""

    name: str
    lines: Sequence[str]  # one a tile


@dataclass(frozen=True)
class Digest:
    """A title, what readers must know first, and the boards."""

    title: str
    news: Sequence[str]
    boards: Sequence[Board]

    @property
    def texts(self) -> list[str]:
        """The title and the lines, as the outbox keeps them and messages show them."""
        boards = [text for board in self.boards for text in (f"{HEADING}{board.name}", *board.lines)]
        return [self.title, *self.news, *boards]


def read_digest(connection: Connection[Any], pipeline: Pipeline, now: datetime) -> Digest | None:
    """Return the digest as of now; None if no KPI has measures. Call it inside one snapshot."""
    if not pipeline.tile_names:
        return None
    found = read_kpis(connection, pipeline, now=now, first=(now - OLDEST).date())
    return digest_of(pipeline, found, now)


def digest_of(pipeline: Pipeline, kpis: Sequence[KpiState], now: datetime) -> Digest:
    """Return the digest of KPIs that were read at `now`."""
    with_measures = [kpi for kpi in kpis if kpi.measures]
    by_table = {kpi.table.relation: kpi for kpi in with_measures}
    banners = said.banners(with_measures)
    tiles = [
        (name, [tile_of(by_table[table.relation], measure) for table, measure in of_board])
        for name, of_board in _boards(pipeline, by_table)
    ]
    boards = [Board(name, list(map(_line, of_board))) for name, of_board in tiles]
    news = [f"{each.headline} {each.shown} {_sentence(each.reasons)}".strip() for each in banners]
    shown = max((kpi.latest.load_date for kpi in with_measures if kpi.latest), default=None)
    if banners:
        what = banners[0].headline.rstrip(".") + f", and {len(banners) - 1} more" * (len(banners) > 1)
    else:
        what = f"the numbers of {day(shown)}" if shown else "nothing is published yet"
    restated = _restated([tile for _, of_board in tiles for tile in of_board], now)
    return Digest(f"{pipeline.name}: {what}", [*news, *restated], boards)


def _boards(pipeline: Pipeline, kpis: Mapping[Relation, KpiState]) -> Iterator[tuple[str, Sequence[tuple[Any, str]]]]:
    """Yield the boards of pipeline.yaml; without any, one for each KPI."""
    if pipeline.boards:
        yield from pipeline.boards.items()
        return
    for kpi in kpis.values():
        yield kpi.title, [(kpi.table, name) for name in kpi.measures]


def _line(tile: Tile) -> str:
    """Return a tile as one line: `Orders: 7,701 orders, +3.0 % vs Tue 17 Nov (7,480); Tue 24 Nov`."""
    parts = [number(tile)]
    if tile.delta:
        parts.append(f"{tile.delta.text} vs {day(tile.delta.load_date)} ({tile.delta.value_text})")
    if tile.target:
        parts.append(tile.target.text)
    return f"{tile.measure.title}: {', '.join(parts)}; {said.gate(tile.kpi)}"


def number(tile: Tile) -> str:
    """Return the number with its unit."""
    return f"{tile.text} {tile.measure.unit}".rstrip() if tile.value is not None else tile.text


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _restated(tiles: Sequence[Tile], now: datetime) -> Iterator[str]:
    """Yield a sentence for each load_date whose numbers readers saw otherwise until yesterday."""
    found: dict[tuple[date, str], dict[str, None]] = {}
    for tile in tiles:
        for each in tile.restated:
            if each.at > now - NEWS:
                was = f"{tile.measure.title} {each.was_text} → {each.now_text}"
                found.setdefault((each.load_date, each.why), {})[was] = None
    for (load_date, why), numbers in found.items():
        yield f"{day(load_date)} was restated: {', '.join(numbers)}; {why}."
