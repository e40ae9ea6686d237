"""Refuses floating-point sums in a SELECT whose types only Postgres can resolve.

Postgres parses the SELECT as a view that is rolled back. The parse tree of the view names the function of each call,
with its argument types resolved. Not here: sums whose types are known from the files alone (model/replay.py).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.lookback import Window
from kpi_assets.model.names import BATCH, LOAD_DATE, PREVIOUS, Relation
from kpi_assets.model.replay import PAIRS, SUMS
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import DefinitionError

_NOTHING: Mapping[Relation, str] = {}
_TOKEN = re.compile(r"\\.|([{}])|:(\w+) (<>|[^\s{}]*)", re.DOTALL)  # an escaped character, a brace, or a field
_FLOAT_SUMS = """
select p.oid::text, p.oid::regprocedure::text from pg_proc as p
where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'a' and (
    p.proname = any(%(pairs)s)
    or p.proname = any(%(sums)s) and p.proargtypes[0] in ('real'::regtype, 'double precision'::regtype)
)
"""


def refuse(
    connection: Connection[Any],
    table: Table,
    load_date: date,
    window: Window | None,
    substitutes: Mapping[Relation, str] = _NOTHING,
) -> None:
    """Raise DefinitionError for a sum whose result depends on the order of the rows.

    Postgres is queried only if the files do not tell the type of every sum.
    """
    if table.query is None or not table.query.has_unknown_sums:
        return
    functions = dict(connection.execute(_FLOAT_SUMS, {"pairs": list(PAIRS), "sums": list(SUMS)}).fetchall())
    # The value of a date changes no type, so it is the load_date itself where a table carries on.
    parameters = {LOAD_DATE: load_date, PREVIOUS: load_date, BATCH: 1, **(window.parameters if window else {})}
    view = sql.SQL("create temporary view parsed as {}").format(sql.SQL(table.query.executed_on(substitutes).strip()))
    with connection.transaction(force_rollback=True):
        psycopg.ClientCursor(connection).execute(view, parameters)  # a view takes no server-side parameters
        row = connection.execute(
            "select ev_action::text from pg_rewrite where ev_class = 'pg_temp.parsed'::regclass"
        ).fetchone()
    assert row is not None
    for oid in _unordered_calls(row[0]):
        if oid in functions:
            raise DefinitionError(
                f"{table.path}: {functions[oid]} adds up floating-point numbers, and another order of the rows gives "
                "another result: cast what it adds up to numeric."
            )


def _unordered_calls(tree: str) -> Iterator[str]:
    """Yield the oids of the functions of a parse tree of windows, and of aggregates without ORDER BY and DISTINCT."""
    nodes: list[dict[str, str]] = []
    for brace, field, value in _TOKEN.findall(tree):
        if brace == "{":
            nodes.append({})
        elif brace == "}":
            node = nodes.pop()
            if node.get("aggorder", "<>") == "<>" and node.get("aggdistinct", "<>") == "<>":
                yield node.get("aggfnoid") or node.get("winfnoid", "")
        elif field and nodes:
            nodes[-1][field] = value
