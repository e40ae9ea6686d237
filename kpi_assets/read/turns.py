"""The publishes of load_dates that grow: the last one, and those at which it said something else than before.

A KPI that comes from streams is published with every tick, tens of thousands of times a day. So its publishes are not
read one by one: the ledger says of each whether it did more than add events.

Belongs here: which publishes are read. Not here: why they differ (restated.py).
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.read.asked import Asked

Pair = tuple[int, int]  # the publish_ids before and after

# The index is asked for the next load_date, and the last publish of each: the others are not read.
_ENDS = """
with recursive next_days as (
    select w.asset, (
        select min(p.load_date) from ops.publishes as p where p.asset = w.asset and p.load_date >= %(first)s
    ) as load_date
    from unnest(%(assets)s::text[]) as w (asset)
    union all
    select d.asset, (
        select min(p.load_date) from ops.publishes as p where p.asset = d.asset and p.load_date > d.load_date
    )
    from next_days as d
    where d.load_date < %(last)s
),
days as (
    select asset, load_date from next_days where load_date <= %(last)s
    union
    select w.asset, o.load_date
    from unnest(%(assets)s::text[]) as w (asset) cross join unnest(%(others)s::date[]) as o (load_date)
)
select d.asset, d.load_date, l.publish_id
from days as d
cross join lateral (
    select p.publish_id from ops.publishes as p
    where p.asset = d.asset and p.load_date = d.load_date and p.published_at <= %(at)s::timestamptz
    order by p.publish_id desc
    limit 1
) as l
"""
_PAIRS = """
select a.asset, a.load_date, b.publish_id, a.publish_id
from ops.publishes as a
cross join lateral (
    select p.publish_id from ops.publishes as p
    where p.asset = a.asset and p.load_date = a.load_date and p.publish_id < a.publish_id
    order by p.publish_id desc
    limit 1
) as b
where
    a.asset = any(%(assets)s) and (a.load_date between %(first)s and %(last)s or a.load_date = any(%(others)s))
    and a.cause is not null and a.published_at <= %(at)s::timestamptz
order by a.publish_id
"""


def growing_names(asked: Asked) -> list[str]:
    """Return the KPIs that come from streams, whose load_dates grow."""
    return [str(table.relation) for table in asked.tables if asked.pipeline.streams_of(table)]


class Turns(NamedTuple):
    """The last publish of a load_date, and the neighbors among its publishes at which it turned, the oldest first."""

    last: int
    pairs: Sequence[Pair]


def read_turns(
    connection: Connection[Any], asked: Asked, first: date, others: Iterable[date]
) -> dict[tuple[str, date], Turns]:
    """Return the publishes of growing KPIs: of the load_dates asked for from `first` on, and of some others."""
    names = growing_names(asked)
    if not names:
        return {}
    asked_for = {"assets": names, "first": first, "last": asked.last, "others": list(others), "at": asked.at}
    pairs: dict[tuple[str, date], list[Pair]] = {}
    for asset, load_date, before, after in connection.execute(_PAIRS, asked_for).fetchall():
        pairs.setdefault((asset, load_date), []).append((before, after))
    ends = connection.execute(_ENDS, asked_for).fetchall()
    return {(asset, load_date): Turns(last, pairs.get((asset, load_date), ())) for asset, load_date, last in ends}
