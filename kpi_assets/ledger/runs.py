"""The run log, ops.pipeline_runs: a row for each build of a table, and one for each run as a whole.

A row is opened before the work and closed after it. While its status is running, the session that opened it holds a
lock of the row's id. A running row whose lock nobody holds belongs to a process that died, and any session may close
it. Closing a row as held or failed opens its incident (incidents.py) in the same transaction.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from psycopg import Connection

from kpi_assets.ledger import incidents, locks
from kpi_assets.model.excerpt import RECORD, cut, sql_cut
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline_config import Layer

Status = Literal["running", "success", "held", "failed", "missing"]

_LAYER_COLUMN: dict[Layer, str] = {
    "raw": "rows_loaded_raw",
    "staging": "rows_loaded_staging",
    "marts": "rows_loaded_marts",
}


@dataclass
class Counts:
    """The rows that a build read from an object, loaded into its layer, and put into the quarantine.

    `erased` are those that it left out because they are about erased persons; None if nobody was erased.
    """

    extracted: int | None = None
    loaded: int | None = None
    quarantined: int | None = None
    erased: int | None = None


def open_row(connection: Connection[Any], *, run_id: str, pipeline: str, job: str, load_date: date | None) -> int:
    """Insert a running row and take its lock for this session; returns its id."""
    row = connection.execute("select nextval(pg_get_serial_sequence('ops.pipeline_runs', 'id'))").fetchone()
    assert row is not None
    row_id = int(row[0])
    locks.try_lock(connection, _lock(row_id))
    connection.execute(
        "insert into ops.pipeline_runs (id, run_id, pipeline_name, job, load_date) "
        "overriding system value values (%s, %s, %s, %s, %s)",
        [row_id, run_id, pipeline, job, load_date],
    )
    return row_id


def close_build(
    connection: Connection[Any],
    row_id: int,
    status: Status,
    *,
    layer: Layer,
    counts: Counts,
    error: str | None = None,
    candidate: str | None = None,
) -> bool:
    """Close a build's row; False if it is closed already, and then it stays as it is."""
    with connection.transaction():
        closed = connection.execute(
            f"update ops.pipeline_runs set status = %s, rows_extracted = %s, {_LAYER_COLUMN[layer]} = %s, "  # noqa: S608
            "rows_quarantined = %s, rows_erased = %s, error_message = %s, candidate = %s, "
            "execution_seconds = extract(epoch from clock_timestamp() - started_at), ended_at = clock_timestamp() "
            "where id = %s and status = 'running'",
            [
                status,
                counts.extracted,
                counts.loaded,
                counts.quarantined,
                counts.erased,
                error and cut(error, RECORD),
                candidate,
                row_id,
            ],
        ).rowcount
        if closed and status != "success":
            incidents.report_row(connection, row_id)
    locks.unlock(connection, _lock(row_id))
    return closed == 1


def close_run(
    connection: Connection[Any], row_id: int, run_id: str, error: str | None = None, *, latest_only: bool = False
) -> Status:
    """Close a run's row with the sums of its builds; returns its status.

    It is the worst status of its builds: failed (also where an `error` is given), held, missing, success. With
    `latest_only` that of the latest build of each table, since the run has built each of them many times.
    """
    with connection.transaction():
        row = connection.execute(
            f"""
            with every as (
                select *, not %(latest_only)s or id = max(id) over (partition by job, load_date) as counts
                from ops.pipeline_runs
                where run_id = %(run_id)s and id <> %(id)s
            ), builds as (
                select
                    bool_or(counts and status in ('failed', 'running')) as failed,
                    bool_or(counts and status = 'held') as held,
                    bool_or(counts and status = 'missing') as missing,
                    sum(rows_extracted) as rows_extracted,
                    sum(rows_loaded_raw) as rows_loaded_raw,
                    sum(rows_loaded_staging) as rows_loaded_staging,
                    sum(rows_loaded_marts) as rows_loaded_marts,
                    sum(rows_quarantined) as rows_quarantined,
                    sum(rows_erased) as rows_erased,
                    string_agg(job || ': ' || error_message, '; ' order by id) filter (where counts) as errors
                from every
            )
            update ops.pipeline_runs as r
            set
                status = case
                    when b.failed or %(error)s::text is not null then 'failed'
                    when b.held then 'held'
                    when b.missing then 'missing'
                    else 'success'
                end,
                rows_extracted = b.rows_extracted,
                rows_loaded_raw = b.rows_loaded_raw,
                rows_loaded_staging = b.rows_loaded_staging,
                rows_loaded_marts = b.rows_loaded_marts,
                rows_quarantined = b.rows_quarantined,
                rows_erased = b.rows_erased,
                error_message = {sql_cut("coalesce(b.errors, %(error)s)", RECORD)},
                execution_seconds = extract(epoch from clock_timestamp() - r.started_at),
                ended_at = clock_timestamp()
            from builds as b
            where r.id = %(id)s
            returning r.status
            """,  # noqa: S608
            {"run_id": run_id, "id": row_id, "error": error, "latest_only": latest_only},
        ).fetchone()
        assert row is not None
        status: Status = row[0]
        if status != "success":
            incidents.report_row(connection, row_id)
    locks.unlock(connection, _lock(row_id))
    return status


def latest_status(connection: Connection[Any], relation: Relation, load_date: date) -> Status | None:
    """The status of the last finished build of a table and load_date; None if there was none."""
    row = connection.execute(
        "select status from ops.pipeline_runs where job = %s and load_date = %s and status <> 'running' "
        "order by id desc limit 1",
        [str(relation), load_date],
    ).fetchone()
    return row[0] if row else None


def close_dead_rows(connection: Connection[Any]) -> list[tuple[str, str]]:
    """Close the running rows whose process is gone as failed; returns the (run_id, job) of each."""
    with connection.transaction():
        incidents.await_turn(connection)
        rows = connection.execute(
            f"""
            update ops.pipeline_runs as r
            set
                status = 'failed',
                error_message = 'The process that ran this died before it could finish.',
                execution_seconds = extract(epoch from clock_timestamp() - r.started_at),
                ended_at = clock_timestamp()
            where r.status = 'running' and not exists (
                select 1 from ops.locks where locks.name = 'row ' || r.id and {locks.HELD}
            )
            returning r.id, r.run_id, r.job
            """  # noqa: S608
        ).fetchall()
        for row_id, _, _ in rows:
            incidents.report_row(connection, row_id)
        locks.sweep(connection)
    return [(run_id, job) for _, run_id, job in rows]


def _lock(row_id: int) -> str:
    return f"row {row_id}"
