"""The quarantine, ops.quarantine: the records and rows that builds set aside, each with the reason and its state."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from kpi_assets.model.excerpt import RECORD, cut, sql_cut, sql_cut_values
from kpi_assets.model.records import BadRecord, SetAside


def record(
    connection: Connection[Any],
    bad: Iterable[BadRecord],
    *,
    build_id: int,
    run_id: str,
    table: str,
    load_date: date,
) -> None:
    """Insert a row for each bad record, cut to an excerpt; the whole record is in the object on S3."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy ops.quarantine (build_id, run_id, table_name, load_date, object_key, line, byte_offset, record, "
            "column_name, value, reason, state, decision, corrected) from stdin"
        ) as copy,
    ):
        for row in bad:
            text, value, reason = cut(row.record, RECORD), row.value and cut(row.value), cut(row.reason)
            place = row.object_key, row.line, row.byte_offset
            corrected = row.corrected and cut(row.corrected, RECORD)
            decided = row.state, row.decision, corrected
            copy.write_row((build_id, run_id, table, load_date, *place, text, row.column, value, reason, *decided))


def record_rows(
    connection: Connection[Any],
    aside: sql.Composable,
    *,
    columns: Sequence[str],
    grain: Sequence[str],
    most: int | None,
    build_id: int,
    run_id: str,
    table: str,
    load_date: date,
) -> None:
    """Insert a row for each row of `aside` (warehouse/set_aside.py), or with `most` for the first ones by their key.

    Rows with a decision come first. A row is a JSON object with its columns in order; of a row that is too long, the
    values are cut.
    """
    pairs = sql.SQL(", ").join(sql.SQL("{}, a.{}").format(sql.Literal(name), sql.Identifier(name)) for name in grain)
    connection.execute(
        sql.SQL(
            "insert into ops.quarantine (build_id, run_id, table_name, load_date, record, reason, key, rules, state, "
            "decision, corrected) select %s, %s, %s, %s, {record}, "
            '{reason}, jsonb_build_object({pairs}), a."RULES", a."STATE", a."DECISION", '
            'case when c."NUMBER" is not null then {corrected} end '
            'from {aside} as a left join {aside} as c on c."CORRECTS" = a."NUMBER" where a."CORRECTS" is null '
            'order by (a."DECISION" is null), {order} limit {most}'
        ).format(
            record=_row("a", columns),
            reason=sql.SQL(sql_cut("coalesce(a.\"REASON\", 'breaks ' || array_to_string(a.\"RULES\", ', '))")),
            pairs=pairs,
            corrected=_row("c", columns),
            aside=aside,
            order=sql.SQL(", ").join(sql.Identifier("a", name) for name in grain),
            most=sql.Literal(most),
        ),
        [build_id, run_id, table, load_date],
    )


def _row(of: str, columns: Sequence[str]) -> sql.Composable:
    """Return SQL for a row as a JSON object, cut to RECORD characters."""
    names = ", ".join(sql.Identifier(of, name).as_string() for name in columns)
    row = f'(select to_json("SHOWN") from (select {names}) as "SHOWN")'  # noqa: S608
    short = sql_cut(f"{sql_cut_values(row)}::text", RECORD)
    return sql.SQL(f"(case when length({row}::text) <= {RECORD} then {row}::text else {short} end)")


def first_of(
    connection: Connection[Any], *, table: str, load_date: date, build_id: int, most: int
) -> list[dict[str, Any]]:
    """Return the first records or rows that a build set aside, those that wait first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select state, coalesce(key::text, 'line ' || line) as which, column_name as column, value, reason, "
            "decision, record from ops.quarantine "
            "where table_name = %(table)s and load_date = %(load_date)s and build_id = %(build_id)s "
            "order by (state <> 'waiting'), id limit %(most)s",
            {"table": table, "load_date": load_date, "build_id": build_id, "most": most},
        ).fetchall()


def restore_rows(
    connection: Connection[Any], *, table: str, load_date: date, build_id: int, types: Mapping[str, str]
) -> SetAside:
    """Create pg_temp.aside with the rows that rules set aside in a published build, as warehouse/set_aside.py has them.

    Return how many they are, by what became of them.
    """
    columns = sql.SQL(", ").join(
        sql.SQL("{} ").format(sql.Identifier(name)) + sql.SQL(type_) for name, type_ in types.items()
    )
    of_build = sql.SQL("q.table_name = {} and q.load_date = {} and q.build_id = {} and q.rules is not null").format(
        *map(sql.Literal, (table, load_date, build_id))
    )
    connection.execute(
        sql.SQL(
            'create temporary table aside as select r.*, q.state as "STATE", null::bigint as "CORRECTS" '
            "from ops.quarantine as q cross join lateral json_to_record(q.record::json) as r ({columns}) "
            "where {of_build} union all select r.*, null, q.id "
            "from ops.quarantine as q cross join lateral json_to_record(q.corrected::json) as r ({columns}) "
            "where {of_build} and q.corrected is not null"
        ).format(columns=columns, of_build=of_build)
    )
    rows = connection.execute(
        sql.SQL("select state, count(*) from ops.quarantine as q where {} group by 1").format(of_build)
    )
    return SetAside(**dict(rows.fetchall()))
