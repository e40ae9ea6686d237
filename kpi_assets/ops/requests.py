"""Requests, ops.requests: for which load_dates a run was asked, so that one need is not answered by two runs.

Whoever wants to start a run claims its load_date here first. One of several who look at once gets it; who asks again
for the same objects, SQL and checks must wait, longer each time, and in the end is refused.
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from psycopg import Connection

ATTEMPTS = 4
PAUSE = 60  # seconds after the first attempt; four times as many after each further one


def claim(connection: Connection[Any], wanted: Mapping[date, str]) -> dict[date, int]:
    """The load_dates for which a run may be asked now, of those in `wanted`, each with a number never given before.

    `wanted` is load_date -> the basis of the run: what its outcome depends on.
    """
    rows = connection.execute(
        """
        insert into ops.requests as r (load_date, basis)
        select w.load_date, w.basis from unnest(%(days)s::date[], %(bases)s::text[]) as w (load_date, basis)
        order by w.load_date
        on conflict (load_date) do update set
            request_id = default,
            attempts = case when r.basis = excluded.basis then r.attempts + 1 else 1 end,
            basis = excluded.basis,
            requested_at = clock_timestamp()
        where r.basis <> excluded.basis or (
            r.attempts < %(most)s
            and r.requested_at < clock_timestamp() - make_interval(secs => %(pause)s * 4 ^ (r.attempts - 1))
        )
        returning r.load_date, r.request_id
        """,
        {"days": list(wanted), "bases": list(wanted.values()), "most": ATTEMPTS, "pause": PAUSE},
    ).fetchall()
    return {load_date: int(number) for load_date, number in rows}


def settle(connection: Connection[Any], load_dates: Collection[date]) -> None:
    """Forget the requests of load_dates that came to an end: they are published, or held."""
    connection.execute("delete from ops.requests where load_date = any(%s)", [list(load_dates)])


def open_requests(connection: Connection[Any]) -> set[date]:
    """The load_dates with a request that has not come to an end."""
    return {load_date for (load_date,) in connection.execute("select load_date from ops.requests").fetchall()}
