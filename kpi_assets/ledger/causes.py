"""Why a load_date was published again with other rows: ops.publishes.cause, caused_by and differences.

It is found when the load_date is published, by comparing the publish with the one before, and all that both were made
from. Who asks later is told the same, also if what was compared is gone by then.

Belongs here: recording causes, and reading what was recorded, also of final numbers that were restated. Not here: the
comparison (ops.differences and ops.causes in migrations/), and how causes are said (monitoring/reasons.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from psycopg import Connection

# What counts most is the first. `rebuilt`: nothing that it was made from differs.
Cause = Literal["objects", "decision", "sql", "window", "inputs", "rollback", "erasure", "rebuilt"]


# What was built again because an input of it was rolled back has that cause: the object or the SQL of that input, which
# differs, is one that it had before.
_ROLLED_BACK = """
update ops.publishes as p
set cause = 'rollback', differences = (
    select jsonb_agg(s.said order by (s.said ->> 'rank')::integer, s.first)
    from (
        select
            case when b.asset is null then d.value else d.value || '{"rank": 0, "difference": "rollback"}' end as said,
            min(d.number) as first
        from jsonb_array_elements(p.differences) with ordinality as d (value, number)
        left join ops.publishes as b on b.publish_id = any(p.caused_by) and b.restores is not null
        and b.asset = d.value ->> 'asset' and b.load_date = (d.value ->> 'load_date')::date
        group by 1
    ) as s
)
where p.publish_id = any(%s) and p.cause is not null and exists (
    select 1 from ops.publishes as r
    where r.publish_id = any(p.caused_by) and r.publish_id <> p.publish_id and r.restores is not null
)
"""


# Where the object, the SQL and the decisions are those of the publish before, persons who were erased since were left
# out. What is made of such rows has the same cause.
_LEFT_OUT = """
update ops.publishes as p
set cause = 'erasure', caused_by = array[p.publish_id], differences = jsonb_build_array(
    jsonb_build_object('rank', 0, 'difference', 'erased', 'asset', p.asset, 'load_date', p.load_date)
)
where p.publish_id = any(%(publish_ids)s) and p.cause = 'rebuilt' and not exists (
    select 1 from jsonb_object_keys(p.inputs) as i (name) where not starts_with(i.name, 'decisions.')
) and exists (
    select 1 from ops.erasures as e
    where e.recorded_at <= p.published_at and e.recorded_at > (
        select max(o.published_at) from ops.publishes as o
        where o.asset = p.asset and o.load_date = p.load_date and o.publish_id < p.publish_id
    )
)
"""
_MADE_OF_LEFT_OUT = """
update ops.publishes as p
set cause = 'erasure', caused_by = f.caused_by, differences = f.differences
from (
    select
        n.publish_id,
        array_agg(distinct c.publish_id) as caused_by,
        jsonb_agg(distinct d.said) as differences
    from ops.publishes as n
    cross join lateral jsonb_each_text(n.inputs) as i (name, publish_id)
    inner join ops.publishes as r on r.publish_id = i.publish_id::bigint and r.cause = 'erasure'
    cross join lateral unnest(r.caused_by) as c (publish_id)
    cross join lateral jsonb_array_elements(r.differences) as d (said)
    where n.publish_id = any(%(publish_ids)s) and n.cause = 'rebuilt' and i.name not like '%%@..%%'
    group by n.publish_id
) as f
where p.publish_id = f.publish_id
"""


class Difference(NamedTuple):
    """What differs between two publishes, or in something that they were made from. The lowest `rank` counts most."""

    rank: int
    difference: str
    asset: str
    load_date: date


def record(connection: Connection[Any], publish_ids: Sequence[int]) -> None:
    """Record why publishes have other rows than those before them, in the transaction that shows them to readers.

    Of a table that grows, the batch must be recorded before: that there are more events is no cause.
    """
    connection.execute(
        "update ops.publishes as p set cause = c.cause, caused_by = c.caused_by, differences = c.differences "
        "from ops.causes(%s) as c where p.publish_id = c.publish_id",
        [list(publish_ids)],
    )
    connection.execute(_ROLLED_BACK, [list(publish_ids)])
    _record_erasures(connection, publish_ids)


def record_rollback(connection: Connection[Any], publish_ids: Sequence[int], roots: Sequence[int]) -> None:
    """Record that publishes show again what was shown before, because those at the root of it were rolled back."""
    connection.execute(
        "update ops.publishes as p set cause = 'rollback', caused_by = %s, differences = (select jsonb_agg("
        "jsonb_build_object('rank', 0, 'difference', 'rollback', 'asset', r.asset, 'load_date', r.load_date) "
        "order by r.asset) from ops.publishes as r where r.publish_id = any(%s)) where p.publish_id = any(%s)",
        [list(roots), list(roots), list(publish_ids)],
    )


def _record_erasures(connection: Connection[Any], publish_ids: Sequence[int]) -> None:
    """Record that rows are others because persons were erased from objects or decisions, or left out of loads.

    Call it after `record`.
    """
    connection.execute(
        "update ops.publishes as p set cause = 'erasure' where p.publish_id = any(%s) "
        "and p.cause in ('objects', 'decision') "
        "and not exists (select from ("
        "select rank, load_date, case difference when 'decision' then 'decisions.' || replace(asset, '.', '__') "
        "else asset end as asset from jsonb_to_recordset(p.differences) "
        "as d (rank integer, difference text, asset text, load_date date)) as d "
        "where d.rank = case p.cause when 'objects' then 0 else 1 end and not exists (select from ops.publishes as b "
        "where b.asset = d.asset and b.load_date = d.load_date and b.erasure is not null "
        "and b.publish_id = (select max(o.publish_id) from ops.publishes as o where o.asset = d.asset "
        "and o.load_date = d.load_date and o.publish_id <> all(p.caused_by) "
        "and o.publish_id < (select max(c) from unnest(p.caused_by) as c))))",
        [list(publish_ids)],
    )
    for statement in (_LEFT_OUT, _MADE_OF_LEFT_OUT):
        connection.execute(statement, {"publish_ids": list(publish_ids)})


@dataclass(frozen=True)
class Restated:
    """A publish that took the place of final numbers; `measures` are those that changed: (name, was, is)."""

    publish_id: int
    kpi: str
    load_date: date
    run_id: str
    differences: Sequence[Difference]
    measures: Sequence[tuple[str, Decimal | None, Decimal | None]]


# What lacked something was not final, however late it was.
_RESTATED = """
select
    n.publish_id, n.asset, n.load_date, n.run_id, n.differences, r.measures, r.was, r."is"
