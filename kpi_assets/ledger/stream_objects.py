"""The objects of streams that raw tables were made from, ops.stream_objects: the links of each partition's chain.

Belongs here: statements on ops.stream_objects. Not here: finding objects (sources/formats/stream/), and what was made
of them (batches.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import Connection

from kpi_assets.model.names import Relation


@dataclass(frozen=True)
class StreamObject:
    """One object: the link of a partition that begins at `first` and ends before `next`."""

    partition: int
    first: int
    next: int
    records: int
    newest_at: datetime | None
    key: str
    size_bytes: int
    etag: str


# One look into the index for each partition, however many objects it has.
_ENDS = """
with recursive partitions (partition) as (
    (
        select partition from ops.stream_objects
        where asset = %(asset)s and load_date = %(load_date)s and base_build_id = %(base)s order by partition limit 1
    )
    union all
    select (
        select o.partition from ops.stream_objects as o
        where o.asset = %(asset)s and o.load_date = %(load_date)s and o.base_build_id = %(base)s
        and o.partition > p.partition
        order by o.partition limit 1
    )
    from partitions as p where p.partition is not null
)
select e.partition, e.first_position, e.next_position, e.records, e.newest_at, e.key, e.size_bytes, e.etag
from partitions as p
cross join lateral (
    select o.* from ops.stream_objects as o
    where o.asset = %(asset)s and o.load_date = %(load_date)s and o.base_build_id = %(base)s
    and o.partition = p.partition
    order by o.first_position {order} limit 1
) as e
"""


def ends(connection: Connection[Any], relation: Relation, load_date: date, base: int) -> dict[int, StreamObject]:
    """Return the last object of each partition; `base` is the build of the first of the batches."""
    return _of_partitions(connection, relation, load_date, base, "desc")


def starts(connection: Connection[Any], relation: Relation, load_date: date, base: int) -> dict[int, StreamObject]:
    """Return the first object of each partition."""
    return _of_partitions(connection, relation, load_date, base, "asc")


def _of_partitions(
    connection: Connection[Any], relation: Relation, load_date: date, base: int, order: str
) -> dict[int, StreamObject]:
    rows = connection.execute(
        _ENDS.format(order=order), {"asset": str(relation), "load_date": load_date, "base": base}
    ).fetchall()
    return {row[0]: _object(row) for row in rows}


def of_load_date(connection: Connection[Any], relation: Relation, load_date: date, base: int) -> list[StreamObject]:
    """Return all objects of a load_date, by partition, each after the one that it continues."""
    rows = connection.execute(
        "select partition, first_position, next_position, records, newest_at, key, size_bytes, etag "
        "from ops.stream_objects where asset = %s and load_date = %s and base_build_id = %s "
        "order by partition, first_position",
        [str(relation), load_date, base],
    ).fetchall()
    return [_object(row) for row in rows]


def _object(row: tuple[Any, ...]) -> StreamObject:
    partition, first, following, *rest = row
    return StreamObject(partition, int(first), int(following), *rest)


def record(
    connection: Connection[Any],
    relation: Relation,
    load_date: date,
    objects: Iterable[StreamObject],
    *,
    batch: int,
    base: int,
) -> None:
    """Record the objects of a batch in the transaction that publishes it."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy ops.stream_objects (asset, load_date, base_build_id, partition, first_position, next_position, "
            "records, newest_at, batch, key, size_bytes, etag) from stdin"
        ) as copy,
    ):
        for each in objects:
            copy.write_row(
                (
                    str(relation),
                    load_date,
                    base,
                    each.partition,
                    Decimal(each.first),
                    Decimal(each.next),
                    each.records,
                    each.newest_at,
                    batch,
                    each.key,
                    each.size_bytes,
                    each.etag,
                )
            )
