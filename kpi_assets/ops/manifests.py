"""Manifests, ops.manifests: each state of an S3 object that was seen, and what it held once it was read."""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.model.manifest import Manifest


def record(connection: Connection[Any], manifest: Manifest, *, run_id: str) -> None:
    """Write what an object is now. A state that was seen before becomes the latest again."""
    connection.execute(
        """
        insert into ops.manifests (
            object, load_date, bucket, key, size_bytes, etag, version_id, last_modified, manifest_hash, run_id
        )
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        on conflict (object, load_date, manifest_hash) do update
        set run_id = excluded.run_id, recorded_at = clock_timestamp(), last_modified = excluded.last_modified
        """,
        [
            manifest.object,
            manifest.load_date,
            manifest.bucket,
            manifest.key,
            manifest.size_bytes,
            manifest.etag,
            manifest.version_id,
            manifest.last_modified,
            manifest.hash,
            run_id,
        ],
    )


def record_content(connection: Connection[Any], manifest: Manifest, *, rows: int, sha256: str) -> None:
    """Add what only reading the object tells."""
    connection.execute(
        "update ops.manifests set rows = %s, sha256 = %s where object = %s and load_date = %s and manifest_hash = %s",
        [rows, sha256, manifest.object, manifest.load_date, manifest.hash],
    )


def latest(connection: Connection[Any], name: str, load_date: date) -> Manifest | None:
    """The last state that was seen of an object; None if it never was."""
    row = connection.execute(
        "select object, load_date, bucket, key, size_bytes, etag, version_id, last_modified from ops.manifests "
        "where object = %s and load_date = %s order by recorded_at desc, manifest_id desc limit 1",
        [name, load_date],
    ).fetchone()
    return Manifest(*row) if row else None
