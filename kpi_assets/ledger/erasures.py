"""Erasures in the ledger, ops.erasures and ops.erased_keys: what lies on S3, so that each load can look there.

Not here: the objects on S3 (sources/erasures.py), and finding the persons in rows (warehouse/erased.py).
"""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import locks
from kpi_assets.model.erasure import Erasure


def recorded(connection: Connection[Any]) -> frozenset[str]:
    """The keys of the objects whose erasures are recorded."""
    return frozenset(key for (key,) in connection.execute("select object_key from ops.erasures"))


def record(connection: Connection[Any], found: Mapping[str, Erasure]) -> None:
    """Record erasures by the keys of their objects; one that is recorded stays as it is."""
    with connection.transaction():
        locks.await_turn(connection, "erasures")
        for key, each in found.items():
            new = connection.execute(
                "insert into ops.erasures (erasure, kind, request, reason, erased_by, erased_at, keys, object_key) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
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


def kinds(connection: Connection[Any]) -> frozenset[str]:
    """The kinds of persons of whom some were erased."""
    return frozenset(kind for (kind,) in connection.execute("select distinct kind from ops.erasures"))
