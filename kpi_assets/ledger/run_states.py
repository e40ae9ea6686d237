"""The state of each table and load_date, from the run log and the publish ledger together."""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger.runs import Status

# Whether a row of the run log is of a table or an object: neither of a run as a whole, nor of decisions.
_OF_ASSET = "job like '%%.%%' and job not like 'decisions.%%'"


def by_load_date(connection: Connection[Any]) -> dict[date, dict[str, str]]:
    """The state of each table and object, for each load_date that has a build.

    The latest build decides: running, held, failed, published, or dropped where retention or a person dropped it since.
    A verified object counts as published.
    """
    rows = connection.execute(
        f"""
        select distinct on (r.load_date, r.job) r.load_date, r.job,
            case when coalesce(p.dropped_at, p.removed_at) is not null then 'dropped' else r.status end
        from ops.pipeline_runs as r
        left join lateral (
            select dropped_at, removed_at from ops.publishes where build_id = r.id order by publish_id desc limit 1
        ) as p on true
        where r.load_date is not null and {_OF_ASSET}
        order by r.load_date, r.job, r.id desc
        """  # noqa: S608
    ).fetchall()
    states: dict[date, dict[str, str]] = {}
    for load_date, job, status in rows:
        states.setdefault(load_date, {})[job] = "published" if status == "success" else status
    return states


def of_run_by_load_date(connection: Connection[Any], run_id: str) -> dict[date, dict[str, Status]]:
    """The status of the last build of each table and object in one run, by load_date."""
    rows = connection.execute(
        "select load_date, job, status from ops.pipeline_runs "  # noqa: S608
        f"where run_id = %s and load_date is not null and {_OF_ASSET} order by id",
        [run_id],
    ).fetchall()
    found: dict[date, dict[str, Status]] = {}
    for load_date, job, status in rows:
        found.setdefault(load_date, {})[job] = status
    return found


def of_run(connection: Connection[Any], run_id: str) -> dict[str, tuple[str, str | None]]:
    """The status and error of the last build of each table and object in one run."""
    rows = connection.execute(
        f"select job, status, error_message from ops.pipeline_runs where run_id = %s and {_OF_ASSET} order by id",  # noqa: S608
        [run_id],
    ).fetchall()
    return {job: (status, error) for job, status, error in rows}
