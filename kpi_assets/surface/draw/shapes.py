"""What all pictures are made of: sizes, pixels, text, tooltips, and the bar of a table's cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from kpi_assets.printable import printable

LETTER = 6.6  # pixels of a letter of a tooltip
TIP_LINE = 17
_BAR = 110
_SECOND = 'class="tv" '  # the number, below its day


class Svg(str):
    """A picture. What is filled into it was escaped, so a template takes it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return itself, as markup."""
        return str(self)


@dataclass(frozen=True)
class Size:
    """The size of a picture in its own pixels. `name` is its class: CSS shows one size on a screen, another on a phone.

    It has at most `most` places that a pointer can find.
    """

    name: str
    width: int
    height: int
    most: int


WIDE = Size("wide", 690, 280, 92)
NARROW = Size("narrow", 380, 230, 31)


def px(value: float) -> str:
    """Write pixels, to a tenth."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def text(value: str) -> str:
    """Write a text into a picture, so that it is neither markup nor an invisible character."""
    return escape(printable(value))


def is_drawn(value: Decimal | None) -> bool:
    """Return whether a value has a place in a picture: NULL, NaN and infinity have none."""
    return value is not None and value.is_finite()


def tip(x: float, y: float, width: float, lines: Sequence[str]) -> str:
    """Draw a tooltip at a point of a picture of this width: above the point, or below it if there is no room."""
    wide, high = 20 + LETTER * max(map(len, lines)), 14 + TIP_LINE * len(lines)
    left = min(max(x - wide / 2, 4), max(width - wide - 4, 0))
    top = y - high - 12 if y - high - 12 > 0 else y + 14
    words = "".join(
        f'<text {_SECOND if number == 1 else ""}x="10" y="{20 + TIP_LINE * number}">{text(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<g class="tip" transform="translate({px(left)} {px(top)})">'
        f'<rect width="{px(wide)}" height="{high}" rx="6"/>{words}</g>'
    )


def place(lines: Sequence[str], link: str, inner: str) -> str:
    """Draw what a pointer or the keyboard can reach: a link, or a focusable group that is read as one picture."""
    if link:
        return f'<a class="pt" href="{escape(link)}">{inner}</a>'
    return f'<g class="pt" tabindex="0" role="img" aria-label="{text(", ".join(lines))}">{inner}</g>'


def bar(value: Decimal | None, highest: Decimal | None) -> Svg:
    """Draw the bar of a table's cell, as long as the value's share of the highest one; empty if it has none."""
    share = 0.0
    if value is not None and highest is not None and is_drawn(value) and is_drawn(highest) and value > 0 < highest:
        share = min(float(value / highest), 1.0)
    return Svg(
        f'<svg class="cell" viewBox="0 0 {_BAR} 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar" width="{px(_BAR * share)}" height="10" rx="2"/></svg>'
    )
