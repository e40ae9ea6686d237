"""The ops schema itself: numbered, forward-only migrations from sql/ops, applied once each, under a lock."""

import re
from pathlib import Path
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.settings import default_sql_dir

_LOCK = 0x4F5053  # "OPS"


def migrations() -> list[tuple[int, Path]]:
    """Each migration's number and file, in the order in which they are applied."""
    files = sorted((default_sql_dir() / "ops").glob("*.sql"))
    return [(int(re.match(r"\d+", path.name)[0]), path) for path in files]  # type: ignore[index]


def version(connection: Connection[Any]) -> int:
    """The number of the last migration that was applied; 0 for a database without any."""
    if connection.execute("select to_regclass('ops.migrations')").fetchone() == (None,):
        return 0
    row = connection.execute("select coalesce(max(version), 0) from ops.migrations").fetchone()
    return int(row[0]) if row else 0


def migrate(connection: Connection[Any]) -> list[int]:
    """Apply what is missing; returns the numbers applied. Each migration is one transaction.

    Raises UserError when the database is ahead of this code.
    """
    known = migrations()
    applied = []
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(
            "create table if not exists ops.migrations (version integer primary key, name text not null, "
            "applied_at timestamp with time zone not null default clock_timestamp())"
        )
        current = version(connection)
        if current > known[-1][0]:
            raise UserError(
                f"The ops schema of {connection.info.dbname} is at version {current}, ahead of this kpi_assets "
                f"({known[-1][0]}): install the newer kpi_assets that made it."
            )
        for number, path in known:
            if number > current:
                connection.execute(path.read_text().replace("%", "%%").encode())
                connection.execute("insert into ops.migrations (version, name) values (%s, %s)", [number, path.name])
                applied.append(number)
    return applied
