"""Rows of the lake for readers: those of one publish, fetched from the engine into the statement that asks for them.

So whatever reads a publish in Postgres reads one of the lake in the same way. One client carries the rows, as texts, so
they must be few: the engine itself reads more.
Not here: which publish is read (rows.py, trace.py, sides.py), and builds, which read the lake on the engine.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from psycopg import sql

from kpi_assets.errors import UserError
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.table import Table
from kpi_assets.settings import settings

MOST = 20_000  # rows that are fetched for one statement


def rows_of_lake(table: Table, publish: Publish, limit: int | None = None) -> sql.Composable | None:
    """Return the rows of a publish as a subquery for FROM without an alias; None if they are in Postgres.

    With a `limit`, only the first ones in the order of the grain. Raises UserError for too many rows.
    """
    if publish.snapshot is None:
        return None
    types = publish.types or table.types
    return rows_of_snapshot(table, publish.snapshot, publish.load_date, types, publish.rows, limit)


def rows_of_snapshot(
    table: Table, snapshot: Snapshot, load_date: date, columns: Mapping[str, str], rows: int, limit: int | None = None
) -> sql.Composable:
    """Return the rows of a load_date in a snapshot, which has these columns and so many rows, as `rows_of_lake`."""
    if limit is None and rows > MOST:
        raise UserError(
            f"{table.relation} of {load_date} has {rows:,} rows on the lake, and at most {MOST:,} are fetched here: "
            f"read {snapshot.table} on the engine, as of version {snapshot.number}."
        )
    from kpi_assets.lake.sql_text import quoted  # noqa: PLC0415  no other pipeline needs these
    from kpi_assets.lake.statements import Pin  # noqa: PLC0415
    from kpi_assets.materialize.engine_session import connect  # noqa: PLC0415

    types = {LOAD_DATE: "date", **columns}
    select = Pin(snapshot.table, snapshot.number, columns).rows(load_date, types)
    if limit is not None:
        order = ", ".join(f"`q`.{quoted(name)}" for name in table.header.grain if name in types)
        select = f"select * from (\n{select}\n) as `q` order by {order} limit {limit:d}"  # noqa: S608  declared names
    with connect(settings(), "read") as engine:
        found = [{name: _text(value) for name, value in row.items()} for row in engine.records(select)]
    typed = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(type_)) for name, type_ in types.items()
    )
    return sql.SQL("(select * from jsonb_to_recordset({}::jsonb) as fetched ({}))").format(
        sql.Literal(json.dumps(found)), typed
    )


def _text(value: Any) -> str | None:
    """Return a value of the engine as a text that Postgres reads as the same value."""
    if value is None:
        return None
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return str(value)
