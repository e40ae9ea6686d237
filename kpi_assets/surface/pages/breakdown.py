"""The rows of a KPI on its page: upright bars for a few groups, or a table with bars for the highest ones.

Belongs here: which rows and columns are shown, and how they are named and written. Not here: reading rows
(read/breakdown.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from psycopg import Connection

from kpi_assets.model.kpi import Chart
from kpi_assets.model.measure import Measure
from kpi_assets.model.number_format import NOTHING, write
from kpi_assets.model.titles import day
from kpi_assets.read.breakdown import Breakdown, bars_before, read_breakdown
from kpi_assets.read.kpis import KpiState, Point
from kpi_assets.surface import draw
from kpi_assets.surface.draw.columns import fits
from kpi_assets.surface.render import name_of

WEEK = timedelta(days=7)
_MOST_COLUMNS = 7
_KEYS = ("_id", "_sk")  # of columns that say nothing to people, unless the bars are named by them
_WIDE, _NARROW = draw.Size("wide", 690, 210, 40), draw.Size("narrow", 380, 190, 40)


@dataclass(frozen=True)
class Cell:
    """A value as text; `is_number` goes to the right, and a `bar` stands before it."""

    text: str
    is_number: bool = False
    bar: draw.Svg | None = None


@dataclass(frozen=True)
class Rows:
    """What a page shows of the rows. `chart` is empty if the table has the bars; `before` is the day of the ticks."""

    title: str
    chart: draw.Svg
    before: date | None
    heads: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    total: int
    left_out: int
    load_date: date


def rows_of(connection: Connection[Any], kpi: KpiState, point: Point) -> Rows:
    """Return the rows of a load_date. Raises UserError if they are gone."""
    assert kpi.table.header.kpi
    chart = kpi.table.header.kpi.chart
    found = read_breakdown(
        connection,
        kpi.pipeline,
        kpi.table,
        point.load_date,
        publish_id=point.publish_id,
        order=[(chart.y, "desc")],
        limit=chart.top,
    )
    x, y = found.columns.index(chart.x), found.columns.index(chart.y)
    names = [label_of(chart, row[x], found.types[x]) for row in found.rows]
    style = _style(kpi, chart.y, found.types[y]) or "decimal2"
    title = f"{title_of(kpi.measures, chart.y)} by {name_of(chart.x)}"
    if found.total <= len(found.rows) and len(set(names)) == len(names) and fits(names, _WIDE):
        then = point.load_date - WEEK
        keys = [row[x] for row in found.rows]
        was = bars_before(connection, kpi.table, then, keys) if kpi.as_of is None else {}
        found = _in_order(found, chart, x)
        groups = [
            draw.Column(label_of(chart, row[x], found.types[x]), number(row[y]), number(was.get(row[x])), day(then))
            for row in found.rows
        ]
        pictures = draw.Svg("".join(draw.columns(groups, style, title, size) for size in (_WIDE, _NARROW)))
        return _rows(kpi, found, title, pictures, then if was else None)
    return _rows(kpi, found, title, draw.Svg(), None)


def label_of(chart: Chart, value: str | None, type_: str = "text") -> str:
    """Return what a bar is called."""
    if value is None:
        return NOTHING
    if type_ == "date" and not chart.labels:
        return day(date.fromisoformat(value), year=True) if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else value
    return chart.label(value)


def number(text: str | None) -> Decimal | None:
    """Return the number that PostgreSQL wrote; None if it is none."""
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


def _in_order(found: Breakdown, chart: Chart, x: int) -> Breakdown:
    """Return the rows in the order of their labels, numbers or names."""
    places = {name: place for place, name in enumerate(chart.labels)}

    def key(row: Sequence[str | None]) -> tuple[bool, int, Decimal, str]:
        text, value = row[x] or "", number(row[x])
        is_number = value is not None and value.is_finite()
        return row[x] is None, places.get(text, len(places)), value if value and is_number else Decimal(0), text

    return Breakdown(**{**found.__dict__, "rows": sorted(found.rows, key=key)})


def _rows(kpi: KpiState, found: Breakdown, title: str, chart_picture: draw.Svg, before: date | None) -> Rows:
    assert kpi.table.header.kpi
    chart, header = kpi.table.header.kpi.chart, kpi.table.header
    grain = header.grain or []
    others = [name for name in found.columns if name not in (chart.x, chart.y)]
    columns = [chart.x, chart.y, *(name for name in others if not name.endswith(_KEYS))][:_MOST_COLUMNS]
    places = [found.columns.index(name) for name in columns]
    styles = [
        None if name == chart.x or name in grain else _style(kpi, name, found.types[place])
        for name, place in zip(columns, places, strict=True)
    ]
    values = [each for row in found.rows if (each := number(row[places[1]])) is not None and each.is_finite()]
    highest = max(values, default=None)
    has_bars = not chart_picture

    def cell(row: Sequence[str | None], nth: int) -> Cell:
        text, style = row[places[nth]], styles[nth]
        if nth == 0:
            return Cell(label_of(chart, text, found.types[places[0]]))
        shown = write(number(text), style) if style else NOTHING if text is None else text
        bar = draw.bar(number(text), highest) if nth == 1 and has_bars else None
        return Cell(shown, style is not None, bar)

    return Rows(
        title,
        chart_picture,
        before,
        [
            Cell(name_of(name), styles[nth] is not None and not (nth == 1 and has_bars))
            for nth, name in enumerate(columns)
        ],
        [[cell(row, nth) for nth in range(len(columns))] for row in found.rows],
        found.total,
        found.left_out,
        found.load_date,
    )


def title_of(measures: Mapping[str, Measure], column: str) -> str:
    """Return what the bars show: the measure that is their sum. The title of a maximum is that of one bar alone."""
    value = f"sum({column})"
    return next((each.title for each in measures.values() if each.value.replace(" ", "") == value), name_of(column))


def _measure_of(kpi: KpiState, column: str) -> Measure | None:
    """Return the measure that is an aggregate of this column alone; None if there is none."""
    aggregate = re.compile(rf"(sum|avg|min|max)\({re.escape(column)}\)", re.IGNORECASE)
    return next((each for each in kpi.measures.values() if aggregate.fullmatch(each.value.replace(" ", ""))), None)


def _style(kpi: KpiState, column: str, type_: str) -> str | None:
    """Return the format of a column: that of a measure of this column alone, else by its type; None of a text."""
    if measure := _measure_of(kpi, column):
        return measure.format
    if type_ in ("smallint", "integer", "bigint"):
        return "integer"
    if found := re.fullmatch(r"numeric\(\d+, ?(\d+)\)", type_):
        return f"decimal{min(int(found[1]), 4)}"
    return "decimal4" if type_ in ("numeric", "real", "double precision") else None
