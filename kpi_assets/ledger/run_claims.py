"""Requests, ops.requests: for which load_dates a run was asked, so that one need is not answered by two runs.

Whoever wants to start a run claims its load_date here first. One of several who look at once gets it; who asks again
for the same objects, SQL and checks must wait, longer each time.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from psycopg import Connection

PAUSE = 60  # seconds after the first attempt; four times as many after each further one
LONGEST_PAUSE = 86_400


def claim(connection: Connection[Any], wanted: Mapping[date, str]) -> dict[date, datetime]:
    """The load_dates for which a run may be asked now, of those in `wanted`, each with the time of its claim.

    `wanted` is load_date -> the basis of the run: what its outcome depends on.
    """
    rows = connection.execute(
        """
        insert into ops.requests as r (load_date, basis)
        select w.load_date, w.basis from unnest(%(days)s::date[], %(bases)s::text[]) as w (load_date, basis)
        order by w.load_date
        on conflict (load_date) do update set
            attempts = case when r.basis = excluded.basis then r.attempts + 1 else 1 end,
            basis = excluded.basis,
            requested_at = clock_timestamp()
        where r.basis <> excluded.basis or r.requested_at < clock_timestamp()
            - make_interval(secs => least(%(pause)s * 4 ^ least(r.attempts - 1, 10), %(longest)s))
        returning r.load_date, r.requested_at
        """,
        {"days": list(wanted), "bases": list(wanted.values()), "pause": PAUSE, "longest": LONGEST_PAUSE},
    ).fetchall()
    return dict(rows)


def settle(connection: Connection[Any], looked_at: tuple[date, date], waiting: Collection[date]) -> None:
    """Forget the requests between the two dates of `looked_at` that came to an end: all that are not `waiting`."""
    connection.execute(
        "update ops.requests set basis = '', attempts = 0 "
        "where load_date between %s and %s and load_date <> all(%s) and attempts > 0",
        [*looked_at, list(waiting)],
    )
