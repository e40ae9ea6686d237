"""Draws the chart of a KPI as SVG, with a bar for each value.

Belongs here: drawing. Not here: the rows (warehouse/preview.py), the columns (the header's `kpi.chart`), and the places
that show the chart (assets/chart.py, instance/charts.py).
"""

import math
from collections.abc import Sequence
from html import escape

from kpi_assets.model.results import ChartRows
from kpi_assets.printable import number_text, printable

Rows = Sequence[tuple[str, float | None]]

BAR, GAP, LETTER, WIDTH = 18, 6, 7, 640  # pixels
LETTERS = 34  # the most letters of a label
# The small chart is in the description of an asset, which Dagster folds from 260 pixels on.
HEIGHT, HEAD, COLUMN_ROOM, LEAST_SLOT = 190, 30, 120, 14  # pixels
SMALL_ROWS = 6  # horizontal bars that fit into the small chart
SMALL_LETTER = 6  # pixels


def left_out(rows: ChartRows) -> str:
    """Return the end of a heading that says that only the highest bars are shown; empty if all are shown."""
    return f" (the {len(rows.bars)} highest of {rows.of:,})" if len(rows.bars) < rows.of else ""


def svg(rows: Rows, heading: str) -> str:
    """Draw horizontal bars with their values; NULL and NaN have no bar, and an infinite value has the longest."""
    height = HEAD + len(rows) * (BAR + GAP)
    return _picture(height, heading, _horizontal(rows))


def small_svg(rows: Rows, heading: str) -> str:
    """Draw a chart of HEIGHT pixels: upright bars if their labels are short, else the first rows."""
    longest = max((len(printable(label)) for label, _ in rows), default=0)
    slot = (WIDTH - 16) // max(len(rows), 1)
    if rows and slot >= max(longest * SMALL_LETTER + 2, LEAST_SLOT):
        return _picture(HEIGHT, heading, _upright(rows, min(slot, 80)))
    parts = _horizontal(rows[:SMALL_ROWS])
    if len(rows) > SMALL_ROWS:
        parts.append(_text(8, HEIGHT - 6, f"and {len(rows) - SMALL_ROWS} more", "#6b7280"))
    return _picture(HEIGHT, heading, parts)


def message_svg(heading: str, sentence: str) -> str:
    """Draw a picture with a sentence instead of a chart, in up to 8 lines."""
    words, lines = printable(sentence).split(" "), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= WIDTH // LETTER - 4:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    shown = [_text(8, HEAD + 14 + number * 18, line, "#374151") for number, line in enumerate(lines[:8])]
    return _picture(HEAD + 10 + 18 * len(shown), heading, shown)


def number(value: float | None) -> str:
    """Return a value as it is written beside its bar."""
    if value is None:
        return "NULL"
    return f"{value:,.6g}" if math.isfinite(value) else number_text(value)


def shares(rows: Rows) -> list[float]:
    """Return the length of each bar, from 0 to 1: 0 for NULL, NaN and values that are not above zero."""
    highest = max((value for _, value in rows if value is not None and math.isfinite(value)), default=0.0)
    return [_share(value, highest) for _, value in rows]


def _share(value: float | None, highest: float) -> float:
    if value is None or math.isnan(value) or value <= 0:
        return 0.0
    return value / highest if math.isfinite(value) else 1.0


def _horizontal(rows: Rows) -> list[str]:
    shown = [printable(label) for label, _ in rows]
    labels = [label if len(label) <= LETTERS else label[: LETTERS - 1] + "…" for label in shown]
    left = max((len(label) for label in labels), default=0) * LETTER + 16
    parts = []
    for row, (label, share, (_, value)) in enumerate(zip(labels, shares(rows), rows, strict=True)):
        y = HEAD + row * (BAR + GAP)
        length = round((WIDTH - left - 90) * share)
        parts += [
            _text(left - 8, y + 13, label, "#374151", "end"),
            f'<rect x="{left}" y="{y}" width="{length}" height="{BAR}" fill="#2563eb"/>',
            _text(left + length + 6, y + 13, number(value), "#374151"),
        ]
    return parts


def _upright(rows: Rows, slot: int) -> list[str]:
    """Draw upright bars. If all values are short, each is above its bar; else only the highest value is shown."""
    texts = [number(value) for _, value in rows]
    fits = max(map(len, texts)) * SMALL_LETTER <= slot
    found = shares(rows)
    top = found.index(max(found))
    parts = []
    for column, ((label, _), text, share) in enumerate(zip(rows, texts, found, strict=True)):
        x, length = 8 + column * slot, round(COLUMN_ROOM * share)
        middle, y = x + slot // 2, HEAD + 16 + COLUMN_ROOM - length
        parts.append(
            f'<rect x="{x + 2}" y="{y}" width="{slot - 4}" height="{length}" fill="#2563eb"/>'
            + _text(middle, HEIGHT - 8, printable(label), "#374151", "middle", 10)
        )
        if fits or column == top:
            parts.append(_text(middle, y - 3, text, "#374151", "middle", 10))
    return parts


def _picture(height: int, heading: str, parts: Sequence[str]) -> str:
    # A long heading is compressed rather than cut off, since the end may be the part that matters.
    pressed = len(printable(heading)) * LETTER > WIDTH - 16
    room = f' textLength="{WIDTH - 16}" lengthAdjust="spacingAndGlyphs"' if pressed else ""
    title = f'<text x="8" y="18" font-weight="bold"{room} fill="#1f2937">{escape(printable(heading))}</text>'
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
            'font-size="12">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            title,
            *parts,
            "</svg>",
        ]
    )


def _text(x: int, y: int, text: str, color: str, anchor: str = "", size: int = 0) -> str:
    more = (f' text-anchor="{anchor}"' if anchor else "") + (f' font-size="{size}"' if size else "")
    return f'<text x="{x}" y="{y}"{more} fill="{color}">{escape(text)}</text>'
