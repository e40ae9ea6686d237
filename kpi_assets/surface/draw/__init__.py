"""Pictures as SVG, drawn on the server: the same in a page, in an image, in a mail and on paper.

They hold no script and no inline style: classes are styled by static/chart.css, and a tooltip shows on hover and on
focus. Numbers stay Decimal; they become float only where they become pixels.

Belongs here: shapes and where they lie. Not here: what is drawn (pages/charts.py), and colors (static/).
"""

from kpi_assets.surface.draw.columns import Column, columns
from kpi_assets.surface.draw.shapes import NARROW, WIDE, Size, Svg, bar
from kpi_assets.surface.draw.spark import spark
from kpi_assets.surface.draw.trend import Dot, Gap, Trend, trend

__all__ = ["NARROW", "WIDE", "Column", "Dot", "Gap", "Size", "Svg", "Trend", "bar", "columns", "spark", "trend"]
