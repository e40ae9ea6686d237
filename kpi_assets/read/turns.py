"""The publishes at which a load_date that grows said something else than before, and not only more.

A KPI that comes from streams is published with every tick, tens of thousands of times a day. So its publishes are not
read one by one: the first and the last of a load_date are compared, and only if they differ by more than events, the
publish in the middle is looked at. What was changed and changed back in between is not found.

Belongs here: which publishes are compared. Not here: the comparison (restated.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.asked import Asked
from kpi_assets.read.restated import Pair, find_grown

_MOST = 16  # pairs of one load_date that are looked into, the newest first

# The index is asked for the next load_date, and the first and the last publish of each: the others are not read.
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
select d.asset, d.load_date, f.publish_id, l.publish_id
from days as d
cross join lateral (
    select p.publish_id from ops.publishes as p
    where p.asset = d.asset and p.load_date = d.load_date and p.published_at <= %(at)s::timestamptz
    order by p.publish_id
    limit 1
) as f
cross join lateral (
    select p.publish_id from ops.publishes as p
    where p.asset = d.asset and p.load_date = d.load_date and p.published_at <= %(at)s::timestamptz
    order by p.publish_id desc
    limit 1
) as l
"""
_BETWEEN = """
select w.first, w.last, coalesce(
    (
        select max(p.publish_id) from ops.publishes as p
        where p.asset = w.asset and p.load_date = w.load_date and p.publish_id > w.first
        and p.publish_id <= (w.first + w.last) / 2
    ),
    (
        select min(p.publish_id) from ops.publishes as p
        where p.asset = w.asset and p.load_date = w.load_date and p.publish_id < w.last
        and p.publish_id > (w.first + w.last) / 2
    )
)
from unnest(%s::text[], %s::date[], %s::bigint[], %s::bigint[]) as w (asset, load_date, first, last)
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
    rows = connection.execute(
        _ENDS,
        {"assets": names, "first": first, "last": asked.last, "others": list(others), "at": asked.at},
    ).fetchall()
    turned = _turns(connection, asked.pipeline, rows)
    return {(asset, load_date): Turns(end, sorted(turned[asset, load_date])) for asset, load_date, _, end in rows}


def _turns(
    connection: Connection[Any], pipeline: Pipeline, ends: Iterable[tuple[str, date, int, int]]
) -> Mapping[tuple[str, date], list[Pair]]:
    found: dict[tuple[str, date], list[Pair]] = {}
    todo: list[tuple[str, date, int, int]] = []
    for asset, load_date, begin, end in ends:
        found[asset, load_date] = []
        if begin != end:
            todo.append((asset, load_date, begin, end))
    while todo:
        grown = find_grown(connection, pipeline, [(begin, end) for _, _, begin, end in todo])
        todo = [each for each in todo if each[2:] not in grown]
        middles: dict[Pair, int | None] = {}
        if todo:
            columns = [list(column) for column in zip(*todo, strict=True)]
            middles = {(begin, end): middle for begin, end, middle in connection.execute(_BETWEEN, columns).fetchall()}
        halves: dict[tuple[str, date], list[tuple[str, date, int, int]]] = {}
        for asset, load_date, begin, end in todo:
            middle = middles.get((begin, end))
            if middle is None:
                found[asset, load_date].append((begin, end))
            else:
                halves.setdefault((asset, load_date), []).extend(
                    [(asset, load_date, begin, middle), (asset, load_date, middle, end)]
                )
        todo = [each for of_day in halves.values() for each in of_day[-_MOST:]]
    return found
