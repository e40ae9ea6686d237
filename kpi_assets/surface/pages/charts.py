"""What is drawn of a measure: its load_dates with their tooltips and links, as draw/ takes them.

Not here: how it is drawn (draw/), and which load_dates a page shows (window.py).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from kpi_assets.model.number_format import write
from kpi_assets.model.titles import asset_title, day
from kpi_assets.read.kpis import KpiState, Point, Stop
from kpi_assets.read.tiles import Tile
from kpi_assets.surface import draw
from kpi_assets.surface.draw.lines import short
from kpi_assets.surface.render import clock, things

LEAD = draw.Size("wide", 400, 178, 40)
_ON_A_TILE = 30  # load_dates
_LONGEST = 20_000  # days of an axis


def days_of(kpi: KpiState, first: date | None = None, last: date | None = None) -> list[date]:
    """Return the days of an axis: those that are due from the first load_date that is known to the last one."""
    known = [*(point.load_date for point in kpi.points), *(stop.load_date for stop in kpi.stops)]
    known = [each for each in known if (not first or each >= first) and (not last or each <= last)]
    if not known:
        return []
    calendar = kpi.pipeline.calendars[kpi.table.relation]
    between = range(min((max(known) - min(known)).days, _LONGEST))
    due = [each for number in between if calendar.is_due(each := min(known) + timedelta(number))]
    return sorted({*known, *due})


def newest_publish(kpi: KpiState) -> int:
    """Return the newest publish that is shown of a KPI: what a reader has seen then."""
    return max((point.publish_id for point in kpi.points), default=0)


def spark_of(tile: Tile) -> draw.Svg:
    """Draw the sparkline of a tile."""
    days = days_of(tile.kpi)[-_ON_A_TILE:]
    stops = {stop.load_date: stop.state for stop in tile.kpi.stops if not stop.is_correction}
    target = tile.measure.target
    return draw.spark(days, _values(tile, days), stops, target=target.number if target else None)


def lead_of(tile: Tile) -> draw.Svg:
    """Draw the chart of a large tile, which only shows: the tile itself is the link."""
    days = days_of(tile.kpi)[-_ON_A_TILE:]
    return draw.trend(trend_of(tile, days, _nowhere), LEAD, bare=True)


def trend_of(
    tile: Tile,
    days: Sequence[date],
    address: Callable[[date], str],
    group_address: Callable[[date, date], str] | None = None,
) -> draw.Trend:
    """Return what is drawn of a measure over these days. `address` links a day, `group_address` a range of days."""
    kpi, measure = tile.kpi, tile.measure
    shown = set(days)
    dots = {
        point.load_date: draw.Dot(
            point.values.get(tile.name), _lines(tile, point), _was(tile, point), address(point.load_date)
        )
        for point in kpi.points
        if point.load_date in shown
    }
    gaps = {
        stop.load_date: draw.Gap(stop.state, _stop_lines(kpi, stop)) for stop in kpi.stops if stop.load_date in shown
    }

    def group(some: Sequence[date]) -> tuple[Sequence[str], str]:
        return _group_lines(tile, dots, gaps, some), group_address(some[0], some[-1]) if group_address else ""

    span = f", {day(days[0], year=True)} to {day(days[-1], year=True)}" if days else ""
    return draw.Trend(
        f"{measure.title}: {things(len(dots), 'load_date')}{span}",
        measure.format,
        days,
        dots,
        gaps,
        measure.target.number if measure.target else None,
        tile.point.load_date if tile.point else None,
        group,
    )


def _nowhere(_: date) -> str:
    return ""


def _values(tile: Tile, days: Sequence[date]) -> Mapping[date, Decimal | None]:
    return {load_date: value for load_date, value in tile.series if load_date in set(days)}


def _was(tile: Tile, point: Point) -> list[Decimal | None]:
    return [each.was for each in tile.restated_to(point)]


def _lines(tile: Tile, point: Point) -> list[str]:
    value = write(point.values.get(tile.name), tile.measure.format)
    lines = [day(point.load_date, year=True), f"{value} {tile.measure.unit}".strip()]
    lines += [f"restated, was {each.was_text}" for each in tile.restated_to(point)]
    if point.warnings:
        lines.append(things(point.warnings, "warning"))
    lines.append(f"publish {point.publish_id} · {clock(point.published_at)}")
    return lines


def _stop_lines(kpi: KpiState, stop: Stop) -> list[str]:
    newer = "newer rows of it" if stop.is_kept_out else "a correction of it"
    what = newer if stop.is_correction else "nothing was published"
    if stop.state == "running":
        what = "it is being built"
    elif stop.state == "waiting":
        what = "it is shown with the other KPIs"
    return [day(stop.load_date, year=True), f"{stop.state}: {what}", f"at {asset_title(kpi.pipeline, stop.asset)}"]


def _group_lines(
    tile: Tile, dots: Mapping[date, draw.Dot], gaps: Mapping[date, draw.Gap], days: Sequence[date]
) -> list[str]:
    values = [each for one in days if one in dots and (each := dots[one].value) is not None and each.is_finite()]
    style, unit = tile.measure.format, tile.measure.unit
    lines = [f"{short(days[0])} to {day(days[-1], year=True).partition(' ')[2]}"]
    if values:
        low, high = write(min(values), style), write(max(values), style)
        lines.append(f"{low if low == high else f'{low} to {high}'} {unit}".strip())
    else:
        lines.append("no number")
    if restated := sum(bool(dots[one].was) for one in days if one in dots):
        lines.append(f"{restated} restated")
    stopped = Counter(gaps[one].state for one in days if one in gaps)
    return [*lines, *(f"{number} {state}" for state, number in stopped.items()), "click to see these days"]
