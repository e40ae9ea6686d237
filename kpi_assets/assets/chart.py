"""A KPI's picture in the UI: a bar for each of its values, drawn as SVG.

Belongs here: drawing. Not here: which rows (warehouse/candidates.py) and which columns (the header's `kpi.chart`).
"""

import base64
import math
from collections.abc import Sequence
from html import escape

import dagster as dg

from kpi_assets.model.header import Chart
from kpi_assets.model.names import Relation
from kpi_assets.model.results import ChartRows
from kpi_assets.printable import number_text, printable

BAR, GAP, LETTER, WIDTH = 18, 6, 7, 640  # pixels
LETTERS = 34  # of a label at most


def markdown(chart: Chart, rows: ChartRows, relation: Relation, load_date: str) -> dg.MarkdownMetadataValue:
    """The chart as an image that stands inside the metadata itself."""
    title = f"{relation}, {load_date}"
    if len(rows.bars) < rows.of:
        title += f" (the {len(rows.bars)} highest of {rows.of:,})"
    image = base64.b64encode(svg(chart, rows.bars, title).encode()).decode()
    return dg.MetadataValue.md(f"![{chart.y} by {chart.x}](data:image/svg+xml;base64,{image})")


def svg(chart: Chart, rows: Sequence[tuple[str, float | None]], title: str) -> str:
    """Horizontal bars with their values; NULL and NaN have none, and an infinite one goes to the end."""
    highest = max((value for _, value in rows if value is not None and math.isfinite(value)), default=0.0)
    shown = [printable(label) for label, _ in rows]
    labels = [label if len(label) <= LETTERS else label[: LETTERS - 1] + "…" for label in shown]
    left = max((len(label) for label in labels), default=0) * LETTER + 16
    height = 30 + len(rows) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold" fill="#1f2937">{escape(f"{chart.y} by {chart.x}: {title}")}</text>',
    ]
    for number, (label, (_, value)) in enumerate(zip(labels, rows, strict=True)):
        y = 30 + number * (BAR + GAP)
        length = round((WIDTH - left - 90) * _share(value, highest))
        text = "NULL" if value is None else f"{value:,.6g}" if math.isfinite(value) else number_text(value)
        parts += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#374151">{escape(label)}</text>',
            f'<rect x="{left}" y="{y}" width="{length}" height="{BAR}" fill="#2563eb"/>',
            f'<text x="{left + length + 6}" y="{y + 13}" fill="#374151">{escape(text)}</text>',
        ]
    return "".join([*parts, "</svg>"])


def _share(value: float | None, highest: float) -> float:
    """How long a bar is, from 0 to 1."""
    if value is None or math.isnan(value) or value <= 0:
        return 0.0
    return value / highest if math.isfinite(value) else 1.0
