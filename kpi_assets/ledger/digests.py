"""Digests in ops.alerts: one closed row of the kind `digest` a day, which the outbox delivers as it does alerts.

Not here: what a digest says (read/digest.py), and its delivery (deliveries.py).
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import locks

_THERE = """
select exists (
    select 1 from ops.alerts
    where pipeline_name = %s and kind = 'digest' and (opened_at at time zone 'UTC')::date = %s
)
"""


def is_recorded(connection: Connection[Any], pipeline: str, day: date) -> bool:
    """Whether the digest of a day, in UTC, was recorded."""
    [(found,)] = connection.execute(_THERE, [pipeline, day]).fetchall()
    return bool(found)


def record(connection: Connection[Any], pipeline: str, day: date, texts: Sequence[str]) -> bool:
    """Record the digest of today, `day`: its title and its lines. Returns False if another process did it before."""
    with connection.transaction():
        locks.await_turn(connection, "digest")  # no key would notice two rows that are closed
        if is_recorded(connection, pipeline, day):
            return False
        connection.execute(
            "insert into ops.alerts (pipeline_name, kind, details, closed_at) "
            "values (%s, 'digest', %s::text[], clock_timestamp())",
            [pipeline, list(texts)],
        )
    return True
