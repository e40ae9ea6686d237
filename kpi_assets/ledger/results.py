"""Check results, ops.data_quality_results: the outcome of every check, its subject and its time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Json

from kpi_assets.model.results import CheckResult, Subject


def record(
    connection: Connection[Any],
    results: Iterable[CheckResult],
    *,
    run_id: str,
    build_id: int | None,
    table: str,
    load_date: date,
    subject: Subject,
) -> None:
    """Insert a row for each result."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy ops.data_quality_results (run_id, build_id, check_name, table_name, load_date, status, blocking, "
            "metric_value, threshold, samples, message, subject) from stdin"
        ) as copy,
    ):
        for result in results:
            copy.write_row(
                (
                    run_id,
                    build_id,
                    result.name,
                    table,
                    load_date,
                    result.verdict,
                    result.blocking,
                    result.metric,
                    result.threshold,
                    Json(result.samples),
                    result.message,
                    subject,
                )
            )


def latest(connection: Connection[Any], load_date: date) -> list[dict[str, Any]]:
    """The latest results of each table of a load_date, in the order in which the checks were made."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            with last_time as (
                select distinct on (table_name) table_name, run_id, subject
                from ops.data_quality_results
                where load_date = %(load_date)s
                order by table_name, id desc
            )
            select
                d.table_name, d.check_name, d.status, d.blocking, d.metric_value, d.threshold, d.message, d.samples,
                d.subject, d.run_id, d.checked_at
            from ops.data_quality_results as d
            inner join last_time as t using (table_name, run_id, subject)
            where d.load_date = %(load_date)s
            order by d.id
            """,
            {"load_date": load_date},
        ).fetchall()


@dataclass(frozen=True)
class Warned:
    """A check with severity `warn` that failed for `load_dates` load_dates, with the message of the last one."""

    table_name: str
    check_name: str
    load_dates: int
    last: date
    message: str

    def __str__(self) -> str:
        more = f" and of {self.load_dates - 1} earlier load_dates" if self.load_dates > 1 else ""
        return f"{self.check_name} of {self.table_name} of {self.last}{more}: {self.message}"


def warned(connection: Connection[Any], first: date = date.min, last: date = date.max) -> list[Warned]:
    """The warnings in the latest results of a range of load_dates, by table or object and check."""
    with connection.cursor(row_factory=class_row(Warned)) as cursor:
        return cursor.execute(
            """
            with latest as (
                select distinct on (table_name, load_date, check_name)
                    table_name, check_name, load_date, status, message
                from ops.data_quality_results
                where load_date between %s and %s
                order by table_name, load_date, check_name, id desc
            )
            select table_name, check_name, count(*) as load_dates, max(load_date) as last,
                (array_agg(message order by load_date desc))[1] as message
            from latest
            where status = 'warn'
            group by table_name, check_name
            order by table_name, check_name
            """,
            [first, last],
        ).fetchall()


def latest_load_date(connection: Connection[Any]) -> date | None:
    """The load_date that was checked last; None if none ever was."""
    row = connection.execute("select load_date from ops.data_quality_results order by id desc limit 1").fetchone()
    return row[0] if row else None
