"""Days across a picture, and the line over them, which breaks where nothing is shown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby

from kpi_assets.model import titles
from kpi_assets.surface.draw.scale import Axis
from kpi_assets.surface.draw.shapes import is_drawn, px

MANY = 120  # days, of which the months are named instead, and whose line is thin
MOST_POINTS = 800  # of a line; of more, the lowest and the highest of each group of days are drawn


def short(day: date) -> str:
    """Return a day without its weekday: `24 Nov`."""
    return titles.day(day).partition(" ")[2]


def month(day: date) -> str:
    """Return the month of a day: `Nov 2026`."""
    return titles.day(day, year=True).split(" ", 2)[2]


class AxisOfDays:
    """The days from the left to the right, each in the middle of a column of its own that is `step` pixels wide."""

    def __init__(self, days: Sequence[date], left: float, right: float) -> None:
        self.days = days
        self.left, self.right = left, right
        self.step = (right - left) / len(days)
        self._number = {day: number for number, day in enumerate(days)}

    def __contains__(self, day: date) -> bool:
        return day in self._number

    def x(self, day: date) -> float:
        """Return the middle of a day."""
        return self.left + self.step * (self._number[day] + 0.5)

    def labels(self, room: float) -> Iterator[tuple[float, str]]:
        """Return labels that have this room each: days, or months if there are many days. The last day has one."""
        is_long = self.days[0].year != self.days[-1].year and len(self.days) > MANY
        every, last = max(1, math.ceil(room * (1.5 if is_long else 1) / self.step)), len(self.days) - 1
        for number, day in enumerate(self.days):
            if (last - number) % every == 0:
                yield self.x(day), month(day) if is_long else short(day)


def runs(days: Sequence[date], values: Mapping[date, Decimal | None]) -> Iterator[list[tuple[date, Decimal]]]:
    """Return the stretches of days that all have a value."""
    for drawn, group in groupby(days, lambda day: is_drawn(values.get(day))):
        if drawn:
            yield [(day, value) for day in group if (value := values[day]) is not None]


def polylines(across: AxisOfDays, up: Axis, values: Mapping[date, Decimal | None]) -> str:
    """Draw the line; a stretch of a single day is a dash, so that it can be seen."""
    parts = []
    for run in runs(across.days, values):
        points = [f"{px(across.x(day))},{px(up.y(value))}" for day, value in _thinned(run)]
        if len(points) == 1:
            x, y = points[0].split(",")
            parts.append(f'<path class="line" d="M{px(float(x) - 2)} {y}h4"/>')
        else:
            thin = " thin" if len(across.days) > MANY else ""
            parts.append(f'<polyline class="line{thin}" points="{" ".join(points)}"/>')
    return "".join(parts)


def _thinned(run: Sequence[tuple[date, Decimal]]) -> list[tuple[date, Decimal]]:
    if len(run) <= MOST_POINTS:
        return list(run)
    size = -(-len(run) // (MOST_POINTS // 2))
    kept = []
    for start in range(0, len(run), size):
        group = run[start : start + size]
        ends = {min(group, key=lambda each: each[1]), max(group, key=lambda each: each[1])}
        kept += sorted(ends)
    return kept
