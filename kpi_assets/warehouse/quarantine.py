"""Quarantine: separates readable records from unreadable ones if no COPY can load the whole object.

Each value is compared with the written forms of its type. The records are loaded as text, and Postgres decides which
values its types accept. The readable records fill the candidate. Excerpts of the others are returned with line, column,
value and reason.
Not here: reading the records of an object (sources/formats), and the written forms (model/written.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row

from kpi_assets.model import excerpt, written
from kpi_assets.model.records import BadRecord, Record
from kpi_assets.warehouse.candidates import Candidate

MIN_SAMPLES = 10_000  # at least so many bad records are returned with their text; all are counted
INPUT_FUNCTIONS_SINCE = 160000  # the first server version with pg_input_error_info()

# For older servers: the same result, but each value costs a subtransaction. A cast cuts a text to its length without a
# word, which the type's input function refuses to do.
_INPUT_ERROR = """
create or replace function pg_temp.input_error(value text, type text) returns text language plpgsql as $$
begin
    if type ~ '^character.*[0-9]' then
        execute pg_catalog.format(
            'select pg_catalog.%s(%L::cstring, 0::oid, %s)',
            case when type like '% varying%' then 'varcharin' else 'bpcharin' end,
            value, substring(type from '[0-9]+')::integer + 4
        );
    else
        execute pg_catalog.format('select %L::%s', value, type);
    end if;
    return null;
exception when data_exception then
    return sqlerrm;
end $$
"""


@dataclass(frozen=True)
class Result:
    """The numbers of loaded and of bad records, and the first bad records."""

    loaded: int
    bad: int
    samples: list[BadRecord]


def load_readable(connection: Connection[Any], candidate: Candidate, records: Iterable[Record], kept: int) -> Result:
    """Fill the candidate with the readable records, in the caller's transaction; return at least `kept` bad records."""
    names = candidate.table.columns
    slots = [sql.Identifier(f"c{number}") for number in range(len(names))]
    connection.execute(
        sql.SQL(
            "create temporary table records (line bigint, record text, problem text, refused integer, {}) "
            "on commit drop"
        ).format(sql.SQL(", ").join(sql.SQL("{} text").format(slot) for slot in slots))
    )
    _load(connection, records, list(candidate.table.types.values()))
    if connection.info.server_version >= INPUT_FUNCTIONS_SINCE:
        error = sql.SQL("(pg_input_error_info({value}, {type})).message")
    else:
        connection.execute(_INPUT_ERROR)
        error = sql.SQL("pg_temp.input_error({value}, {type})")
    typed = [
        (name, slot, column.type)
        for (name, column), slot in zip(candidate.table.header.columns.items(), slots, strict=True)
    ]
    checked: list[sql.Composable] = [
        sql.SQL("({}, {}, case when t.refused = {} then t.problem else {} end)").format(
            sql.Literal(name), slot, sql.Literal(number), error.format(value=slot, type=sql.Literal(type_))
        )
        for number, (name, slot, type_) in enumerate(typed)
        if type_ != "text"
    ]
    # One pass finds the bad records, each with its first invalid column. NULL is always valid.
    connection.execute(
        sql.SQL(
            "create temporary table bad_records on commit drop as select t.line, t.record, v.name as column_name, "
            "{} as value, {} as reason from records as t left join lateral ("
            "select * from (values {}) as each_value (name, value, error) where error is not null limit 1"
            ") as v on t.problem is null or t.refused is not null where t.problem is not null or v.error is not null"
        ).format(
            sql.SQL(excerpt.sql_cut("v.value")),
            sql.SQL(excerpt.sql_cut("coalesce(v.error, t.problem)")),
            sql.SQL(", ").join(checked or [sql.SQL("(null::text, null::text, null::text)")]),
        )
    )
    loaded = connection.execute(
        sql.SQL("insert into {} ({}) select {} from records where line not in (select line from bad_records)").format(
            candidate.name,
            sql.SQL(", ").join(sql.Identifier(name) for name in names),
            sql.SQL(", ").join(sql.SQL("{}::").format(slot) + sql.SQL(type_) for _, slot, type_ in typed),
        )
    ).rowcount
    counted = connection.execute("select count(*) from pg_temp.bad_records").fetchone()
    with connection.cursor(row_factory=class_row(BadRecord)) as cursor:
        samples = cursor.execute(
            'select line, record, column_name as "column", value, reason from pg_temp.bad_records '
            "order by line limit %s",
            [max(kept, MIN_SAMPLES)],
        ).fetchall()
    return Result(loaded, int(counted[0]) if counted else 0, samples)


def _load(connection: Connection[Any], records: Iterable[Record], types: Sequence[str]) -> None:
    """Load the records as text, each with its problem, or else with that of its first value in a wrong form."""
    nothing = [None] * len(types)
    formed = {number: type_ for number, type_ in enumerate(types) if written.form(type_) is not None}
    with connection.cursor() as cursor, cursor.copy("copy pg_temp.records from stdin") as copy:
        for record in records:
            fields = record.fields or nothing
            refused, problem = _first_refused(fields, formed)
            copy.write_row((record.line, record.text, record.problem or problem, refused, *fields))


def _first_refused(fields: Sequence[str | None], types: Mapping[int, str]) -> tuple[int | None, str | None]:
    """Return (number, problem) of the first field that is not written in a form of its type."""
    for number, type_ in types.items():
        text = fields[number]
        if text is not None and (problem := written.problem(type_, text)):
            return number, problem
    return None, None
