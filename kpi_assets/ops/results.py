"""Check results, ops.data_quality_results: what every gate said, about what, and when."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Json

from kpi_assets.model.results import CheckResult

Subject = Literal["object", "candidate", "published"]


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
    """Write one row a result."""
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
    """The results of the last time each table of a load_date was checked, in the order in which they were made."""
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


def latest_load_date(connection: Connection[Any]) -> date | None:
    """The load_date that was checked last; None if none ever was."""
    row = connection.execute("select load_date from ops.data_quality_results order by id desc limit 1").fetchone()
    return row[0] if row else None
