"""The publish ledger, ops.publishes: what readers see, made from which objects, by which code, in which run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Json

from kpi_assets.model.names import Relation

_COLUMNS = (
    "publish_id, asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, size_bytes, "
    "inputs, published_at"
)


def input_name(relation: Relation, earlier: date) -> str:
    """What the publish of an earlier load_date is called among the inputs of a build that looks back."""
    return f"{relation}@{earlier}"


@dataclass(frozen=True)
class Publish:
    """One row of ops.published."""

    publish_id: int
    asset: str
    load_date: date
    build_id: int
    run_id: str
    manifest_hash: str
    code_version: str
    rows: int
    checksum: str
    size_bytes: int
    inputs: dict[str, int]
    published_at: datetime


def current(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> dict[Relation, Publish]:
    """What is published of the given tables for a load_date; tables without it are absent."""
    return current_between(connection, relations, load_date, load_date).get(load_date, {})


def current_between(
    connection: Connection[Any], relations: Iterable[Relation], first: date, last: date
) -> dict[date, dict[Relation, Publish]]:
    """What is published of the given tables for the load_dates of a range, by load_date."""
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        found = cursor.execute(
            f"select {_COLUMNS} from ops.published where asset = any(%s) and load_date between %s and %s",  # noqa: S608
            [[str(relation) for relation in relations], first, last],
        ).fetchall()
    by_load_date: dict[date, dict[Relation, Publish]] = {}
    for publish in found:
        by_load_date.setdefault(publish.load_date, {})[Relation.parse(publish.asset)] = publish
    return by_load_date


def all_current(connection: Connection[Any]) -> list[Publish]:
    """Everything that is published, by load_date and table."""
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.published order by load_date, asset"  # noqa: S608
        ).fetchall()


def of_build(connection: Connection[Any], build_id: int) -> int | None:
    """The publish_id of a build, after waiting for the transaction that may just publish it; None if none did."""
    connection.execute("select 1 from ops.pipeline_runs where id = %s for share", [build_id])
    row = connection.execute("select publish_id from ops.publishes where build_id = %s", [build_id]).fetchone()
    return row[0] if row else None


def previous_rows(connection: Connection[Any], relation: Relation, load_date: date) -> int | None:
    """The rows of the latest earlier load_date that is published, or was until retention dropped it; None without."""
    row = connection.execute(
        "select rows from ops.publishes where asset = %s and load_date < %s "
        "order by load_date desc, publish_id desc limit 1",  # only retention leaves a load_date without a current one
        [str(relation), load_date],
    ).fetchone()
    return int(row[0]) if row else None


def latest_load_date(connection: Connection[Any], relation: Relation) -> date | None:
    """The latest load_date that is published; None if there is none."""
    row = connection.execute("select max(load_date) from ops.published where asset = %s", [str(relation)]).fetchone()
    return row[0] if row else None


def older_than(connection: Connection[Any], kept: Mapping[Relation, int], today: date) -> list[Publish]:
    """What is published of load_dates that lie more than the given days back, by load_date and table.

    What was published again after it had been dropped, somebody wanted: its days are counted from that publish.
    """
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.published as p "  # noqa: S608
            "inner join unnest(%(assets)s::text[], %(firsts)s::date[]) as w (asset, first_kept) using (asset) "
            "where load_date < w.first_kept and not exists ("
            "select 1 from ops.publishes as d where d.asset = p.asset and d.load_date = p.load_date "
            "and d.dropped_at is not null and p.published_at >= w.first_kept) order by load_date, asset",
            {
                "assets": [str(relation) for relation in kept],
                "firsts": [today - timedelta(days=days) for days in kept.values()],
            },
        ).fetchall()


def dropped(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> list[Relation]:
    """Those of the given tables whose rows of a load_date retention dropped, and nobody published again."""
    rows = connection.execute(
        "select distinct on (asset) asset, dropped_at from ops.publishes where asset = any(%s) and load_date = %s "
        "order by asset, publish_id desc",
        [[str(relation) for relation in relations], load_date],
    ).fetchall()
    return [Relation.parse(asset) for asset, dropped_at in rows if dropped_at]


def record_drop(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> None:
    """Write that rows are dropped, inside the transaction that drops them."""
    connection.execute(
        "update ops.publishes set superseded_at = statement_timestamp(), dropped_at = statement_timestamp() "
        "where asset = any(%s) and load_date = %s and superseded_at is null",
        [[str(relation) for relation in relations], load_date],
    )


def record(
    connection: Connection[Any],
    relation: Relation,
    load_date: date,
    *,
    build_id: int,
    run_id: str,
    manifest_hash: str,
    code_version: str,
    rows: int,
    checksum: str,
    size_bytes: int,
    inputs: Mapping[str, int],
) -> int:
    """Write that a build is what readers see, inside the transaction that makes it so; returns its publish_id.

    `inputs` are the publishes that were read, by table, those of earlier load_dates by `input_name`.
    """
    connection.execute(
        "update ops.publishes set superseded_at = clock_timestamp() "
        "where asset = %s and load_date = %s and superseded_at is null",
        [str(relation), load_date],
    )
    row = connection.execute(
        "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, "
        "size_bytes, inputs) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning publish_id",
        [
            str(relation),
            load_date,
            build_id,
            run_id,
            manifest_hash,
            code_version,
            rows,
            checksum,
            size_bytes,
            Json(dict(inputs)),
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])
