"""Reads the rulings by which load_dates were published although checks failed, with what these checks found.

Not here: the rulings as people handle them (ledger/rulings.py), and how it is said (said.py).
"""

from collections.abc import Collection
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg import Connection

from kpi_assets.read.asked import Asked
from kpi_assets.read.kpi_state import FailedCheck, Waived

# What a check measured is in the ruling, too, as the person saw it, in case its result is not kept.
_WAIVED = """
select
    r.ruling_id, r.asset, r.load_date, r.ruled_by, r.reason, r.expires_at,
    r.revoked_at is not null and r.revoked_at <= %(at)s::timestamptz as is_revoked, r.revoked_by, r.revoke_reason,
    c.key, coalesce(d.metric_value, c.value::numeric), d.threshold, d.rows_bad
from ops.rulings as r
cross join lateral jsonb_each_text(r.checks) as c
left join lateral (
    select q.metric_value, q.threshold, q.rows_bad
    from ops.data_quality_results as q
    where q.ruling_id = r.ruling_id and q.check_name = c.key and q.checked_at <= %(at)s::timestamptz
    order by q.id desc
    limit 1
) as d on true
where r.ruling_id = any(%(ids)s) and r.kind = 'waive'
order by r.load_date, r.asset, r.object_key, c.key
"""


def read_waivers(connection: Connection[Any], asked: Asked, ids: Collection[int]) -> dict[int, Waived]:
    """Return the rulings with these numbers, as they were at the instant that was asked for."""
    if not ids:
        return {}
    rows = connection.execute(_WAIVED, {"ids": [*ids], "at": asked.at}).fetchall()
    found = {}
    for ruling_id, of_ruling in groupby(rows, key=itemgetter(0)):
        all_of = list(of_ruling)
        _, asset, load_date, by, reason, until, is_revoked, revoked_by, revoke_reason, *_ = all_of[0]
        checks = [FailedCheck(asset, *each[-4:]) for each in all_of]
        revoked = (revoked_by or "somebody", revoke_reason) if is_revoked else (None, None)
        found[ruling_id] = Waived(ruling_id, asset, load_date, checks, by, reason, until, *revoked)
    return found
