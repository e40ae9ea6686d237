"""Previews of a table for people: its first rows, and the bars of a KPI's chart, before and after its publish.

Belongs here: reading rows as shortened texts. Not here: drawing a chart (drawing.py), and `kpi show`, which prints the
stored values unchanged.
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.kpi import Chart
from kpi_assets.model.pii import MASKED
from kpi_assets.model.results import ChartRows
from kpi_assets.model.table import Table
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.content import published_rows
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.known_versions import known_versions
from kpi_assets.warehouse.views import for_readers

LETTERS = sql.Literal(200)  # to which a value is shortened


def first_rows(connection: Connection[Any], candidate: Candidate, count: int) -> list[dict[str, str | None]]:
    """Return the first rows in the order of the grain, each as column -> the beginning of the value's text.

    The server converts the values to text, because Python cannot represent every date and number of Postgres. The
    index of the grain finds these rows.
    """
    table = candidate.table
    return _first(connection, table, table.columns, strategy_of(table).preview_from(candidate), count)


def first_versions(
    connection: Connection[Any], table: Table, load_date: date, count: int
) -> list[dict[str, str | None]]:
    """Return the first versions of a history that hold on a load_date, as `first_rows` returns rows."""
    return _first(connection, table, [*table.readable_types], known_versions(table, table.types, load_date), count)


def _first(
    connection: Connection[Any], table: Table, columns: Sequence[str], source: sql.Composable, count: int
) -> list[dict[str, str | None]]:
    rows = connection.execute(
        sql.SQL("select {} from (select {} from {} as b order by {} limit {}) as t").format(
            sql.SQL(", ").join(_shown(table, name) for name in columns),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            source,
            sql.SQL(", ").join(map(sql.Identifier, table.header.grain)),
            sql.Literal(count),
        )
    ).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _shown(table: Table, column: str) -> sql.Composable:
    """Return SQL for the text that a preview shows of a value."""
    if table.pii.hides(column):
        return sql.SQL("case when t.{} is not null then {} end").format(sql.Identifier(column), sql.Literal(MASKED))
    return sql.SQL("left(t.{}::text, {})").format(sql.Identifier(column), LETTERS)


def chart_rows(connection: Connection[Any], candidate: Candidate, chart: Chart) -> ChartRows:
    """Return the bars of a KPI's chart in the order of x, or, if there are too many, the highest in descending order.

    A value too large for a float becomes infinite. A y that is not a number has no bar.
    """
    rows = strategy_of(candidate.table).preview_from(candidate)
    return _bars(connection, rows, candidate.table.columns, chart)


def published_chart_rows(
    connection: Connection[Any], table: Table, load_date: date, columns: Collection[str], chart: Chart
) -> ChartRows:
    """Return the bars of a load_date that was published with these columns."""
    return _bars(connection, published_rows(connection, table, load_date), columns, chart)


def _bars(connection: Connection[Any], rows: sql.Composable, columns: Collection[str], chart: Chart) -> ChartRows:
    statement = sql.SQL(
        "with shown as (select {x} as x, {y} as y from {rows} as b where {shown}) "
        "select left(x::text, {letters}), y::text, (select count(*) from shown) from ("
        "select x, y from shown order by y desc nulls last, x limit {top}) as highest "
        "order by case when (select count(*) from shown) <= {top} then highest.x end, highest.y desc nulls last, "
        "highest.x"
    ).format(
        x=sql.Identifier(chart.x),
        y=sql.Identifier(chart.y),
        rows=rows,
        shown=for_readers(columns),
        top=sql.Literal(chart.top),
        letters=LETTERS,
    )
    found = connection.execute(statement).fetchall()
    bars = [(chart.label(x) if x else "NULL", _number(y)) for x, y, _ in found]
    return ChartRows(bars, found[0][2] if found else 0)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