from unnest(%(kpis)s::text[], %(after_days)s::integer[]) as k (kpi, after_days)
inner join ops.publishes as n on n.asset = k.kpi and n.cause is not null
inner join lateral (
    select p.lacks from ops.publishes as p
    where p.asset = n.asset and p.load_date = n.load_date and p.publish_id < n.publish_id
    order by p.publish_id desc
    limit 1
) as o on o.lacks = '{}'
cross join lateral (
    select
        coalesce(array_agg(v.measure order by v.measure), '{}') as measures,
        array_agg(v.was order by v.measure) as was,
        array_agg(v."is" order by v.measure) as "is"
    from ops.restatements as v
    where v.publish_id = n.publish_id
) as r
where
    n.published_at > clock_timestamp() - %(news)s
    and n.published_at >= (n.load_date + 1 + k.after_days)::timestamp at time zone 'UTC'
    and not exists (select from ops.alerts as a where a.publish_id = n.publish_id)
order by n.publish_id
"""


def restated(connection: Connection[Any], after_days: Mapping[str, int], news: timedelta) -> list[Restated]:
    """Return the publishes, not older than `news`, that changed final numbers and that no incident tells of yet.

    `after_days` says of each KPI how many days after the end of a load_date its numbers are final.
    """
    rows = connection.execute(
        _RESTATED, {"kpis": [*after_days], "after_days": [*after_days.values()], "news": news}
    ).fetchall()
    return [
        Restated(
            *(publish_id, kpi, load_date, run_id),
            differences(found),
            [*zip(measures, was or (), now or (), strict=True)],
        )
        for publish_id, kpi, load_date, run_id, found, measures, was, now in rows
    ]


def differences(found: Iterable[Mapping[str, Any]] | None) -> list[Difference]:
    """Return ops.publishes.differences with its types; nothing differs if it is NULL."""
    return [
        Difference(each["rank"], each["difference"], each["asset"], date.fromisoformat(each["load_date"]))
        for each in found or ()
    ]
