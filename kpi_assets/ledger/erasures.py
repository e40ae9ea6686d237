"""Erasures in the ledger, ops.erasures and ops.erased_keys: what lies on S3, so that each load can look there.

Not here: the objects on S3 (sources/erasures.py), and finding the persons in rows (warehouse/erased.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from kpi_assets.ledger import locks
from kpi_assets.model.erasure import Erasure


def recorded(connection: Connection[Any]) -> frozenset[str]:
    """The keys of the objects whose erasures are recorded."""
    return frozenset(key for (key,) in connection.execute("select object_key from ops.erasures"))


def record(connection: Connection[Any], found: Mapping[str, Erasure], *, made_here: Collection[str] = ()) -> None:
    """Record erasures by the keys of their objects; one that is recorded stays as it is.

    Where rows were published before it is recorded, the database is behind it, but for those that are `made_here`.
    """
    with connection.transaction():
        locks.await_turn(connection, "erasures")
        for key, each in found.items():
            new = connection.execute(
                "insert into ops.erasures "
                "(erasure, kind, request, reason, erased_by, erased_at, keys, object_key, was_behind) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, exists (select from ops.publishes)) on conflict do nothing",
                [each.number, each.kind, each.request, each.reason, each.by, each.at, len(each.keys), key],
            ).rowcount
            if new:
                connection.execute(
                    "insert into ops.erased_keys (kind, hash, quick, replacement, erasure) "
                    "select %s, k.hash, k.quick, k.replacement, %s "
                    "from unnest(%s::bytea[], %s::bigint[], %s::text[]) as k (hash, quick, replacement) "
                    "on conflict do nothing",
                    [
                        each.kind,
                        each.number,
                        [key.hash for key in each.keys],
                        [key.quick for key in each.keys],
                        [key.replacement for key in each.keys],
                    ],
                )
        connection.execute(
            "update ops.erasures set was_behind = false where was_behind and object_key = any(%s)", [list(made_here)]
        )


def kinds(connection: Connection[Any]) -> frozenset[str]:
    """The kinds of persons of whom some were erased."""
    return frozenset(kind for (kind,) in connection.execute("select distinct kind from ops.erasures"))


@dataclass(frozen=True)
class RecordedErasure:
    """A row of ops.erasures, whose columns say what each field means."""

    erasure: int
    kind: str
    request: str
    reason: str
    erased_by: str
    erased_at: datetime
    keys: int
    object_key: str
    recorded_at: datetime
    applied_at: datetime | None
    runs: list[str]
    receipt_sha256: str | None
    was_behind: bool
    emptied: dict[str, int]


_COLUMNS = (
    "erasure, kind, request, reason, erased_by, erased_at, keys, object_key, recorded_at, applied_at, runs, "
    "receipt_sha256, was_behind, emptied"
)


def every(connection: Connection[Any]) -> list[RecordedErasure]:
    """All erasures, the first one first."""
    with connection.cursor(row_factory=class_row(RecordedErasure)) as cursor:
        query = f"select {_COLUMNS} from ops.erasures order by erasure"  # noqa: S608
        return cursor.execute(query).fetchall()


def note_runs(connection: Connection[Any], erasure: int, runs: Collection[str]) -> None:
    """Note the runs whose events are about to be deleted from Dagster."""
    connection.execute(
        "update ops.erasures set runs = array(select distinct unnest(runs || %s::text[]) order by 1) "
        "where erasure = %s",
        [list(runs), erasure],
    )


def note_emptied(connection: Connection[Any], erasure: int, counts: Mapping[str, int]) -> None:
    """Add what was emptied now to what earlier attempts have emptied."""
    connection.execute(
        "update ops.erasures as e set emptied = (select jsonb_object_agg(s.name, s.total) from ("
        "select c.name, sum(c.count::bigint) as total from (select * from jsonb_each_text(e.emptied) "
        "union all select * from jsonb_each_text(%s)) as c (name, count) group by c.name) as s) where erasure = %s",
        [Jsonb(dict(counts)), erasure],
    )


def finish(connection: Connection[Any], erasure: int, receipt_sha256: str) -> None:
    """Note that an erasure is through, and the sha256 of its receipt."""
    connection.execute(
        "update ops.erasures set applied_at = clock_timestamp(), receipt_sha256 = %s where erasure = %s",
        [receipt_sha256, erasure],
    )
