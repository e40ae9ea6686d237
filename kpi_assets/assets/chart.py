"""A KPI's picture in the UI: a bar for each of its values, drawn as SVG.

Belongs here: drawing. Not here: which rows (warehouse/candidates.py) and which columns (the header's `kpi.chart`).
"""

import base64
import math
import re
from collections.abc import Sequence
from html import escape

import dagster as dg

from kpi_assets.model.header import Chart
from kpi_assets.model.names import Relation

BAR, GAP, LETTER, WIDTH = 18, 6, 7, 640  # pixels
LETTERS = 34  # of a label at most
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # one of these, and there is no picture


def markdown(
    chart: Chart, rows: Sequence[tuple[str, float | None]], relation: Relation, load_date: str
) -> dg.MarkdownMetadataValue:
    """The chart as an image that stands inside the metadata itself."""
    image = base64.b64encode(svg(chart, rows, f"{relation}, {load_date}").encode()).decode()
    return dg.MetadataValue.md(f"![{chart.y} by {chart.x}](data:image/svg+xml;base64,{image})")


def svg(chart: Chart, rows: Sequence[tuple[str, float | None]], title: str) -> str:
    """Horizontal bars with their values; what is NULL, infinite, no number or below zero has no bar."""
    drawn = [value if value is not None and math.isfinite(value) and value > 0 else 0 for _, value in rows]
    highest = max(drawn, default=0) or 1
    labels = [label if len(label) <= LETTERS else label[: LETTERS - 1] + "…" for label, _ in rows]
    left = max((len(label) for label in labels), default=0) * LETTER + 16
    height = 30 + len(rows) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold" fill="#1f2937">{_text(f"{chart.y} by {chart.x}: {title}")}</text>',
    ]
    for number, (label, (_, value)) in enumerate(zip(labels, rows, strict=True)):
        y = 30 + number * (BAR + GAP)
        length = round((WIDTH - left - 90) * drawn[number] / highest)
        text = "NULL" if value is None else f"{value:,.6g}"
        parts += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#374151">{_text(label)}</text>',
            f'<rect x="{left}" y="{y}" width="{length}" height="{BAR}" fill="#2563eb"/>',
            f'<text x="{left + length + 6}" y="{y + 13}" fill="#374151">{_text(text)}</text>',
        ]
    return "".join([*parts, "</svg>"])


def _text(value: str) -> str:
    """Text that is none but text in the picture."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", value))
