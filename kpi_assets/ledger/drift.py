"""Fields of events that no header names, ops.drift: what growing and replays found in the rows that they published.

Not here: finding them in the rows of a build (warehouse/drift.py), and which of them are incidents
(monitoring/drift.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from kpi_assets.model.names import Relation
from kpi_assets.model.records import Drifted

MOST = 200  # fields and types of a table and load_date that are recorded; a producer could invent a name for each event


def record(
    connection: Connection[Any], relation: Relation, load_date: date, found: Sequence[Drifted], *, base: int
) -> None:
    """Record the fields of a batch in the transaction that publishes it; `base` is the build of the first batch.

    They are added to those of the batches before it. A load_date that is built as a whole has a base of its own.
    """
    for each in found:
        connection.execute(
            """
            insert into ops.drift (
                asset, load_date, base_build_id, field, json_type, events, first_seen, last_seen, sample
            )
            select %(asset)s, %(load_date)s, %(base)s, %(field)s, %(json_type)s, %(events)s, %(first_seen)s,
                %(last_seen)s, %(sample)s
            where exists (
                select 1 from ops.drift
                where (asset, load_date, base_build_id, field, json_type)
                    = (%(asset)s, %(load_date)s, %(base)s, %(field)s, %(json_type)s)
            )
            or %(most)s > (
                select count(*) from ops.drift
                where (asset, load_date, base_build_id) = (%(asset)s, %(load_date)s, %(base)s)
            )
            on conflict (asset, load_date, base_build_id, field, json_type) do update set
                events = drift.events + excluded.events,
                first_seen = least(drift.first_seen, excluded.first_seen),
                last_seen = greatest(drift.last_seen, excluded.last_seen)
            """,
            {"asset": str(relation), "load_date": load_date, "base": base, "most": MOST, **vars(each)},
        )


@dataclass(frozen=True)
class Field:
    """A field of the latest load_dates of a table, with all types of its values."""

    asset: str
    field: str
    types: list[str]
    first: date
    load_date: date


def latest(connection: Connection[Any], relations: Sequence[Relation], load_dates: int) -> list[Field]:
    """Return the fields in the latest load_dates of each table, those in most events first."""
    with connection.cursor(row_factory=class_row(Field)) as cursor:
        return cursor.execute(
            """
            select
                d.asset, d.field, array_agg(distinct d.json_type) as types,
                min(d.load_date) as first, max(d.load_date) as load_date
            from ops.drift as d
            where d.asset = any(%(assets)s)
            and exists (
                select 1 from ops.batches as b
                where (b.asset, b.load_date, b.base_build_id) = (d.asset, d.load_date, d.base_build_id)
                and b.superseded_at is null
            )
            and d.load_date > %(load_dates)s::integer * -1 + (
                select max(p.load_date) from ops.published as p where p.asset = d.asset
            )
            group by d.asset, d.field
            order by d.asset, sum(d.events) desc, d.field
            """,
            {"assets": [str(relation) for relation in relations], "load_dates": load_dates},
        ).fetchall()
