"""A KPI's picture in the UI: a bar for each of its values, drawn as SVG.

Belongs here: drawing. Not here: which rows (warehouse/candidates.py) and which columns (the header's `kpi.chart`).
"""

import base64
from collections.abc import Sequence
from html import escape

import dagster as dg

from kpi_assets.model.header import Chart
from kpi_assets.model.names import Relation

BAR, GAP, LETTER, WIDTH = 18, 6, 7, 640  # pixels
LETTERS = 34  # of a label at most


def markdown(
    chart: Chart, rows: Sequence[tuple[str, float | None]], relation: Relation, load_date: str
) -> dg.MarkdownMetadataValue:
    """The chart as an image that stands inside the metadata itself."""
    image = base64.b64encode(svg(chart, rows, f"{relation}, {load_date}").encode()).decode()
    return dg.MetadataValue.md(f"![{chart.y} by {chart.x}](data:image/svg+xml;base64,{image})")


def svg(chart: Chart, rows: Sequence[tuple[str, float | None]], title: str) -> str:
    """Horizontal bars with their values; a NULL has no bar."""
    highest = max((value for _, value in rows if value is not None), default=0) or 1
    labels = [label if len(label) <= LETTERS else label[: LETTERS - 1] + "…" for label, _ in rows]
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
        length = 0 if value is None else max(round((WIDTH - left - 90) * value / highest), 0)
        text = "NULL" if value is None else f"{value:,.6g}"
        parts += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#374151">{escape(label)}</text>',
            f'<rect x="{left}" y="{y}" width="{length}" height="{BAR}" fill="#2563eb"/>',
            f'<text x="{left + length + 6}" y="{y + 13}" fill="#374151">{escape(text)}</text>',
        ]
    return "".join([*parts, "</svg>"])
