"""A measure over load_dates: an axis, its target, hatched days that are not shown, and rings of restated values.

The pattern of the hatching, #hatch, is in templates/base.html: once for all pictures of a page.
Of more days than a pointer can tell apart, some share a place: its tooltip says so, and its link shows them alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from kpi_assets.model.number_format import write
from kpi_assets.surface.draw.lines import AxisOfDays, polylines
from kpi_assets.surface.draw.scale import Axis, axis
from kpi_assets.surface.draw.shapes import Size, Svg, is_drawn, place, px, text, tip

RIGHT, TOP, BOTTOM, LABEL = 18, 22, 34, 50  # pixels


@dataclass(frozen=True)
class Dot:
    """A day that is shown: its value, what was shown before it was restated, and the lines of its tooltip."""

    value: Decimal | None
    lines: Sequence[str]
    was: Sequence[Decimal | None] = ()
    link: str = ""


@dataclass(frozen=True)
class Gap:
    """A day that is not shown: its state, and the lines of its tooltip."""

    state: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Trend:
    """What is drawn: `days` are all that could be shown, `dots` those that are, and `gaps` those that were stopped.

    `group` makes the lines of a place of several days, and its link.
    """

    title: str
    style: str
    days: Sequence[date]
    dots: Mapping[date, Dot]
    gaps: Mapping[date, Gap] = field(default_factory=dict)
    target: Decimal | None = None
    selected: date | None = None
    group: Callable[[Sequence[date]], tuple[Sequence[str], str]] | None = None


def trend(what: Trend, size: Size, *, bare: bool = False) -> Svg:
    """Draw it. A bare picture has no places that a pointer can find. It is empty if there are no days."""
    return Svg(_Picture(what, size).draw(bare) if what.days else "")


class _Picture:
    def __init__(self, what: Trend, size: Size) -> None:
        self.what, self.size = what, size
        bottom = size.height - BOTTOM
        self.up: Axis = axis(_values(what), what.style, TOP, bottom)
        self.across = AxisOfDays(what.days, self.up.room, size.width - RIGHT)

    def draw(self, bare: bool) -> str:
        """Draw all of it."""
        size = self.size
        role = "img" if bare else "group"
        head = (
            f'<svg class="chart {size.name}" viewBox="0 0 {size.width} {size.height}" role="{role}" '
            f'aria-label="{text(self.what.title)}"><g aria-hidden="true">'
        )
        parts = [head, *self._grid(), *self._columns(), *self._target(), self._line(), *self._before(), "</g>"]
        parts += [self._selected(), *([] if bare else self._places()), "</svg>"]
        return "".join(parts)

    def _grid(self) -> Iterator[str]:
        left, right = px(self.up.room), self.size.width - RIGHT
        for tick, words in zip(self.up.ticks, self.up.texts, strict=True):
            y = self.up.y(tick)
            yield f'<path class="grid" d="M{left} {px(y)}H{right}"/>'
            yield f'<text class="tick end-at" x="{px(self.up.room - 8)}" y="{px(y + 4)}">{text(words)}</text>'
        for x, words in self.across.labels(LABEL):
            yield f'<text class="tick mid" x="{px(x)}" y="{self.size.height - 12}">{words}</text>'

    def _columns(self) -> Iterator[str]:
        high, named = self.size.height - TOP - BOTTOM, -99.0
        for day, gap in self.what.gaps.items():
            wide = max(self.across.step, 2)
            x, dot = self.across.x(day), self.what.dots.get(day)
            if dot and is_drawn(dot.value):  # a correction was stopped: the day itself is shown
                yield f'<path class="stopline {gap.state}" d="M{px(x)} {TOP}V{TOP + high}"/>'
            else:
                at = f'x="{px(x - wide / 2)}" y="{TOP}" width="{px(wide)}" height="{high}"'
                yield f'<rect class="stop {gap.state}" {at}/><rect fill="url(#hatch)" {at}/>'
            if x - named > 44:
                yield f'<text class="stoplabel mid {gap.state}" x="{px(x)}" y="{TOP - 7}">{gap.state}</text>'
                named = x

    def _target(self) -> Iterator[str]:
        if self.what.target is not None:
            y = self.up.y(self.what.target)
            yield f'<path class="target" d="M{px(self.up.room)} {px(y)}H{self.size.width - RIGHT}"/>'
            words = f"target {write(self.what.target, self.what.style)}"
            is_right, below = self._quiet_corner(y, 6.2 * len(words) + 12)
            x, kind = (self.size.width - RIGHT - 6, " end-at") if is_right else (self.up.room + 6, "")
            up = px(y + (14 if below else -6))
            yield f'<text class="targetlabel{kind}" x="{px(x)}" y="{up}">{text(words)}</text>'

    def _quiet_corner(self, y: float, room: float) -> tuple[bool, bool]:
        """Whether the label of the target lies at the right, and below the line: where the fewest dots are."""
        marks = [
            (self.across.x(day), self.up.y(each) - y)
            for day, dot in self.what.dots.items()
            for each in (dot.value, *dot.was)
            if each is not None and is_drawn(each)
        ]

        def crowd(corner: tuple[bool, bool]) -> int:
            is_right, below = corner
            left = self.size.width - RIGHT - room if is_right else self.up.room
            top = -2 if below else -22
            return sum(left - 6 < x < left + room + 6 and top < up < top + 24 for x, up in marks)

        return min([(False, False), (True, False), (False, True), (True, True)], key=crowd)

    def _line(self) -> str:
        return polylines(self.across, self.up, {day: dot.value for day, dot in self.what.dots.items()})

    def _before(self) -> Iterator[str]:
        """Rings of what was shown before, tied to what is shown since."""
        for day, dot in self.what.dots.items():
            for was in dot.was:
                if was is None or not is_drawn(was):
                    continue
                x, y = px(self.across.x(day)), px(self.up.y(was))
                if dot.value is not None and is_drawn(dot.value):
                    yield f'<path class="was" d="M{x} {y}V{px(self.up.y(dot.value))}"/>'
                yield f'<circle class="was" cx="{x}" cy="{y}" r="4"/>'

    def _selected(self) -> str:
        day = self.what.selected
        dot = self.what.dots.get(day) if day else None
        value = dot.value if dot else None
        if day is None or day not in self.across or value is None or not is_drawn(value):
            return ""
        return f'<circle class="dot sel" cx="{px(self.across.x(day))}" cy="{px(self.up.y(value))}" r="5.5"/>'

    def _places(self) -> Iterator[str]:
        each = -(-len(self.what.days) // self.size.most)
        for start in range(0, len(self.what.days), each):
            days = self.what.days[start : start + each]
            yield self._place(days[0]) if each == 1 else self._shared_place(days)

    def _place(self, day: date) -> str:
        dot, gap = self.what.dots.get(day), self.what.gaps.get(day)
        if dot is None and gap is None:
            return ""
        x, y, mark = self.across.x(day), TOP + 30.0, ""
        if dot and dot.value is not None and is_drawn(dot.value):
            y = self.up.y(dot.value)
            kind = " re" if dot.was else ""
            if day != self.what.selected:
                mark = (
                    f'<circle class="dot{kind}" cx="{px(x)}" cy="{px(y)}" r="{4 if self.across.step > 11 else 2.5}"/>'
                )
        lines = [*(dot.lines if dot else ()), *(gap.lines[1 if dot else 0 :] if gap else ())]
        inner = self._hit(x, self.across.step) + mark + tip(x, y, self.size.width, lines)
        return place(lines, dot.link if dot else "", inner)

    def _shared_place(self, days: Sequence[date]) -> str:
        shown = [each for day in days if (dot := self.what.dots.get(day)) and (each := dot.value) is not None]
        drawn = [each for each in shown if is_drawn(each)]
        if self.what.group is None or not any(day in self.what.dots or day in self.what.gaps for day in days):
            return ""
        lines, link = self.what.group(days)
        x = (self.across.x(days[0]) + self.across.x(days[-1])) / 2
        y = self.up.y(max(drawn)) if drawn else TOP + 30.0
        wide = self.across.step * len(days)
        return place(lines, link, self._hit(x, wide) + tip(x, y, self.size.width, lines))

    def _hit(self, x: float, wide: float) -> str:
        high = self.size.height - TOP - BOTTOM
        return f'<rect class="hit" x="{px(x - wide / 2)}" y="{TOP}" width="{px(wide)}" height="{high}"/>'


def _values(what: Trend) -> Iterator[Decimal]:
    """All that must have a place on the axis."""
    for value in (what.target, *(each for dot in what.dots.values() for each in (dot.value, *dot.was))):
        if value is not None and is_drawn(value):
            yield value
