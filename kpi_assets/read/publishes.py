"""The publishes of a load_date: when readers saw which rows of a table, and whether these rows are still there.

Views have none of their own here: they show what their table shows.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row

from kpi_assets.model.names import Relation

# `shown`: readers see these rows now, by this publish or by a later one of the same; `kept`: a rollback can show them.
Place = Literal["shown", "kept", "gone"]
# The rows of a publish are those of any other with the same checksum and columns.
_PUBLISHES = """
select
    p.asset, p.publish_id, p.published_at, least(p.superseded_at, p.removed_at, p.dropped_at) as until,
    p.run_id, p.rows, p.checksum, p.cause, p.restores,
    case
        when (n.checksum_kind, n.checksum, n.columns) is not distinct from (p.checksum_kind, p.checksum, p.columns)
            then 'shown'
        when v.relation is not null then 'kept'
        else 'gone'
    end as place,
    coalesce(v.size_bytes, 0) as kept_bytes
from ops.publishes as p
left join ops.published as n on n.asset = p.asset and n.load_date = p.load_date
left join ops.versions as v
on v.asset = p.asset and v.load_date = p.load_date and v.checksum = p.checksum
and v.columns_hash = md5(p.columns::text) and v.relation is not null
where p.load_date = %s and p.asset = any(%s)
order by p.asset, p.publish_id
"""


@dataclass(frozen=True)
class PublishRow:
    """One publish, and where its rows are; readers saw them until `until`, None if they do now."""

    asset: str
    publish_id: int
    published_at: datetime
    until: datetime | None
    run_id: str
    rows: int
    checksum: str
    cause: str | None
    restores: int | None
    place: Place
    kept_bytes: int


def read_publishes(connection: Connection[Any], relations: Collection[Relation], load_date: date) -> list[PublishRow]:
    """Return the publishes of a load_date of some tables, by table, the first of each first."""
    with connection.cursor(row_factory=class_row(PublishRow)) as cursor:
        return cursor.execute(_PUBLISHES, [load_date, [*map(str, relations)]]).fetchall()
