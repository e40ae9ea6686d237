"""Whether numbers that are shown together rest on different publishes of one raw table.

While a load_date is restated, its KPIs are published one after the other, and one that is held stays as it was.

Belongs here: comparing what publishes come from. Not here: all that one publish comes from (lineage.py).
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from psycopg import Connection

# A table that was published again with the same rows counts as what it was made from last: what reads it need not be
# built again. Events that a stream has had since are no other publish of the raw table, and neither is the load_date of
# itself from which a table carries on.
_MIXED = """
with recursive made_of as (
    select publish_id from unnest(%(shown)s::bigint[]) as s (publish_id)
    union
    select n.publish_id
    from made_of as m
    inner join ops.publishes as p using (publish_id)
    cross join lateral jsonb_each_text(p.inputs) as i
    inner join ops.publishes as r on r.publish_id = i.value::bigint
    cross join lateral (
        select n.publish_id from ops.publishes as n
        where n.asset = r.asset and n.load_date = r.load_date and n.checksum = r.checksum
        and n.checksum_kind is not distinct from r.checksum_kind
        and n.published_at <= %(at)s::timestamptz
        order by n.publish_id desc
        limit 1
    ) as n
    where
        i.key not like '%%@..%%' and i.key not like 'decisions.%%' and r.asset <> p.asset
        and not exists (select 1 from ops.batches as b where b.asset = r.asset)
)
select 1
from made_of
inner join ops.publishes as p using (publish_id)
where not exists (select 1 from jsonb_object_keys(p.inputs) as i (name) where i.name not like 'decisions.%%')
group by p.asset, p.load_date
having count(distinct coalesce(p.checksum_kind || ' ', '') || p.checksum) > 1
limit 1
"""


def are_mixed(connection: Connection[Any], publish_ids: Collection[int], as_of: datetime | None = None) -> bool:
    """Return whether some publishes rest on different rows of one load_date of a raw table."""
    found = connection.execute(
        _MIXED, {"shown": sorted(publish_ids), "at": as_of.isoformat() if as_of else "infinity"}
    ).fetchone()
    return found is not None
