"""Objects that were written again without erased persons, ops.manifest_links, and what ops knew of the old ones.

A digest of an old object confirms who guesses the erased record, since all other bytes are known. So it is replaced by
its HMAC, for which one needs a secret.
Not here: writing the objects (materialize/rewrite.py).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from kpi_assets.model.manifest import Manifest

_COLUMNS = (
    "erasure, object, bucket, key, old_manifest_hash, old_digest, new_sha256, new_etag, records_before, "
    "records_erased, records_after, versions_deleted, versions_kept"
)


@dataclass(frozen=True)
class Link:
    """A row of ops.manifest_links, whose columns say what each field means."""

    erasure: int
    object: str
    bucket: str
    key: str
    old_manifest_hash: str
    old_digest: str
    new_sha256: str
    records_before: int
    records_erased: int
    new_etag: str | None = None
    records_after: int | None = None
    versions_deleted: int | None = None
    versions_kept: list[str] | None = None


def of_object(connection: Connection[Any], bucket: str, key: str) -> list[Link]:
    """The links of an object, the latest first."""
    with connection.cursor(row_factory=class_row(Link)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.manifest_links where bucket = %s and key = %s "  # noqa: S608
            "order by begun_at desc",
            [bucket, key],
        ).fetchall()


def of_erasure(connection: Connection[Any], erasure: int) -> list[Link]:
    """The links that an erasure made, by object."""
    with connection.cursor(row_factory=class_row(Link)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.manifest_links where erasure = %s order by object, key, begun_at",  # noqa: S608
            [erasure],
        ).fetchall()


def follows(
    connection: Connection[Any],
    manifest: Manifest,
    links: Sequence[Link],
    asset: str,
    code_version: str,
    masked: Collection[str],
) -> bool:
    """Whether one of the `links` to the objects of a load_date began with an earlier state of all of them.

    `masked` are the HMACs of the manifest of that state. It is not followed if a build of it by this SQL is published,
    unless a rollback did that: then nobody keeps it out any more.
    """
    row = connection.execute(
        "select (%(hashes)s::text[] && %(masked)s::text[] or exists ("
        "select from ops.manifests as m inner join ops.manifest_parts as p using (manifest_id) "
        "where m.object = %(object)s and m.load_date = %(load_date)s and m.manifest_hash = any(%(masked)s) "
        "and p.key = any(%(keys)s) and p.sha256 = any(%(digests)s))) "
        "and not exists (select from ops.publishes as p where p.asset = %(asset)s and p.load_date = %(load_date)s "
        "and p.superseded_at is null and p.restores is null and p.code_version = %(code_version)s "
        "and p.manifest_hash = any(%(masked)s))",
        {
            "object": manifest.object,
            "load_date": manifest.load_date,
            "keys": [each.key for each in links],
            "hashes": [each.old_manifest_hash for each in links],
            "digests": [each.old_digest for each in links],
            "asset": asset,
            "code_version": code_version,
            "masked": [*masked],
        },
    ).fetchone()
    assert row is not None
    return bool(row[0])


def begin(connection: Connection[Any], link: Link) -> None:
    """Record which bytes are about to take the place of an object; safe to repeat."""
    connection.execute(
        f"insert into ops.manifest_links ({_COLUMNS}) values (%(erasure)s, %(object)s, %(bucket)s, %(key)s, "  # noqa: S608
        "%(old_manifest_hash)s, %(old_digest)s, %(new_sha256)s, %(new_etag)s, %(records_before)s, %(records_erased)s, "
        "%(records_after)s, %(versions_deleted)s, %(versions_kept)s) "
        "on conflict (erasure, bucket, key, old_manifest_hash) do update "
        "set new_sha256 = excluded.new_sha256, records_before = excluded.records_before, "
        "records_erased = excluded.records_erased",
        vars(link),
    )


def finish(connection: Connection[Any], link: Link) -> None:
    """Record what was proven of the new object, and what became of the old one."""
    connection.execute(
        "update ops.manifest_links set new_etag = %(new_etag)s, records_after = %(records_after)s, "
        "versions_deleted = %(versions_deleted)s, versions_kept = %(versions_kept)s, done_at = clock_timestamp() "
        "where erasure = %(erasure)s and bucket = %(bucket)s and key = %(key)s "
        "and old_manifest_hash = %(old_manifest_hash)s",
        vars(link),
    )


def forget(connection: Connection[Any], old: Manifest, mask: Callable[[str], str], erasure: int) -> None:
    """Replace every digest of the bytes of an old object by its HMAC, which `mask` computes; safe to repeat.

    What was published from it is marked with the erasure.
    """
    with connection.transaction():
        states = connection.execute(
            "select m.manifest_id, m.object, m.load_date, m.etag, m.sha256, m.manifest_hash from ops.manifests as m "
            "where m.bucket = %(bucket)s and ((m.key, m.etag, m.size_bytes) = (%(key)s, %(etag)s, %(size)s) or exists ("
            "select 1 from ops.manifest_parts as p where p.manifest_id = m.manifest_id "
            "and (p.key, p.etag, p.size_bytes) = (%(key)s, %(etag)s, %(size)s)))",
            {"bucket": old.bucket, "key": old.key, "etag": old.etag, "size": old.size_bytes},
        ).fetchall()
        for manifest_id, name, load_date, etag, sha256, hash_ in states:
            words = {
                "id": manifest_id,
                "erasure": erasure,
                "name": name,
                "load_date": load_date,
                "hash": hash_,
                "masked_hash": mask(hash_)[:16],
                "etag": mask(etag),
                "sha256": sha256 and mask(sha256),
            }
            for statement in _FORGET:
                connection.execute(statement, words)
            parts = connection.execute(
                "select etag, sha256 from ops.manifest_parts "
                "where manifest_id = %s and (key, etag, size_bytes) = (%s, %s, %s)",
                [manifest_id, old.key, old.etag, old.size_bytes],
            ).fetchall()
            for part_etag, part_sha256 in parts:
                connection.execute(
                    "update ops.manifest_parts set etag = %s, sha256 = %s where manifest_id = %s and key = %s",
                    [mask(part_etag), part_sha256 and mask(part_sha256), manifest_id, old.key],
                )


_FORGET = (
    "update ops.publishes set manifest_hash = %(masked_hash)s, erasure = %(erasure)s where load_date = %(load_date)s "
    "and split_part(asset, '.', 2) = %(name)s and manifest_hash = %(hash)s",
    "update ops.holds as h set manifest_hash = %(masked_hash)s from ops.pipeline_runs as r where r.id = h.build_id "
    "and r.load_date = %(load_date)s and split_part(r.job, '.', 2) = %(name)s and h.manifest_hash = %(hash)s",
    "update ops.manifests set manifest_hash = %(masked_hash)s, etag = %(etag)s, sha256 = %(sha256)s "
    "where manifest_id = %(id)s",
)
