"""Decisions in the publish ledger: one publish for each state of the decisions on a table and load_date.

S3 holds the decisions; the ledger says which state of them was known when, and which one each build read. The row of
the run log that such a publish needs is inserted closed, since nothing is built.
"""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.names import Relation


def current(connection: Connection[Any], table: Relation, load_date: date) -> Publish | None:
    """The state of the decisions on a table and load_date that was recorded last; None if there never was one."""
    return publishes.current(connection, [table.decisions], load_date).get(table.decisions)


def record(
    connection: Connection[Any],
    table: Relation,
    load_date: date,
    *,
    pipeline: str,
    run_id: str,
    hash: str,  # noqa: A002  as in sources/decisions.py
    objects: int,
    size_bytes: int,
) -> Publish:
    """Record the state of the decisions on a table and load_date, and return its publish.

    Its rows are the objects. Call it while this session has the lock of these decisions.
    """
    with connection.transaction():
        row = connection.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status, execution_seconds, "
            "ended_at) values (%s, %s, %s, %s, 'success', 0, clock_timestamp()) returning id",
            [run_id, pipeline, str(table.decisions), load_date],
        ).fetchone()
        assert row is not None
        publishes.record(
            connection,
            table.decisions,
            load_date,
            build_id=row[0],
            run_id=run_id,
            manifest_hash=hash,
            code_version="",
            rows=objects,
            checksum=hash,
            size_bytes=size_bytes,
            inputs={},
            columns={},
        )
    found = current(connection, table, load_date)
    assert found is not None
    return found
