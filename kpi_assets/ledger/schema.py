"""The ops schema itself: numbered, forward-only migrations (migrations/), each applied once, under a lock.

Not here: who may read it (warehouse/provision.py).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psycopg import Connection, errors

from kpi_assets.errors import UserError

MIGRATIONS = Path(__file__).with_name("migrations")
_JUST_MADE = (
    *(errors.UniqueViolation, errors.DuplicateSchema, errors.DuplicateTable),
    *(errors.DuplicateObject, errors.InternalError_),  # the type of the row of that table
)


def migrations() -> list[tuple[int, Path]]:
    """Return the number and file of each migration, in the order in which they are applied."""
    files = sorted(MIGRATIONS.glob("*.sql"))
    return [(int(re.match(r"\d+", path.name)[0]), path) for path in files]  # type: ignore[index]


def version(connection: Connection[Any]) -> int:
    """Return the number of the last migration that was applied, or 0 if none was."""
    if connection.execute("select to_regclass('ops.migrations')").fetchone() == (None,):
        return 0
    row = connection.execute("select coalesce(max(version), 0) from ops.migrations").fetchone()
    return int(row[0]) if row else 0


def identity(connection: Connection[Any]) -> str:
    """Return what tells this ledger from every other one: the database, and the instant at which it was first made.

    A database that is restored from a copy keeps it.
    """
    [(at,)] = connection.execute(
        "select to_char(applied_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') from ops.migrations "
        "where version = 1"
    ).fetchall()
    return f"{connection.info.dbname} of {at}"


def pending(connection: Connection[Any]) -> list[int]:
    """Return the numbers of the migrations that are still to be applied, in order.

    Raises UserError when the database is ahead of this code.
    """
    numbers, current = [number for number, _ in migrations()], version(connection)
    if current > numbers[-1]:
        raise UserError(
            f"The ops schema of {connection.info.dbname} is at version {current}, ahead of this kpi_assets "
            f"({numbers[-1]}): install the newer kpi_assets that made it."
        )
    return [number for number in numbers if number > current]


@contextmanager
def in_turn(connection: Connection[Any]) -> Iterator[None]:
    """A transaction in which no other session prepares this database. For its owner; creates ops where it is missing.

    The lock is on a table that only the owner may lock in this mode, and that no reader can block.
    """
    for statement in (
        "create schema if not exists ops",
        "create table if not exists ops.migrations (version integer primary key, name text not null, "
        "applied_at timestamp with time zone not null default clock_timestamp())",
    ):
        with suppress(*_JUST_MADE):  # by another session, in the same instant
            connection.execute(statement)
    with connection.transaction():
        connection.execute("lock table ops.migrations in share row exclusive mode")
        yield


def migrate(connection: Connection[Any]) -> list[int]:
    """Apply the pending migrations in one transaction, all or none; returns their numbers.

    Raises UserError when the database is ahead of this code.
    """
    with in_turn(connection):
        missing = pending(connection)
        for number, path in migrations():
            if number in missing:
                connection.execute(path.read_bytes())
                connection.execute("insert into ops.migrations (version, name) values (%s, %s)", [number, path.name])
    return missing
