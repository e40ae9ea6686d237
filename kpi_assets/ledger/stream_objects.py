"""The objects of streams that raw tables were made from, ops.stream_objects: the links of each partition's chain.

Belongs here: statements on ops.stream_objects. Not here: finding objects (sources/formats/stream/), and what was made
of them (batches.py).
"""

from collections.abc import Iterable, Mapping
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
        where asset = %(asset)s and load_date = %(load_date)s order by partition limit 1
    )
    union all
    select (
        select o.partition from ops.stream_objects as o
        where o.asset = %(asset)s and o.load_date = %(load_date)s and o.partition > p.partition
        order by o.partition limit 1
    )
    from partitions as p where p.partition is not null
)
select e.partition, e.first_position, e.next_position, e.records, e.newest_at, e.key, e.size_bytes, e.etag
from partitions as p
cross join lateral (
    select o.* from ops.stream_objects as o
    where o.asset = %(asset)s and o.load_date = %(load_date)s and o.partition = p.partition
    order by o.first_position {order} limit 1
) as e
"""


def ends(connection: Connection[Any], relation: Relation, load_date: date) -> dict[int, StreamObject]:
    """Return the last object of each partition."""
    return _of_partitions(connection, relation, load_date, "desc")


def starts(connection: Connection[Any], relation: Relation, load_date: date) -> dict[int, StreamObject]:
    """Return the first object of each partition."""
    return _of_partitions(connection, relation, load_date, "asc")


def _of_partitions(
    connection: Connection[Any], relation: Relation, load_date: date, order: str
) -> dict[int, StreamObject]:
    rows = connection.execute(
        _ENDS.format(order=order), {"asset": str(relation), "load_date": load_date}
    ).fetchall()
    return {row[0]: _object(row) for row in rows}


def of_load_date(connection: Connection[Any], relation: Relation, load_date: date) -> list[StreamObject]:
    """Return all objects of a load_date, by partition, each after the one that it continues."""
    rows = connection.execute(
        "select partition, first_position, next_position, records, newest_at, key, size_bytes, etag "
        "from ops.stream_objects where asset = %s and load_date = %s order by partition, first_position",
        [str(relation), load_date],
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
    is_first: bool,
) -> None:
    """Record the objects of a batch in the transaction that publishes it; those of a first batch are all there are."""
    if is_first:
        forget(connection, relation, load_date)
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy ops.stream_objects (asset, load_date, partition, first_position, next_position, records, newest_at, "
            "batch, key, size_bytes, etag) from stdin"
        ) as copy,
    ):
        for each in objects:
            copy.write_row(
                (
                    str(relation),
                    load_date,
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


def forget(
    connection: Connection[Any], relation: Relation, load_date: date, *, but: Mapping[int, StreamObject] | None = None
) -> None:
    """Delete the objects of a load_date, or those before the last one of each partition, given by `but`."""
    connection.execute(
        "delete from ops.stream_objects as o where o.asset = %s and o.load_date = %s and not exists ("
        "select 1 from unnest(%s::integer[], %s::numeric[]) as k (partition, first_position) "
        "where k.partition = o.partition and k.first_position = o.first_position)",
        [
            str(relation),
            load_date,
            list(but or {}),
            [Decimal(each.first) for each in (but or {}).values()],
        ],
    )
