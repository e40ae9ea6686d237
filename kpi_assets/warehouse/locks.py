"""The advisory locks of builds: each dies with the session that holds it, so a killed process leaves none behind."""

import hashlib
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.model.names import Relation


def build_key(relation: Relation, load_date: date) -> int:
    """The lock of one (table, load_date), as a signed 64-bit number."""
    return _key(f"{relation} {load_date.isoformat()}")


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def lock_publish(connection: Connection[Any], relation: Relation) -> None:
    """Wait for this transaction's turn to publish into a table: two first load_dates would both create it."""
    connection.execute("select pg_advisory_xact_lock(%s)", [_key(f"publish {relation}")])


def lock_against_publishes(connection: Connection[Any], relation: Relation) -> None:
    """For the rest of this session nothing is published into a table; waits for what is being published just now."""
    connection.execute("select pg_advisory_lock_shared(%s)", [_key(f"publish {relation}")])


def try_lock_run(connection: Connection[Any], load_date: date) -> bool:
    """Take the lock of all builds of one load_date for this session; False while another run has it."""
    row = connection.execute("select pg_try_advisory_lock(%s)", [_key(f"run {load_date.isoformat()}")]).fetchone()
    assert row is not None
    return bool(row[0])


def unlock_run(connection: Connection[Any], load_date: date) -> None:
    """Give it back before the session ends."""
    connection.execute("select pg_advisory_unlock(%s)", [_key(f"run {load_date.isoformat()}")])


def try_lock_build(connection: Connection[Any], relation: Relation, load_date: date) -> bool:
    """Take the lock of one (table, load_date) for this session; False while another session builds it."""
    row = connection.execute("select pg_try_advisory_lock(%s)", [build_key(relation, load_date)]).fetchone()
    assert row is not None
    return bool(row[0])
