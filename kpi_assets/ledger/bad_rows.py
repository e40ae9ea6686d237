"""The view ops.bad_rows: what the latest build of each table and load_date set aside, for those who decide on it.

Not here: writing to the quarantine (quarantine.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NamedTuple, get_args

from psycopg import Connection
from psycopg.rows import class_row

State = Literal["waiting", "corrected", "accepted", "discarded"]
STATES: tuple[State, ...] = get_args(State)
_COLUMNS = (
    "id, build_id, table_name, load_date, object_key, line, record, column_name, value, reason, key::text as key, "
    "rules, state, decision, corrected, quarantined_at"
)


@dataclass(frozen=True)
class BadRow:
    """One record or row that was set aside; `record` is the record, or the row as a JSON object."""

    id: int
    build_id: int
    table_name: str
    load_date: date
    object_key: str | None
    line: int | None
    record: str
    column_name: str | None
    value: str | None
    reason: str
    key: str | None  # JSON
    rules: list[str] | None
    state: State
    decision: str | None
    corrected: str | None
    quarantined_at: datetime

    @property
    def place(self) -> str:
        """Where it is: the object and line, or the key of the row."""
        return self.key or "" if self.object_key is None else f"{self.object_key}:{self.line}"

    @property
    def broken(self) -> str:
        """The rules that it breaks, or the column whose value cannot be read; empty if it is the whole record."""
        return ", ".join(self.rules) if self.rules else self.column_name or ""


class Waiting(NamedTuple):
    """How many rows of a table and load_date wait for a decision."""

    table: str
    load_date: date
    rows: int


def find(
    connection: Connection[Any],
    *,
    tables: Collection[str],
    load_date: date | None = None,
    state: State | None = None,
    limit: int | None = None,
) -> tuple[list[BadRow], int]:
    """Return what was set aside of some tables, by load_date, table and id, and how many there are without a limit."""
    values: Mapping[str, Any] = {"tables": list(tables), "load_date": load_date, "state": state, "limit": limit}
    which = (
        "table_name = any(%(tables)s) and (%(load_date)s::date is null or load_date = %(load_date)s) "
        "and (%(state)s::text is null or state = %(state)s)"
    )
    with connection.cursor(row_factory=class_row(BadRow)) as cursor:
        found = cursor.execute(
            f"select {_COLUMNS} from ops.bad_rows where {which} "  # noqa: S608
            "order by load_date, table_name, id limit %(limit)s",
            values,
        ).fetchall()
    if limit is None or len(found) < limit:
        return found, len(found)
    [(count,)] = connection.execute(f"select count(*) from ops.bad_rows where {which}", values).fetchall()  # noqa: S608
    return found, count


def of_ids(connection: Connection[Any], ids: Sequence[int]) -> dict[int, BadRow]:
    """Return the rows with these ids, of the latest builds; the others are absent."""
    with connection.cursor(row_factory=class_row(BadRow)) as cursor:
        found = cursor.execute(
            f"select {_COLUMNS} from ops.bad_rows where id = any(%s)",  # noqa: S608
            [list(ids)],
        ).fetchall()
    return {row.id: row for row in found}


def outdated(connection: Connection[Any], ids: Sequence[int]) -> dict[int, tuple[str, date]]:
    """Return the table and load_date of each of these ids that an earlier build set aside."""
    rows = connection.execute(
        "select id, table_name, load_date from ops.quarantine where id = any(%(ids)s) "
        "and id not in (select id from ops.bad_rows where id = any(%(ids)s))",
        {"ids": list(ids)},
    ).fetchall()
    return {id_: (table, load_date) for id_, table, load_date in rows}


def waiting(connection: Connection[Any], tables: Collection[str]) -> list[Waiting]:
    """Return how many rows wait for a decision, by load_date and table; only where some do."""
    # Counted by build first, because ops.bad_rows would look up the latest build for each row.
    rows = connection.execute(
        """
        with by_build as (
            select build_id, table_name, load_date, count(*) as rows
            from ops.quarantine
            where state = 'waiting' and table_name = any(%s)
            group by 1, 2, 3
        )
        select table_name, load_date, rows from by_build as b
        where build_id = (
            select max(r.id) from ops.pipeline_runs as r
            where r.job = b.table_name and r.load_date = b.load_date and r.status in ('success', 'held')
        )
        order by 2, 1
        """,
        [list(tables)],
    ).fetchall()
    return [Waiting(*row) for row in rows]
