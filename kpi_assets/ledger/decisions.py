"""Decisions in the publish ledger: one publish for each state of the decisions on a table and load_date.

S3 holds the decisions; the ledger says which state of them was known when, and which one each build read. The row of
the run log that such a publish needs is inserted closed, since nothing is built.
"""

from collections.abc import Callable
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


def forget(
    connection: Connection[Any], table: Relation, load_date: date, mask: Callable[[str], str], erasure: int
) -> None:
    """Replace the hash of each recorded state of the decisions by its HMAC, which `mask` computes; safe to repeat.

    The decisions were written again without erased persons, and the hash would confirm who guesses what they said.
    """
    with connection.transaction():
        states = connection.execute(
            "select publish_id, manifest_hash from ops.publishes "
            "where asset = %s and load_date = %s and erasure is null",
            [str(table.decisions), load_date],
        ).fetchall()
        for publish_id, hash_ in states:
            masked = mask(hash_)[:16]
            connection.execute(
                "update ops.publishes set manifest_hash = %s, checksum = %s, erasure = %s where publish_id = %s",
                [masked, masked, erasure, publish_id],
            )
