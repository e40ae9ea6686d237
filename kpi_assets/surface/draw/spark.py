"""The sparkline of a tile: the shape of the last load_dates, without an axis."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal

from kpi_assets.surface.draw.lines import AxisOfDays, polylines
from kpi_assets.surface.draw.scale import Axis
from kpi_assets.surface.draw.shapes import Svg, is_drawn, px

WIDTH, HEIGHT, EDGE = 280, 56, 8


def spark(
    days: Sequence[date],
    values: Mapping[date, Decimal | None],
    stops: Mapping[date, str],
    *,
    target: Decimal | None = None,
    extra: Collection[str] = (),
) -> Svg:
    """Draw the values over the days. A day of `stops` has a column in the color of its state, and no line crosses it.

    `extra` are further classes. It is empty if there are no days. A target is drawn if it lies among the values.
    """
    if not days:
        return Svg()
    drawn = [value for value in values.values() if value is not None and is_drawn(value)]
    across = AxisOfDays(days, 2, WIDTH - 2)
    up = _axis(drawn)
    wide = max(across.step * 0.72, 4)
    parts = [f'<svg class="{" ".join(("spark", *extra))}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" ']
    parts.append('aria-hidden="true">')
    parts += [
        f'<rect class="stop {state}" x="{px(across.x(day) - wide / 2)}" y="2" width="{px(wide)}" '
        f'height="{HEIGHT - 4}" rx="3"/>'
        for day, state in stops.items()
        if day in across
    ]
    if target is not None and drawn and min(drawn) <= target <= max(drawn):
        parts.append(f'<path class="target" d="M2 {px(up.y(target))}H{WIDTH - 2}"/>')
    parts.append(polylines(across, up, values))
    if last := [day for day in days if is_drawn(values.get(day))]:
        value = values[last[-1]]
        assert value is not None
        parts.append(f'<path class="end" d="M{px(across.x(last[-1]))} {px(up.y(value))}h0"/>')
    return Svg("".join([*parts, "</svg>"]))


def _axis(drawn: Sequence[Decimal]) -> Axis:
    low, high = (min(drawn), max(drawn)) if drawn else (Decimal(0), Decimal(1))
    if low == high:
        room = abs(high) or Decimal(1)
        low, high = low - room, high + room
    return Axis((low, high), ("", ""), EDGE, HEIGHT - EDGE)
