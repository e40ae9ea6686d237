"""Run claims, ops.requests: the load_dates for which a run was requested, so that no two runs do the same work.

A sensor or schedule claims a load_date here before it requests a run. When several ask at once, one gets the claim. A
further claim with the same objects, SQL and checks must wait, each time longer.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from psycopg import Connection

PAUSE = 60  # seconds after the first attempt; four times as many after each further one
LONGEST_PAUSE = 86_400


def claim(connection: Connection[Any], wanted: Mapping[date, str]) -> dict[date, datetime]:
    """Claim load_dates; returns those of `wanted` for which a run may be requested now, with the time of the claim.

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
    """Reset the claims between the two dates of `looked_at` whose runs have ended: all that are not `waiting`."""
    connection.execute(
        "update ops.requests set basis = '', attempts = 0 "
        "where load_date between %s and %s and load_date <> all(%s) and attempts > 0",
        [*looked_at, list(waiting)],
    )
