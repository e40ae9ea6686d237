"""Quarantine: separates readable records from unreadable ones if no COPY can load the whole object.

Each value is compared with the written forms of its type. The records are loaded as text, and Postgres decides which
values its types accept. The readable records fill the candidate. Excerpts of the others are returned with line, column,
value and reason.
Not here: reading the records of an object (sources/formats), and the written forms (model/written.py).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row

from kpi_assets.model import excerpt
from kpi_assets.model.records import BadRecord, Record
from kpi_assets.model.table import Table
from kpi_assets.model.written import Form, RefusedError
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.decided_records import DecidedRecords
from kpi_assets.warehouse.erased import Erased, key_of
from kpi_assets.warehouse.input_errors import input_error

MIN_SAMPLES = 10_000  # at least so many bad records are returned with their text, if there are; all are counted

NOTHING_DECIDED = DecidedRecords(())
# The words of the records that have no fields, because they cannot be read.
_WORDS = (
    "cross join lateral regexp_split_to_table(case when t.problem is not null and t.refused is null then t.record end, "
    "'[[:space:],;|\"''{}:]+') as w (word)"
)
# A record whose line is negative takes the place of a bad one (decided_records.py).
_LOADED = sql.SQL(
    "where line not in (select line from bad_records) and (line > 0 or -line in (select line from bad_records))"
)


@dataclass(frozen=True)
class Result:
    """The numbers of loaded and of bad records, and the first bad records."""

    loaded: int
    bad: int
    samples: list[BadRecord]  # also those that were corrected, which are not counted as bad
    discarded: int = 0
    decided: str = ""  # what decisions did, for people
    erased: int = 0  # records about erased persons, which are neither loaded nor bad


def load_readable(
    connection: Connection[Any],
    candidate: Candidate,
    records: Iterable[Record],
    decided: DecidedRecords = NOTHING_DECIDED,
    erased: Erased | None = None,
) -> Result:
    """Fill the candidate with the readable records, in the caller's transaction; return the bad ones.

    Bad records about `erased` persons are left out, as far as the value can be read that names one; readable ones are
    loaded.

    `decided` has found the decisions on the records by the time that all are read. Of more bad records than may be
    published, the first MIN_SAMPLES are returned.
    """
    table = candidate.table
    types = _types(table)
    slots = [sql.Identifier(f"c{number}") for number in range(len(types))]
    origins = dict(zip(table.source.origin_columns, table.source.origins, strict=True))
    _judge(connection, table, records)
    typed = list(zip(slots, types.values(), strict=True))
    left_out = _leave_out(connection, erased) if erased else 0
    loaded = connection.execute(
        sql.SQL("insert into {} ({}) select {} from records {}").format(
            candidate.name,
            sql.SQL(", ").join(sql.Identifier(name) for name in [*types, *origins]),
            sql.SQL(", ").join(
                [
                    *(sql.SQL("{}::").format(slot) + sql.SQL(type_) for slot, type_ in typed),
                    *(sql.Identifier(origin) for origin in origins.values()),
                ]
            ),
            _LOADED,
        )
    ).rowcount
    counted = connection.execute("select count(*) from pg_temp.bad_records where line > 0").fetchone()
    bad, budget = int(counted[0]) if counted else 0, table.header.quarantine
    kept = budget.most(loaded + bad) if budget else 0
    samples = _samples(connection, max(kept, MIN_SAMPLES) + len(decided.decisions))
    settled = decided.settle(connection, samples)
    return Result(loaded, bad - settled.corrected, settled.samples, settled.discarded, settled.text, left_out)


def reasons(connection: Connection[Any], table: Table, records: Iterable[Record]) -> list[BadRecord]:
    """Return why records cannot be read, in the order of their lines, of those that cannot; in a transaction.

    For records that another engine could not read: Postgres and the written forms say why, as they do while loading.
    """
    _judge(connection, table, records)
    found = _samples(connection, None)
    connection.execute("drop table pg_temp.bad_records, pg_temp.records")
    return found


def find_erased(connection: Connection[Any], erased: Erased, records: Iterable[Record]) -> dict[int, dict[str, str]]:
    """Return the lines of the records that are about erased persons, in the caller's transaction.

    Each has what would stand in the place of the key, by column; nothing if the record cannot be read, or was only
    corrected to be about one.
    """
    _stage(connection, erased.table, records)
    found: dict[int, dict[str, str]] = {}
    for line, column, replacement in connection.execute(_of_erased(connection, erased), erased.parameters):
        found.setdefault(line, {}).update({} if column is None else {column: replacement})
    connection.execute("drop table pg_temp.records")
    return found


def _judge(connection: Connection[Any], table: Table, records: Iterable[Record]) -> None:
    """Load the records into the temporary table `records`, and say in `bad_records` why some cannot be read."""
    _stage(connection, table, records)
    checked: list[sql.Composable] = [
        sql.SQL("({}, coalesce(t.written ->> {}, {}), case when t.refused = {} then t.problem else {} end)").format(
            sql.Literal(name),
            sql.Literal(str(number)),
            slot,
            sql.Literal(number),
            sql.SQL("null") if type_ == "text" else input_error(connection, slot, sql.Literal(type_)),
        )
        for number, (name, type_) in enumerate(_types(table).items())
        for slot in [sql.Identifier(f"c{number}")]
    ]
    # One pass finds the bad records, each with its first invalid column. NULL is always valid.
    connection.execute(
        sql.SQL(
            "create temporary table bad_records on commit drop as select t.line, t.record, t.byte_offset, "
            "v.name as column_name, {} as value, {} as reason from records as t left join lateral ("
            "select * from (values {}) as each_value (name, value, error) where error is not null limit 1"
            ") as v on t.problem is null or t.refused is not null where t.problem is not null or v.error is not null"
        ).format(
            sql.SQL(excerpt.sql_cut("v.value")),
            sql.SQL(excerpt.sql_cut("coalesce(v.error, t.problem)")),
            sql.SQL(", ").join(checked or [sql.SQL("(null::text, null::text, null::text)")]),
        )
    )


def _samples(connection: Connection[Any], most: int | None) -> list[BadRecord]:
    """Return the first bad records, or all."""
    with connection.cursor(row_factory=class_row(BadRecord)) as cursor:
        return cursor.execute(
            'select line, record, column_name as "column", value, reason, byte_offset from pg_temp.bad_records '
            "where line > 0 order by line limit %s",
            [most],
        ).fetchall()


def _leave_out(connection: Connection[Any], erased: Erased) -> int:
    """Drop the bad records that are about erased persons, or were corrected to be; return how many they are."""
    connection.execute(
        sql.SQL(
            "create temporary table erased_records on commit drop as select line from bad_records "
            "where line > 0 and line in (select f.line from ({}) as f)"
        ).format(_of_erased(connection, erased)),
        erased.parameters,
    )
    for table in ("records", "bad_records"):
        connection.execute(
            sql.SQL("delete from {} where abs(line) in (select line from erased_records)").format(sql.Identifier(table))
        )
    counted = connection.execute("select count(*) from erased_records").fetchone()
    return int(counted[0]) if counted else 0


def _of_erased(connection: Connection[Any], erased: Erased) -> sql.Composed:
    """Return SQL for the staged records about erased persons: line, column of the key, and what could take its place.

    A value is read as its column would hold it. Of a record that has no fields, each word of its text may be the key.
    """
    types = _types(erased.table)
    found = list[sql.Composable]()
    for subject in erased.subjects:
        type_ = types[subject.column]
        slot = sql.Identifier("t", f"c{[*types].index(subject.column)}")
        for value, rest, column in ((slot, "", subject.column), (sql.Identifier("w", "word"), _WORDS, None)):
            key = key_of(subject, value)
            if type_ != "text":
                wrong = input_error(connection, value, sql.Literal(type_))
                typed = sql.SQL("{}::{}").format(value, sql.SQL(type_))
                key = sql.SQL("case when {} is null then ({})::text else {} end").format(wrong, typed, value)
            found.append(
                sql.SQL(
                    "select abs(t.line) as line, case when t.line > 0 then {}::text end, k.replacement "
                    "from records as t {} inner join {}"
                ).format(column, sql.SQL(rest), erased.join(subject, key, "k"))
            )
    return sql.SQL(" union ").join(found)


def _types(table: Table) -> dict[str, str]:
    """Return the types of the columns that the fields of a record fill."""
    return {name: type_ for name, type_ in table.types.items() if name not in table.source.origin_columns}


def _stage(connection: Connection[Any], table: Table, records: Iterable[Record]) -> None:
    """Load records as text into the temporary table `records`, with a column c0, c1, … for each of theirs."""
    width = len(_types(table))
    slots = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(f"c{number}")) for number in range(width))
    connection.execute(
        sql.SQL(
            "create temporary table records (line bigint, record text, problem text, refused integer, written jsonb, "
            "position bigint, object_key text, byte_offset bigint, {}) on commit drop"
        ).format(slots)
    )
    _load(connection, records, [each.form for each in table.dialect.fields], width)


def count_loaded(connection: Connection[Any], span: int) -> dict[int, int]:
    """Return how many records load_readable was given for every `span` numbers of lines, in the same transaction."""
    return dict(connection.execute("select line / %s, count(*) from pg_temp.records where line > 0 group by 1", [span]))


def _load(connection: Connection[Any], records: Iterable[Record], forms: Sequence[Form], width: int) -> None:
    """Load the records as text, each with its problem, or else with that of its first value in a wrong form."""
    nothing = [None] * width
    with connection.cursor() as cursor, cursor.copy("copy pg_temp.records from stdin") as copy:
        for record in records:
            found = _Values(record.fields or nothing, forms, record.refusals)
            problem = record.problem or found.problem
            fixed = (
                record.line,
                record.text,
                problem,
                found.refused,
                found.written,
                record.position,
                record.object_key,
                record.byte_offset,
            )
            copy.write_row((*fixed, *found.fields, *nothing[len(found.fields) :]))


class _Values:
    """The values of one record as Postgres reads them, and the first that is not written in a form of its column."""

    def __init__(self, fields: Sequence[str | None], forms: Sequence[Form], refusals: Mapping[int, str]) -> None:
        self.fields = list(fields)
        self.refused: int | None = None
        self.problem: str | None = None
        written: dict[str, str] = {}  # the texts of the file, if others take their place
        for number, form in enumerate(forms):
            text = fields[number]
            if text is None:
                continue
            if number in refusals:
                self.refused, self.problem = number, refusals[number]
                break
            try:
                self.fields[number] = value = form.read(text)
            except RefusedError as error:
                self.refused, self.problem = number, str(error)
                break
            if value != text:
                written[str(number)] = text
        self.written = json.dumps(written) if written else None
