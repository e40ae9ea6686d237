"""Late load_dates, ops.late: each is reported once for as long as it stays incomplete."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from psycopg import Connection


def report(connection: Connection[Any], late: Mapping[date, str], looked_at: tuple[date, date]) -> list[date]:
    """Remember which load_dates are late, and why; returns those that were not late before.

    What was late between the two dates of `looked_at` and is no more is forgotten.
    """
    with connection.transaction():
        connection.execute(
            "delete from ops.late where load_date between %s and %s and load_date <> all(%s)",
            [*looked_at, list(late)],
        )
        rows = connection.execute(
            "insert into ops.late (load_date, reason) select * from unnest(%s::date[], %s::text[]) "
            "on conflict do nothing returning load_date",
            [list(late), list(late.values())],
        ).fetchall()
    return sorted(load_date for (load_date,) in rows)
