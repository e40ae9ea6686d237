"""Decisions in the database: the rows that they are on, and the values that they set, as Postgres reads them.

A value is refused as it would be in an object: in another form than its type has, or because Postgres refuses it.
Not here: applying decisions (set_aside.py, quarantine.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model import excerpt
from kpi_assets.model.decision import Decision, json_text
from kpi_assets.model.table import Table
from kpi_assets.model.written import problem
from kpi_assets.warehouse.input_errors import input_error


def load(connection: Connection[Any], table: Table, decisions: Sequence[Decision]) -> None:
    """Load the decisions into pg_temp.decisions, numbered in their order, each with why it cannot be applied, if so."""
    connection.execute(
        "create temporary table decisions "
        "(number integer, kind text, is_on jsonb, put jsonb, place text, problem text) on commit drop"
    )
    texts = [
        {name: text_of(value, table.types.get(name, "")) for name, value in each.set.items()} for each in decisions
    ]
    problems = dict(_refused_by_server(connection, table, texts))
    with (
        connection.cursor() as cursor,
        cursor.copy("copy pg_temp.decisions (number, kind, is_on, put, place, problem) from stdin") as copy,
    ):
        for number, (each, put) in enumerate(zip(decisions, texts, strict=True)):
            refused = _refused(table, put) or problems.get(number)
            is_on = json_text({**each.was, **each.key})
            copy.write_row((number, each.kind, is_on, json.dumps(put), each.place, refused))


def _refused(table: Table, put: Mapping[str, str | None]) -> str | None:
    """Return why values cannot be set, as far as the file of the table says it; None if they can."""
    for name, text in put.items():
        if name not in table.header.selected:
            known = ", ".join(table.header.selected)
            return excerpt.cut(f"it was corrected in the column {name!r}, which is none of {known}")
        if text is not None and (why := problem(table.types[name], text)):
            return _sentence(name, text, why.partition(": ")[0])  # the rest tells what to do about a file
    return None


def _sentence(name: str, text: str, why: str) -> str:
    return excerpt.cut(f"it was corrected by {name} {excerpt.cut(repr(text), 200)}: {why}")


def _refused_by_server(
    connection: Connection[Any], table: Table, texts: Iterable[Mapping[str, str | None]]
) -> Iterator[tuple[int, str]]:
    """Yield (number of a decision, why) for each value that Postgres refuses."""
    given = [
        (number, name, text, table.types[name])
        for number, put in enumerate(texts)
        if not _refused(table, put)
        for name, text in put.items()
        if text is not None
    ]
    if not given:
        return
    error = input_error(connection, sql.SQL("v.value"), sql.SQL("v.type"))
    for number, name, text, why in connection.execute(
        sql.SQL(
            "select * from (select v.number, v.name, v.value, {} as error from "
            "unnest(%s::integer[], %s::text[], %s::text[], %s::text[]) as v (number, name, value, type)) as v "
            "where error is not null order by number desc"
        ).format(error),
        [list(column) for column in zip(*given, strict=True)],
    ):
        yield number, _sentence(name, text, why)


def text_of(value: Any, type_: str) -> str | None:
    """Return a value of JSON as the text that Postgres reads for a column of this type."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and type_.endswith("[]"):
        items = (text_of(each, type_.removesuffix("[]")) for each in value)
        return "{" + ",".join("NULL" if item is None else json.dumps(item, ensure_ascii=False) for item in items) + "}"
    return json_text(value)
