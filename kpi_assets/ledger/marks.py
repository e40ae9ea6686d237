"""Marks: up to which publish of a history a build read it, and whether the build would read other rows of it now.

A build reads the rows of all load_dates of a history up to its own. Among its inputs is one name for them, such as
`warehouse.dim_customers@..2025-03-01`, with the *mark*: the last publish of one of these load_dates, 0 if there was
none. It is compared with what each of them holds now:

- A load_date that was published before the mark has other rows if the checksum of its latest publish is another one
  than that of its latest publish up to the mark. So rows that were replaced and put back count as the same.
- A load_date that was published after the mark for the first time has other rows.
- One that was taken out has none, from then on. That is no publish, so its time is compared with that of the build:
  nobody can take a load_date out while a build reads it.

Belongs here: the queries for the mark and for this comparison. Not here: the other inputs (recorded.py), and which
versions a SELECT reads (model/history.py).
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.model.names import Relation
from kpi_assets.model.query import digest


class Reader(NamedTuple):
    """A table that reads a history."""

    table: str
    history: str


class Known(NamedTuple):
    """What a build reads of a history: the mark, and of the published load_dates up to its own those that have rows.

    `manifest_hash` is the hash of what each of these load_dates was made from.
    """

    mark: int
    manifest_hash: str
    stored: tuple[date, ...] = ()


class Build(NamedTuple):
    """The latest publish of a table and load_date, or its latest hold."""

    load_date: date
    table: str
    is_held: bool


# `past` has every publish of a history, with the next one of its load_date, and the checksum that this one has now.
# `unlike` has the states in which the rows of a load_date were other ones than now: from one publish up to the next,
# and from one time up to another. The state before the first publish begins with 0.
# `marks` has what builds read. `bounded` adds, over all states of the load_dates up to each, where they begin and end.
# That alone decides whether a load_date is new. Whether one was replaced, it decides for nearly all builds; the states
# must be searched for few, such as those of a history of which load_dates were replaced and put back.
_UNLIKE = """
with wanted as (
    select * from unnest(%(tables)s::text[], %(histories)s::text[]) as w (reader, history)
), built as (
    (
        select distinct on (p.asset, p.load_date)
            p.load_date, p.asset as reader, false as is_held, p.inputs, p.published_at as built_at, p.dropped_at
        from ops.publishes as p
        where p.asset = any(%(tables)s) and p.load_date between %(first)s and %(last)s and p.removed_at is null
        order by p.asset, p.load_date, p.publish_id desc
    )
    union all
    (
        select distinct on (r.job, r.load_date)
            r.load_date, r.job as reader, true as is_held, h.inputs, r.ended_at as built_at, null as dropped_at
        from ops.pipeline_runs as r
        inner join ops.holds as h on h.build_id = r.id
        where r.job = any(%(tables)s) and r.load_date between %(first)s and %(last)s and r.status = 'held'
        order by r.job, r.load_date, r.id desc
    )
), marks as (
    select b.load_date, b.reader, b.is_held, b.built_at, w.history,
        (b.inputs ->> (w.history || '@..' || b.load_date))::bigint as mark
    from built as b
    inner join wanted as w using (reader)
    where b.dropped_at is null
), past as (
    select p.asset, p.load_date, p.publish_id, p.checksum || p.rulings::text || p.lacks::text as checksum,
        least(p.removed_at, p.dropped_at) as gone_at,
        lag(p.publish_id) over of_load_date is null as is_first,
        lead(p.publish_id) over of_load_date as next_id,
        last_value(
            case
                when coalesce(p.removed_at, p.dropped_at) is null then p.checksum || p.rulings::text || p.lacks::text
            end
        ) over of_load_date as now
    from ops.publishes as p
    where p.asset = any(%(histories)s) and p.load_date <= %(last)s
    window of_load_date as (
        partition by p.asset, p.load_date order by p.publish_id
        rows between unbounded preceding and unbounded following
    )
), unlike as materialized (
    select p.asset, p.load_date, s.first_id, s.next_id, s.since, s.until
    from past as p
    cross join lateral (
        values
        (case when p.is_first then 0 end, p.publish_id, '-infinity', 'infinity', null),
        (p.publish_id, coalesce(p.next_id, %(endless)s), '-infinity', coalesce(p.gone_at, 'infinity'), p.checksum),
        (p.publish_id, coalesce(p.next_id, %(endless)s), p.gone_at, 'infinity', null)
    ) as s (first_id, next_id, since, until, checksum)
    where s.first_id is not null and s.since is not null and s.checksum is distinct from p.now
), bounded as (
    select m.*,
        max(m.next_id) filter (where m.first_id = 0) over up_to as seen_all,
        min(m.first_id) filter (where m.first_id > 0) over up_to as first_id_of_all,
        max(m.next_id) filter (where m.first_id > 0) over up_to as next_id_of_all,
        min(m.since) filter (where m.first_id > 0) over up_to as since_of_all,
        max(m.until) filter (where m.first_id > 0) over up_to as until_of_all
    from (
        select m.*, null::bigint as first_id, null::bigint as next_id, null::timestamptz as since,
            null::timestamptz as until
        from marks as m
        union all
        select u.load_date, null, null, null, u.asset, null, u.first_id, u.next_id, u.since, u.until from unlike as u
    ) as m
    window up_to as (partition by m.history order by m.load_date)
)
select distinct b.load_date, b.reader, b.is_held
from bounded as b
where b.mark < b.seen_all or case
    when b.mark >= b.first_id_of_all and b.mark < b.next_id_of_all
        and b.built_at >= b.since_of_all and b.built_at < b.until_of_all
        then exists (
            select 1
            from unlike as u
            where u.asset = b.history and u.load_date <= b.load_date and u.first_id > 0
            and b.mark >= u.first_id and b.mark < u.next_id and b.built_at >= u.since and b.built_at < u.until
        )
end
"""
_KNOWN = """
select
    coalesce(max(publish_id), 0),
    coalesce(
        string_agg(load_date || ' ' || manifest_hash, ', ' order by load_date) filter (where superseded_at is null), ''
    ),
    coalesce(array_agg(load_date order by load_date) filter (where superseded_at is null and rows > 0), '{}')
from ops.publishes
where asset = %s and load_date <= %s
"""
_ENDLESS = 2**63 - 1


def read_otherwise(connection: Connection[Any], readers: Sequence[Reader], first: date, last: date) -> set[Build]:
    """Return the builds of a range of load_dates that read other rows of a history than a build would now.

    Of a table whose rows retention dropped none is returned: a corrected load_date must not bring them all back.
    """
    if not readers:
        return set()
    parameters = {
        "tables": [reader.table for reader in readers],
        "histories": [reader.history for reader in readers],
        "first": first,
        "last": last,
        "endless": _ENDLESS,
    }
    return {Build(*row) for row in connection.execute(_UNLIKE, parameters)}


def known(connection: Connection[Any], history: Relation, load_date: date) -> Known:
    """Return what is known of a history up to a load_date."""
    row = connection.execute(_KNOWN, [str(history), load_date]).fetchone()
    assert row is not None
    mark, manifests, stored = row
    return Known(mark, digest(manifests), tuple(stored))
