"""Upright bars for a few groups, each with a tick of what it was before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kpi_assets.model.number_format import write
from kpi_assets.surface.draw.scale import Axis, axis
from kpi_assets.surface.draw.shapes import Size, Svg, is_drawn, place, px, text, tip

RIGHT, TOP, BOTTOM = 8, 12, 30  # pixels
LETTER = 6.8  # pixels of a letter below a bar


@dataclass(frozen=True)
class Column:
    """One group: its name, its value, and its value before, which `before_text` names (`Tue 17 Nov`)."""

    name: str
    value: Decimal | None
    was: Decimal | None = None
    before_text: str = ""


def fits(names: Sequence[str], size: Size) -> bool:
    """Return whether all these names can be written below bars, at least shortened to three letters."""
    if not names:
        return False
    room = (size.width - 80) / len(names)
    return max(map(len, names)) * LETTER <= room or (max(map(len, names)) <= 12 and len(names) <= 14)


def columns(groups: Sequence[Column], style: str, title: str, size: Size) -> Svg:
    """Draw the bars. It is empty if there are no groups."""
    if not groups:
        return Svg()
    drawn = [each for group in groups for each in (group.value, group.was) if each is not None and is_drawn(each)]
    up = axis(drawn, style, TOP, size.height - BOTTOM, zero=True)
    head = (
        f'<svg class="chart {size.name}" viewBox="0 0 {size.width} {size.height}" role="group" '
        f'aria-label="{text(title)}">'
    )
    return Svg("".join([head, *_grid(up, size), *_bars(groups, style, up, size), "</svg>"]))


def _grid(up: Axis, size: Size) -> Iterator[str]:
    yield '<g aria-hidden="true">'
    for tick, words in zip(up.ticks, up.texts, strict=True):
        y = up.y(tick)
        yield f'<path class="grid" d="M{px(up.room)} {px(y)}H{size.width - RIGHT}"/>'
        yield f'<text class="tick end-at" x="{px(up.room - 8)}" y="{px(y + 4)}">{text(words)}</text>'
    yield "</g>"


def _bars(groups: Sequence[Column], style: str, up: Axis, size: Size) -> Iterator[str]:
    step = (size.width - RIGHT - up.room) / len(groups)
    wide = min(step * 0.62, 46)
    short = max(len(group.name) for group in groups) * LETTER > step
    zero = up.y(Decimal(0))
    for number, group in enumerate(groups):
        x = up.room + step * (number + 0.5)
        lines = [group.name, write(group.value, style)]
        if group.was is not None:
            lines.append(f"{write(group.was, style)} on {group.before_text}")
        y = up.y(group.value) if group.value is not None and is_drawn(group.value) else zero
        inner = (
            f'<rect class="hit" x="{px(x - step / 2)}" y="{TOP}" width="{px(step)}" '
            f'height="{size.height - TOP - BOTTOM}"/>'
            f'<rect class="bar" x="{px(x - wide / 2)}" y="{px(min(y, zero))}" width="{px(wide)}" '
            f'height="{px(abs(zero - y))}" rx="3"/>'
        )
        if group.was is not None and is_drawn(group.was):
            inner += f'<path class="ref" d="M{px(x - wide / 2 - 4)} {px(up.y(group.was))}h{px(wide + 8)}"/>'
        name = group.name[:3] if short else group.name
        inner += f'<text class="tick mid" x="{px(x)}" y="{size.height - 10}">{text(name)}</text>'
        yield place(lines, "", inner + tip(x, y, size.width, lines))
