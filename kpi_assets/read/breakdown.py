"""The rows of a KPI for one of its publishes, as readers see them: filtered by its dimensions, in order, and in pages.

Belongs here: the rows behind a number. Not here: the number itself (kpis.py), and rows of any table (rows.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

from psycopg import Connection, sql

from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.column_types import base_of
from kpi_assets.model.excerpt import cut
from kpi_assets.model.names import LOW_VOLUME
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.pipeline_config import PIPELINE_FILE
from kpi_assets.model.table import Table
from kpi_assets.read.rows import StoredRows, find_publish, hidden, stored_rows
from kpi_assets.read.typed import typed
from kpi_assets.warehouse.content import find_lost

Direction = Literal["asc", "desc"]
Operator = Literal["eq", "ne", "lt", "le", "gt", "ge"]
_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_NOT_COMPARED = ("json", "json[]")  # types of which PostgreSQL compares no values


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
    filters: Sequence[Filter] = ()


def dimensions_of(table: Table) -> list[str]:
    """Return the columns by which the rows of a KPI may be filtered: no personal one."""
    return [name for name in table.header.dimensions if not table.pii.hides(name)]


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
    publish, rows, every_row = _filtered(connection, pipeline, table, load_date, place, publish_id, filters)
    found = rows.texts(_order(table, rows, order), limit=limit, offset=offset)
    is_whole = limit is None and not offset
    total = len(found) if is_whole else rows.count()
    left_out = every_row.count() - total if LOW_VOLUME in rows.all_types else 0
    return _breakdown(publish, rows, found, total, left_out, filters)


def read_parts(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    load_date: date | None = None,
    *,
    size: int,
    place: str = "the warehouse",
    publish_id: int | None = None,
    filters: Sequence[Filter] = (),
    order: Sequence[tuple[str, Direction]] = (),
    limit: int | None = None,
    offset: int = 0,
) -> Iterator[Breakdown]:
    """Yield the same rows a part at a time, at most `size` each, so that few are in memory; at least one part.

    Call it inside a transaction, which must not end before the last part. Raises as read_breakdown does.
    """
    publish, rows, every_row = _filtered(connection, pipeline, table, load_date, place, publish_id, filters)
    total = rows.count()
    left_out = every_row.count() - total if LOW_VOLUME in rows.all_types else 0
    for part in rows.parts(_order(table, rows, order), size=size, limit=limit, offset=offset):
        yield _breakdown(publish, rows, part, total, left_out, filters)


def _filtered(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    load_date: date | None,
    place: str,
    publish_id: int | None,
    filters: Sequence[Filter],
) -> tuple[Publish, StoredRows, StoredRows]:
    """Return the publish, its rows that the filters let through, and the same with those of low volume."""
    _check_readable(connection, pipeline, table)
    publish = find_publish(connection, pipeline, table, load_date, place=place)
    if publish_id is not None and publish.publish_id != publish_id:
        raise UserError(
            f"The rows of publish {publish_id} of {table.relation} of {publish.load_date} cannot be shown: readers are "
            f"shown those of publish {publish.publish_id} now, and the ledger keeps only the measures of the others."
        )
    rows, every_row = (_without_personal(connection, table, publish, everything=each) for each in (False, True))
    for each in filters:
        condition = _condition(connection, table, rows, each)
        rows, every_row = rows.where(condition), every_row.where(condition)
    return publish, rows, every_row


def _breakdown(
    publish: Publish,
    rows: StoredRows,
    found: Sequence[Sequence[str | None]],
    total: int,
    left_out: int,
    filters: Sequence[Filter],
) -> Breakdown:
    types = [*rows.types.values()]
    return Breakdown(publish.load_date, publish.publish_id, [*rows.types], types, found, total, left_out, filters)


def bars_before(
    connection: Connection[Any], table: Table, load_date: date, names: Sequence[str | None]
) -> Mapping[str | None, str | None]:
    """Return `chart.y` of a load_date by `chart.x`, for the bars with these names; exact texts.

    It is empty if the load_date is not published, or its rows are gone. A name that several rows have has no bar.
    """
    assert table.header.kpi
    chart = table.header.kpi.chart
    publish = publishes.current(connection, [table.relation], load_date).get(table.relation)
    if publish is None or not names or (publish.rows and find_lost(connection, table, [load_date])):
        return {}
    rows = stored_rows(connection, table, publish)
    if chart.x not in rows.types or chart.y not in rows.types:
        return {}
    x, y = (
        sql.SQL("t.{}::{}::text").format(sql.Identifier(each), sql.SQL(rows.types[each])) for each in (chart.x, chart.y)
    )
    texts = [name for name in names if name is not None]
    rows = rows.where(
        sql.SQL("({x} = any({texts}::text[]) or ({x} is null and {has_null}))").format(
            x=x, texts=sql.Literal(texts), has_null=sql.Literal(None in names)
        )
    )
    query = sql.SQL("select {}, max({}) {} group by 1 having count(*) = 1").format(x, y, rows.source)
    return dict(connection.execute(query).fetchall())


def _without_personal(connection: Connection[Any], table: Table, publish: Publish, *, everything: bool) -> StoredRows:
    """Return the rows of a publish without its personal columns, which readers of a KPI are not shown."""
    stored = stored_rows(connection, table, publish, everything=everything)
    out = hidden(table, stored.types)
    return replace(stored, types={name: type_ for name, type_ in stored.types.items() if name not in out})


def _check_readable(connection: Connection[Any], pipeline: Pipeline, table: Table) -> None:
    """Raise UserError if the session may not read the rows, because the schema of the KPI is not one for readers."""
    found = connection.execute(
        "select 1 from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid "
        "where (n.nspname, c.relname) = (%s, %s) and not (has_schema_privilege(n.oid, 'usage') "
        "and has_any_column_privilege(c.oid, 'select'))",
        [*table.relation],
    ).fetchall()
    if found:
        raise UserError(
            f"Readers may not see the rows of {table.relation}: add {table.relation.schema} to readers in "
            f"{pipeline.path / PIPELINE_FILE}, and run a load_date."
        )


def _condition(connection: Connection[Any], table: Table, rows: StoredRows, wanted: Filter) -> sql.Composable:
    """Return a filter as SQL. Raises UsageError."""
    dimensions = [name for name in dimensions_of(table) if name in rows.types]
    if wanted.column not in dimensions:
        raise UsageError(
            f"{table.relation} cannot be filtered by {cut(wanted.column)!r}: "
            f"its dimensions are {', '.join(dimensions)}."
        )
    type_ = rows.types[wanted.column]
    if base_of(type_) in _NOT_COMPARED:
        raise UsageError(f"{table.relation} cannot be filtered by {wanted.column!r}, because it is {type_}.")
    if not wanted.values or (len(wanted.values) > 1 and wanted.operator not in ("eq", "ne")):
        raise UsageError(f"The filter {wanted.column}.{wanted.operator} takes one value: give one.")
    column = sql.SQL("t.{}::{}").format(sql.Identifier(wanted.column), sql.SQL(type_))
    values = [typed(connection, table, wanted.column, value, type_) for value in wanted.values]
    if wanted.operator in ("eq", "ne"):
        is_among = sql.SQL("{} in ({})").format(column, sql.SQL(", ").join(values))
        # A row without a value is another one than those with this value.
        return is_among if wanted.operator == "eq" else sql.SQL("({}) is not true").format(is_among)
    return sql.SQL("{} {} {}").format(column, sql.SQL(_SIGNS[wanted.operator]), values[0])


def _order(table: Table, rows: StoredRows, wanted: Sequence[tuple[str, Direction]]) -> list[sql.Composable]:
    """Return the columns by which rows are ordered, the grain last, so that the order is one. Raises UsageError."""
    for name, _ in wanted:
        if name not in rows.types or base_of(rows.types[name]) in _NOT_COMPARED:
            columns = [each for each, type_ in rows.types.items() if base_of(type_) not in _NOT_COMPARED]
            raise UsageError(
                f"{table.relation} cannot be ordered by {cut(name)!r}: its columns are {', '.join(columns)}."
            )
    grain = [name for name in table.header.grain if name in rows.all_types]
    if any(name not in rows.types for name in grain):  # of rows that are the same without it, either may come first
        grain = [name for name, type_ in rows.types.items() if base_of(type_) not in _NOT_COMPARED]
    every = [*wanted, *((name, "asc") for name in grain or rows.types)]
    return [sql.SQL("t.{} {} nulls last").format(sql.Identifier(name), sql.SQL(direction)) for name, direction in every]
