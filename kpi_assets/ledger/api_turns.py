"""The turns of requests to APIs, ops.api_turns: all processes of a pipeline together keep to an API's rate.

A request takes the next turn and waits until it comes. The clock is that of the server, which all processes share.
Not here: the requests (sources/api/), and the waiting (materialize/fetch.py).
"""

from typing import Any

from psycopg import Connection


def take(connection: Connection[Any], api: str, interval: float) -> float:
    """Take the next turn of an API, `interval` seconds after the one before; return the seconds until it comes."""
    row = connection.execute(
        """
        insert into ops.api_turns as t (api, next_at)
        values (%(api)s, clock_timestamp() + make_interval(secs => %(interval)s))
        on conflict (api) do update
        set next_at = greatest(t.next_at, clock_timestamp()) + make_interval(secs => %(interval)s)
        returning extract(epoch from t.next_at - clock_timestamp())::float8 - %(interval)s
        """,
        {"api": api, "interval": interval},
    ).fetchone()
    return max(0.0, row[0]) if row else 0.0


def postpone(connection: Connection[Any], api: str, seconds: float) -> None:
    """Let no process take a turn of an API for some seconds, because the API has asked for that."""
    connection.execute(
        """
        insert into ops.api_turns as t (api, next_at)
        values (%(api)s, clock_timestamp() + make_interval(secs => %(seconds)s))
        on conflict (api) do update set next_at = greatest(t.next_at, excluded.next_at)
        """,
        {"api": api, "seconds": seconds},
    )
