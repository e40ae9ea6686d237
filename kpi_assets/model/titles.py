"""What readers call days, tables and objects.

Not here: sentences (read/said.py), and numbers (number_format.py).
"""

from datetime import date

from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline

# Not of strftime, which writes them in the language of the process.
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def day(load_date: date, *, year: bool = False) -> str:
    """Return a day as readers write it: `Tue 24 Nov`, with the year `Tue 24 Nov 2026`."""
    text = f"{_WEEKDAYS[load_date.weekday()]} {load_date.day} {_MONTHS[load_date.month - 1]}"
    return f"{text} {load_date.year}" if year else text


def asset_title(pipeline: Pipeline, asset: str) -> str:
    """Return what readers call a table or the object of one: `order products prior`, or the title of a KPI."""
    relation = Relation.parse(asset)
    table = pipeline.tables.get(relation)
    kpi = table.header.kpi if table else None
    return kpi.title if kpi and kpi.title else relation.table.replace("_", " ")
