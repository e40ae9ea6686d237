"""The batches of tables that grow, ops.batches: what was added to a load_date, one row for each published batch.

The numbers of batches are those of the raw table of the stream: a SELECT builds batch 7 from the batch 7 of what it
reads. A load_date that is built as a whole has one batch, whose rows have the number 1; a SELECT records in `up_to`
how many batches of its input that one holds, and goes on with the next. What reads a table whose load_date was built as
a whole has rows of batches that are no more: it knows by `base_build_id`, and is built as a whole, too.
The batches of old load_dates are merged (upkeep.py), so that what reads them batch by batch is built as a whole.

Belongs here: statements on ops.batches. Not here: the objects of a batch (stream_objects.py), and the truth about what
readers see (publishes.py).
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from kpi_assets.model.names import Relation

_WRITTEN = (
    "batch, up_to, build_id, base_build_id, input_base_build_id, publish_id, objects, records, rows, repeats, "
    "quarantined, total_rows, total_records, total_repeats, total_quarantined, manifest_hash, through"
)
_COLUMNS = f"{_WRITTEN}, merged_from"
_CURRENT = "asset = %(asset)s and load_date = %(load_date)s and superseded_at is null"


@dataclass(frozen=True)
class Batch:
    """A published batch; the totals are those of the batch and all before it."""

    batch: int
    up_to: int
    build_id: int
    base_build_id: int
    input_base_build_id: int | None
    publish_id: int
    objects: int
    records: int
    rows: int
    repeats: int
    quarantined: int
    total_rows: int
    total_records: int
    total_repeats: int
    total_quarantined: int
    manifest_hash: str
    through: datetime | None
    merged_from: int | None = None  # the first of the batches whose counts are in it; their rows have their numbers


@dataclass(frozen=True)
class Counts:
    """The records of a batch, and what became of them."""

    records: int = 0
    rows: int = 0
    repeats: int = 0
    quarantined: int = 0


NOTHING = Counts()


def last(connection: Connection[Any], relation: Relation, load_date: date) -> Batch | None:
    """Return the last published batch of a table and load_date; None if there is none."""
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.batches where {_CURRENT} order by batch desc limit 1",  # noqa: S608
            {"asset": str(relation), "load_date": load_date},
        ).fetchone()


def next_after(connection: Connection[Any], relation: Relation, load_date: date, number: int) -> Batch | None:
    """Return the published batch of a table that follows a number; None if there is none yet."""
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.batches where {_CURRENT} and batch > %(number)s "  # noqa: S608
            "order by batch limit 1",
            {"asset": str(relation), "load_date": load_date, "number": number},
        ).fetchone()


def record(
    connection: Connection[Any],
    relation: Relation,
    load_date: date,
    *,
    batch: int,
    up_to: int,
    build_id: int,
    publish_id: int,
    input_base_build_id: int | None,
    objects: int,
    counts: Counts,
    manifest_hash: str,
    through: datetime | None,
    before: Batch | None,
) -> None:
    """Record a batch in the transaction that shows it to readers; `before` is the last one that it is added to.

    Without one, the load_date was built as a whole or has its first batch: the batches that it had are no more.
    """
    if before is None:
        connection.execute(
            f"update ops.batches set superseded_at = clock_timestamp() where {_CURRENT}",  # noqa: S608
            {"asset": str(relation), "load_date": load_date},
        )
    connection.execute(
        f"insert into ops.batches (asset, load_date, {_WRITTEN}) values (%s, %s, {', '.join(['%s'] * 17)})",  # noqa: S608
        [
            str(relation),
            load_date,
            batch,
            up_to,
            build_id,
            before.base_build_id if before else build_id,
            input_base_build_id,
            publish_id,
            objects,
            counts.records,
            counts.rows,
            counts.repeats,
            counts.quarantined,
            counts.rows + (before.total_rows if before else 0),
            counts.records + (before.total_records if before else 0),
            counts.repeats + (before.total_repeats if before else 0),
            counts.quarantined + (before.total_quarantined if before else 0),
            manifest_hash,
            through,
        ],
    )


def objects_of(connection: Connection[Any], relation: Relation, load_date: date) -> int:
    """Return of how many objects of streams the published batches of a load_date were made."""
    return objects_between(connection, load_date, load_date, relation).get(load_date, 0)


def objects_between(
    connection: Connection[Any], first: date, last: date, relation: Relation | None = None
) -> dict[date, int]:
    """Return of how many objects of streams the published batches were made, by load_date; by default of all tables."""
    rows = connection.execute(
        "select load_date, sum(objects)::bigint from ops.batches where superseded_at is null "
        "and load_date between %s and %s and asset = coalesce(%s, asset) group by load_date",
        [first, last, None if relation is None else str(relation)],
    )
    return dict(rows.fetchall())


@dataclass(frozen=True)
class Held:
    """The latest build of a table and load_date, if it was held."""

    build_id: int
    at: datetime
    manifest_hash: str
    code_version: str
    checks_version: str


def held(connection: Connection[Any], relation: Relation, load_date: date) -> Held | None:
    """Return what held the latest finished build of a table and load_date; None if it was not held."""
    row = connection.execute(
        "select r.id, r.status, r.ended_at, h.manifest_hash, h.code_version, h.checks_version "
        "from ops.pipeline_runs as r left join ops.holds as h on h.build_id = r.id "
        "where r.job = %s and r.load_date = %s and r.status <> 'running' order by r.id desc limit 1",
        [str(relation), load_date],
    ).fetchone()
    if row is None or row[1] != "held" or row[3] is None:
        return None
    return Held(row[0], *row[2:])


def of_publish(connection: Connection[Any], relation: Relation, load_date: date, publish_id: int) -> Batch | None:
    """Return the batch with which a publish showed a load_date, also one that is no more; None if there is none."""
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.batches "  # noqa: S608
            "where asset = %(asset)s and load_date = %(load_date)s and publish_id = %(publish_id)s "
            "order by batch desc limit 1",
            {"asset": str(relation), "load_date": load_date, "publish_id": publish_id},
        ).fetchone()
