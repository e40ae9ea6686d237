"""The chart of a KPI in the UI: in the description of the asset, and first in the metadata of each materialization.

Not here: drawing (drawing.py), and serving the picture of the latest published load_date (instance/charts.py).
"""

import base64

import dagster as dg

from kpi_assets.assets.metadata import cell
from kpi_assets.drawing import Rows, left_out, number, shares, svg
from kpi_assets.instance.charts import chart_path
from kpi_assets.model.kpi import Chart
from kpi_assets.model.names import Relation
from kpi_assets.model.results import ChartRows
from kpi_assets.model.table import Table

INLINE = 1000  # the UI hides Markdown metadata of so many characters or more behind a click
WIDTH = 36  # characters of a line: the page cuts longer lines, and a bar that is cut misleads
BLOCK = "█"


def description(table: Table) -> str:
    """Return the header's description; for a KPI with its chart below, which the UI shows before the columns.

    It begins with the sentence, because the UI's lists show the beginning as it is written. Where the UI leaves out
    images, as in the graph, it shows the alternative text of the image, so that is a sentence too.
    """
    if table.header.kpi is None:
        return table.header.description
    chart = table.header.kpi.chart
    picture = f"![Chart of {chart.y} by {chart.x}.]({chart_path(table.pipeline, table.relation)})"
    return f"{table.header.description}\n\n{picture}"


def metadata_of(
    chart: Chart, rows: ChartRows, relation: Relation, load_date: str
) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the metadata of a materialization, first the part that the UI shows without a click."""
    return {"bars": bars(chart, rows.bars), "chart": markdown(chart, rows, relation, load_date)}


def markdown(chart: Chart, rows: ChartRows, relation: Relation, load_date: str) -> dg.MarkdownMetadataValue:
    """Return the chart as an image that is embedded in the metadata."""
    title = f"{chart.y} by {chart.x}: {relation}, {load_date}{left_out(rows)}"
    image = base64.b64encode(svg(rows.bars, title).encode()).decode()
    return dg.MetadataValue.md(f"![{chart.y} by {chart.x}](data:image/svg+xml;base64,{image})")


def bars(chart: Chart, rows: Rows) -> dg.MarkdownMetadataValue:
    """Return the chart as a small table with bars of characters, short enough that the UI shows it at once."""
    if not rows:
        return dg.MetadataValue.md("no rows")
    for letters, width in ((18, WIDTH), (12, 24)):
        lines = _lines(rows, letters, width)
        if len(text := _table(chart, lines)) < INLINE:
            return dg.MetadataValue.md(text)
    while len(text := _table(chart, [*lines, f"| and {len(rows) - len(lines)} more | |"])) >= INLINE:
        lines.pop()
    return dg.MetadataValue.md(text)


def _lines(rows: Rows, letters: int, width: int) -> list[str]:
    """Return a line for each row. The longest bar fills the width that labels and values leave."""
    values = [number(value) for _, value in rows]
    longest = min(max(len(label) for label, _ in rows), letters) + max(map(len, values))
    blocks = min(max(width - longest, 3), 20)
    return [
        f"| {cell(label, letters)} | {f'{BLOCK * round(blocks * share)} {value}'.strip()} |"
        for (label, _), value, share in zip(rows, values, shares(rows), strict=True)
    ]


def _table(chart: Chart, lines: list[str]) -> str:
    return "\n".join([f"| {cell(chart.x)} | {cell(chart.y)} |", "| --- | --- |", *lines])
