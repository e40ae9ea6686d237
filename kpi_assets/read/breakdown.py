"""The rows of a KPI for one of its publishes, as readers see them: filtered by its dimensions, in order, and in pages.

Belongs here: the rows behind a number. Not here: the number itself (kpis.py), and rows of any table (rows.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from psycopg import Connection

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table

Direction = Literal["asc", "desc"]
Operator = Literal["eq", "ne", "lt", "le", "gt", "ge"]


@dataclass(frozen=True)
class Filter:
    """Rows whose dimension has one of these values; with an operator such as `lt`, one value."""

    column: str
    values: Sequence[str]
    operator: Operator = "eq"


@dataclass(frozen=True)
class Breakdown:
    """Rows of a publish. `rows` holds the values as PostgreSQL writes them, None for NULL.

    `total` is the number of rows that readers see and the filters let through, of which `rows` may be a part.
    """

    load_date: date
    publish_id: int
    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    total: int
    left_out: int  # rows of low volume, which readers are not shown
    filters: Sequence[Filter] = field(default_factory=tuple)


def dimensions_of(table: Table) -> list[str]:
    """Return the columns by which the rows of a KPI may be filtered."""
    raise NotImplementedError


def read_breakdown(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    load_date: date | None = None,
    *,
    place: str = "the warehouse",
    publish_id: int | None = None,
    filters: Sequence[Filter] = (),
    order: Sequence[tuple[str, Direction]] = (),
    limit: int | None = None,
    offset: int = 0,
) -> Breakdown:
    """Return the rows of a load_date, by default the latest, or of one publish of it, in the order of the grain.

    Call it inside one snapshot. Raises UserError if the load_date is not published, if its rows were dropped, or if
    `publish_id` is superseded, since its rows are gone; and UsageError for a column that is no dimension, and for a
    value that is none of its column's type.
    """
    raise NotImplementedError


def bars_before(
    connection: Connection[Any], table: Table, load_date: date, names: Sequence[str | None]
) -> Mapping[str | None, str | None]:
    """Return `chart.y` of a load_date by `chart.x`, for the bars with these names; exact texts.

    It is empty if the load_date is not published, or its rows are gone.
    """
    raise NotImplementedError
