"""Places: which snapshots of the lake the ledger names, and what each is to it.

A snapshot, a branch or a tag of a table on the lake that this module does not return belongs to nobody: what sweeps the
lake asks here first. Not here: recording a place (publishes.py, holds.py), and the lake itself (lake/).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from psycopg import Connection

from kpi_assets.ledger import locks
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import Relation

# current: readers see it. past: readers saw it until another publish took its place. gone: retention dropped it, or its
# table or load_date was removed. held: the candidate of the latest build of its load_date, which a gate held.
State = Literal["current", "past", "gone", "held"]


@dataclass(frozen=True)
class NamedPlace:
    """A snapshot that the ledger names; the build that wrote it has the branch and the tag of its number."""

    relation: Relation
    load_date: date
    build_id: int
    publish_id: int | None  # None for a held build
    snapshot: Snapshot
    rows: int
    state: State


_NAMED = """
select
    p.asset, p.load_date, p.build_id, p.publish_id, p.place, p.rows,
    case
        when p.superseded_at is null then 'current'
        when coalesce(p.dropped_at, p.removed_at) is not null then 'gone'
        else 'past'
    end as state
from ops.publishes as p
where p.place is not null and {publishes}
union all
select r.job, r.load_date, r.id, null, h.place, h.rows, 'held'
from ops.holds as h
inner join ops.pipeline_runs as r on r.id = h.build_id
where
    h.place is not null and r.status = 'held' and {holds} and not exists (
        select 1 from ops.pipeline_runs as n
        where n.job = r.job and n.load_date = r.load_date and n.id > r.id
    )
order by 1, 2, 3
"""


def named(
    connection: Connection[Any], relations: Iterable[Relation] | None = None, load_date: date | None = None
) -> list[NamedPlace]:
    """Return every snapshot that the ledger names, of all tables or the given ones, by table, load_date and build."""
    publishes, holds = "true", "true"
    parameters = {"assets": None if relations is None else [*map(str, relations)], "load_date": load_date}
    if relations is not None:
        publishes, holds = "p.asset = any(%(assets)s)", "r.job = any(%(assets)s)"
    if load_date is not None:
        publishes, holds = f"{publishes} and p.load_date = %(load_date)s", f"{holds} and r.load_date = %(load_date)s"
    rows = connection.execute(_NAMED.format(publishes=publishes, holds=holds), parameters).fetchall()
    return [
        NamedPlace(Relation.parse(asset), day, build_id, publish_id, Snapshot.parse(place), rows, state)
        for asset, day, build_id, publish_id, place, rows, state in rows
    ]


def unfinished(connection: Connection[Any], relation: Relation) -> list[int]:
    """Return the builds of a table that are being made, whose branches belong to them."""
    rows = connection.execute(
        "select r.id from ops.pipeline_runs as r where r.job = %s and r.status = 'running' and exists ("  # noqa: S608
        f"select 1 from ops.locks where locks.name = 'row ' || r.id and {locks.HELD}) order by r.id",
        [str(relation)],
    ).fetchall()
    return [build_id for (build_id,) in rows]
