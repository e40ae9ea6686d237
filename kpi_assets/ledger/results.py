"""Check results, ops.data_quality_results: the outcome of every check, its subject and its time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Json

from kpi_assets.model.names import Relation
from kpi_assets.model.quality import CHECK, CheckCount, reported
from kpi_assets.model.results import CheckResult, Subject, Verdict


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
            "metric_value, threshold, samples, message, subject, dimension, rows_examined, rows_bad, ruling_id) "
            "from stdin"
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
                    result.dimension,
                    result.examined,
                    result.bad,
                    result.ruling_id,
                )
            )


def blocking_of(connection: Connection[Any], build_id: int) -> list[CheckResult]:
    """The results that held a build, in the order of the checks, without their samples."""
    rows = connection.execute(
        "select check_name, metric_value::double precision, threshold::double precision, message, status = 'error' "
        "from ops.data_quality_results where build_id = %s and subject = 'candidate' "
        "and (status = 'error' or status = 'fail' and blocking) order by id",
        [build_id],
    ).fetchall()
    return [
        CheckResult(name, passed=False, blocking=True, metric=metric, threshold=most, message=text, errored=errored)
        for name, metric, most, text, errored in rows
    ]


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
                d.subject, d.run_id, d.checked_at, d.dimension, d.rows_examined, d.rows_bad, d.ruling_id,
                r.ruled_by as waived_by, r.reason as waived_because
            from ops.data_quality_results as d
            inner join last_time as t using (table_name, run_id, subject)
            left join ops.rulings as r using (ruling_id)
            where d.load_date = %(load_date)s
            order by d.id
            """,
            {"load_date": load_date},
        ).fetchall()


# The results of the check of the score, and not those of a check of the user's own with the same name.
ScoredState = Literal["published", "rechecked", "held", "failed", "running"]
_SCORES = f"check_name = '{CHECK}' and dimension is null and rows_examined is not null"


@dataclass(frozen=True)
class Scored:
    """The last score of a table of a load_date: the result of its check `quality`, and what the other checks counted.

    `state` is what became of the rows that it is about.
    """

    table_name: str
    status: Verdict
    at_least: float | None
    rows: int
    state: ScoredState
    run_id: str
    checked_at: datetime
    counts: list[CheckCount]


def scored(connection: Connection[Any], load_date: date) -> list[Scored]:
    """The last score of each table of a load_date, by name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            f"""
            with last_time as (
                select distinct on (table_name) *
                from ops.data_quality_results
                where load_date = %(load_date)s and {_SCORES}
                order by table_name, id desc
            )
            select
                t.table_name, t.status, t.threshold::double precision as at_least, t.rows_examined as rows,
                case
                    when t.subject = 'published' then 'rechecked' when r.status = 'success' then 'published'
                    else r.status
                end as state,
                t.run_id, t.checked_at, t.samples as parts
            from last_time as t
            inner join ops.pipeline_runs as r on r.id = t.build_id
            order by t.table_name
            """,  # noqa: S608
            {"load_date": load_date},
        ).fetchall()
    return [Scored(counts=reported(row.pop("parts")), **row) for row in found]


def counts_of(connection: Connection[Any], table: str, load_date: date, build_id: int) -> list[CheckCount]:
    """What the checks of a build counted for its score, in the order of the checks."""
    with connection.cursor(row_factory=class_row(CheckCount)) as cursor:
        return cursor.execute(
            """
            select check_name as name, dimension, rows_bad as bad, rows_examined as rows
            from ops.data_quality_results
            where table_name = %s and load_date = %s and build_id = %s
            and subject = 'candidate' and dimension is not null
            order by id
            """,
            [table, load_date, build_id],
        ).fetchall()


def latest_scored(connection: Connection[Any]) -> date | None:
    """The load_date that has the last score; None if no table ever had one."""
    row = connection.execute(
        f"select load_date from ops.data_quality_results where {_SCORES} order by id desc limit 1"  # noqa: S608
    ).fetchone()
    return row[0] if row else None


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


@dataclass(frozen=True)
class Judged:
    """A result of a check of rows that readers were shown."""

    id: int
    load_date: date
    passed: bool
    message: str
    run_id: str
    checked_at: datetime


def judged(connection: Connection[Any], relation: Relation, check: str, first: date, last: date) -> Iterator[Judged]:
    """Yield the results of a check for published rows of a range of load_dates, the latest load_date and result first.

    They are read as they are asked for; call it inside a transaction. One that could not be made is left out.
    """
    with connection.cursor(f"judged {check}", row_factory=class_row(Judged)) as cursor:
        cursor.itersize = 200
        cursor.execute(
            """
            select d.id, d.load_date, d.status = 'pass' as passed, d.message, d.run_id, d.checked_at
            from ops.data_quality_results as d
            where d.table_name = %(table)s and d.check_name = %(check)s
            and d.load_date between %(first)s and %(last)s and d.status <> 'error'
            and (d.subject = 'published' or exists (
                select 1 from ops.pipeline_runs as r where r.id = d.build_id and r.status = 'success'
            ))
            order by d.load_date desc, d.id desc
            """,
            {"table": str(relation), "check": check, "first": first, "last": last},
        )
        yield from cursor


def now(connection: Connection[Any]) -> datetime:
    """The time by the clock that dates the results."""
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found
