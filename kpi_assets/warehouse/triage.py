"""Triage: telling readable records from unreadable ones, after a typed COPY refused an object.

The records are loaded as text; Postgres itself says which values its types accept; the good rows fill the candidate,
the bad ones are handed back with line, column, value and reason. Not here: cutting a file into records (lake/).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row

from kpi_assets.model.records import BadRecord, Record
from kpi_assets.warehouse.candidates import Candidate

KEPT = 10_000  # bad records that are handed back with their text, at least; all are counted
INPUT_FUNCTIONS = 160000  # the server version from which Postgres tells by itself whether a type accepts a value

# For older servers: the same answer, at the price of a subtransaction a value.
_INPUT_ERROR = """
create or replace function pg_temp.input_error(value text, type text) returns text language plpgsql as $$
begin
    execute pg_catalog.format('select %L::%s', value, type);
    return null;
exception when data_exception then
    return sqlerrm;
end $$
"""


@dataclass(frozen=True)
class Triaged:
    """How many records went into the candidate, how many did not, and the first of these."""

    loaded: int
    bad: int
    samples: list[BadRecord]


def triage(connection: Connection[Any], candidate: Candidate, records: Iterable[Record], kept: int) -> Triaged:
    """Fill the candidate with the readable records, in the caller's transaction; `kept` bad ones are handed back."""
    names = candidate.table.columns
    slots = [sql.Identifier(f"c{number}") for number in range(len(names))]
    connection.execute(
        sql.SQL("create temporary table triage (line bigint, record text, problem text, {}) on commit drop").format(
            sql.SQL(", ").join(sql.SQL("{} text").format(slot) for slot in slots)
        )
    )
    _load(connection, records, len(names))
    if connection.info.server_version >= INPUT_FUNCTIONS:
        error = sql.SQL("(pg_input_error_info({value}, {type})).message")
    else:
        connection.execute(_INPUT_ERROR)
        error = sql.SQL("pg_temp.input_error({value}, {type})")
    typed = [
        (name, slot, column.type)
        for (name, column), slot in zip(candidate.table.header.columns.items(), slots, strict=True)
    ]
    checked: list[sql.Composable] = [
        sql.SQL("({}, {}, {})").format(sql.Literal(name), slot, error.format(value=slot, type=sql.Literal(type_)))
        for name, slot, type_ in typed
        if type_ != "text"
    ]
    # One pass says of each record whether it is good; a NULL value is always accepted.
    connection.execute(
        sql.SQL(
            "create temporary table verdict on commit drop as select t.line, t.record, v.name as column_name, "
            "v.value, coalesce(t.problem, v.error) as reason from triage as t left join lateral ("
            "select * from (values {}) as each_value (name, value, error) where error is not null limit 1"
            ") as v on t.problem is null where t.problem is not null or v.error is not null"
        ).format(sql.SQL(", ").join(checked or [sql.SQL("(null::text, null::text, null::text)")]))
    )
    loaded = connection.execute(
        sql.SQL("insert into {} ({}) select {} from triage where line not in (select line from verdict)").format(
            candidate.name,
            sql.SQL(", ").join(sql.Identifier(name) for name in names),
            sql.SQL(", ").join(sql.SQL("{}::").format(slot) + sql.SQL(type_) for _, slot, type_ in typed),
        )
    ).rowcount
    counted = connection.execute("select count(*) from pg_temp.verdict").fetchone()
    with connection.cursor(row_factory=class_row(BadRecord)) as cursor:
        samples = cursor.execute(
            'select line, record, column_name as "column", value, reason from pg_temp.verdict order by line limit %s',
            [max(kept, KEPT)],
        ).fetchall()
    return Triaged(loaded, int(counted[0]) if counted else 0, samples)


def _load(connection: Connection[Any], records: Iterable[Record], width: int) -> None:
    nothing = [None] * width
    with connection.cursor() as cursor, cursor.copy("copy pg_temp.triage from stdin") as copy:
        for record in records:
            copy.write_row((record.line, record.text, record.problem, *(record.fields or nothing)))
