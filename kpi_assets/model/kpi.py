"""The words that make a table a KPI: its title, chart and measures, the least volume of its rows, and its freshness.

Not here: the words of one measure (measure.py), the view of its latest load_date (warehouse/views.py), and when it is
late (monitoring/freshness.py).
"""

from typing import Annotated

from pydantic import Field

from kpi_assets.model.affects import Affects
from kpi_assets.model.field_types import Sentence
from kpi_assets.model.measure import Measure
from kpi_assets.model.names import Identifier
from kpi_assets.model.strict_yaml import Strict


class Chart(Strict):
    """The chart of a KPI: a bar for each value of `x`, as high as `y`; at most the `top` highest bars."""

    x: Annotated[str, Affects.NOTHING] = Field(description="The column that names the bars.")
    y: Annotated[str, Affects.NOTHING] = Field(description="The column that gives their height.")
    top: Annotated[int, Affects.NOTHING] = Field(
        default=15,
        ge=1,
        le=40,
        description="The most bars. If there are more rows, the highest bars are shown, and the title says so.",
    )
    labels: Annotated[list[str] | dict[str, str], Affects.NOTHING] = Field(
        default={},
        description="What the bars are called: the names of the values 0, 1, 2 and so on, or a name for each value.",
        examples=["labels: [Sunday, Monday, Tuesday]"],
    )


class Kpi(Strict):
    """Makes the table a KPI: readers get a view `<table>_latest`, the UI a chart, and the pages a tile a measure."""

    title: Annotated[Sentence | None, Affects.NOTHING] = Field(
        default=None,
        description="What readers call it; by default the name of the table.",
        examples=["title: Orders by day of the week"],
    )
    chart: Annotated[Chart, Affects.NOTHING] = Field(
        description="What the chart shows.", examples=["chart: {x: country, y: revenue}"]
    )
    measures: Annotated[dict[Identifier, Measure], Affects.NOTHING] = Field(
        default={},
        description="The numbers that readers are shown for each load_date, in this order; the first is the headline.",
        examples=["measures: {orders: {title: Orders, value: sum(total_orders), unit: orders, better: up}}"],
    )
    dimensions: Annotated[list[str] | None, Affects.NOTHING] = Field(
        default=None,
        description="The columns by which readers may filter its rows; by default those of the grain.",
        examples=["dimensions: [order_dow]"],
    )


class MinVolume(Strict):
    """The least volume of a KPI's row to be shown: other rows are kept and marked by is_low_volume, but not shown."""

    column: Annotated[str, Affects.ROWS] = Field(description="The column that counts what a row rests on.")
    at_least: Annotated[int, Affects.ROWS] = Field(ge=1, description="The lowest count of a row that is shown.")


class Freshness(Strict):
    """How long ago the latest published load_date of a KPI may have ended, at 24:00 UTC, before the KPI is late."""

    # Dagster looks no closer than at a minute.
    within_hours: Annotated[float, Affects.NOTHING] = Field(
        ge=0.02, le=87_840, description="Hours since the end of the latest published load_date."
    )
