"""Manifests, ops.manifests: each state of an S3 object that was seen, with its rows and sha256 once it was read."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from kpi_assets.errors import UserError
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.names import Relation


def record(connection: Connection[Any], manifest: Manifest, *, run_id: str) -> None:
    """Record the state of an object. A state that was seen before becomes the latest again."""
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


# The earlier states with the same bytes as a given one; of each object only the state that was seen last counts. The
# state that was published first is the earlier one; of two that were never published, the one that was seen first. So a
# replay gives the same answer as the first build, and only one of two objects with the same bytes is the repetition.
_SAME_BYTES = """
with same as (
    select
        m.manifest_id, m.object, m.load_date, m.bucket, m.key, coalesce(
            (
                select min(p.publish_id)
                from ops.publishes as p
                where p.load_date = m.load_date and p.manifest_hash = m.manifest_hash
                and split_part(p.asset, '.', 2) = m.object
            ),
            9223372036854775807
        ) as first_publish,
        m.object = %(object)s and m.load_date = %(load_date)s as is_this
    from ops.manifests as m
    inner join ops.manifests as t on t.sha256 = m.sha256 and t.rows > 0
    where t.object = %(object)s and t.load_date = %(load_date)s and t.manifest_hash = %(manifest_hash)s
    and (m.manifest_id = t.manifest_id or (m.object, m.load_date) <> (t.object, t.load_date))
    and not exists (
        select 1
        from ops.manifests as n
        where n.object = m.object and n.load_date = m.load_date and m.manifest_id <> t.manifest_id
        and (n.recorded_at, n.manifest_id) > (m.recorded_at, m.manifest_id)
    )
)
select o.load_date::text as load_date, 's3://' || o.bucket || '/' || o.key as object
from same as o
inner join same as t on t.is_this
where not o.is_this and (o.first_publish, o.manifest_id) < (t.first_publish, t.manifest_id)
order by o.load_date desc, o.object
"""


def record_content(connection: Connection[Any], manifest: Manifest, *, rows: int, sha256: str) -> None:
    """Add the number of rows and the sha256, which are known once the object was read.

    Raises UserError if the same state had other bytes when it was read before; the earlier record stays.
    """
    state = [manifest.object, manifest.load_date, manifest.hash]
    this = "where object = %s and load_date = %s and manifest_hash = %s"
    updated = connection.execute(
        f"update ops.manifests set rows = %s, sha256 = %s {this} and coalesce(sha256, %s) = %s",  # noqa: S608
        [rows, sha256, *state, sha256, sha256],
    )
    if updated.rowcount:
        return
    before = connection.execute(f"select sha256 from ops.manifests {this}", state).fetchone()  # noqa: S608
    if before:
        raise UserError(
            f"s3://{manifest.bucket}/{manifest.key} is not what it was, although S3 describes it as before: its bytes "
            f"had the sha256 {before[0]} when they were read first, and have {sha256} now; land the object again from "
            "its source with --replace, and run the load_date again."
        )


def same_bytes(connection: Connection[Any], name: str, load_date: date, manifest_hash: str) -> list[dict[str, Any]]:
    """Return the earlier objects with the same bytes as a state of an object, as `load_date` and `object` (its URL).

    The result is empty for a state that was not read to its end, and for one without rows.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            _SAME_BYTES, {"object": name, "load_date": load_date, "manifest_hash": manifest_hash}
        ).fetchall()


def of_published(connection: Connection[Any], tables: Iterable[Relation]) -> list[tuple[Manifest, str]]:
    """The object from which each published load_date of these raw tables was loaded, with the sha256 of its bytes."""
    rows = connection.execute(
        """
        select m.sha256, m.object, m.load_date, m.bucket, m.key, m.size_bytes, m.etag, m.version_id, m.last_modified
        from ops.published as p
        inner join ops.manifests as m
        on m.object = split_part(p.asset, '.', 2) and m.load_date = p.load_date and m.manifest_hash = p.manifest_hash
        where p.asset = any(%s) and m.sha256 is not null
        order by m.load_date, m.object
        """,
        [[str(relation) for relation in tables]],
    ).fetchall()
    return [(Manifest(*state), sha256) for sha256, *state in rows]


def of_publish(connection: Connection[Any], name: str, load_date: date, manifest_hash: str) -> Manifest | None:
    """The object that a publish of a raw table was loaded from; None if an earlier version did not record it."""
    row = connection.execute(
        "select object, load_date, bucket, key, size_bytes, etag, version_id, last_modified from ops.manifests "
        "where object = %s and load_date = %s and manifest_hash = %s",
        [name, load_date, manifest_hash],
    ).fetchone()
    return Manifest(*row) if row else None


def before(connection: Connection[Any], name: str, load_date: date) -> Manifest | None:
    """The last state of an object on the latest earlier load_date for which it was not held; None if there is none."""
    row = connection.execute(
        """
        select m.object, m.load_date, m.bucket, m.key, m.size_bytes, m.etag, m.version_id, m.last_modified
        from ops.manifests as m
        where m.object = %(object)s and m.load_date < %(load_date)s and not exists (
            select 1
            from ops.holds as h
            inner join ops.pipeline_runs as r on r.id = h.build_id
            where r.job = 's3.' || m.object and r.load_date = m.load_date and h.manifest_hash = m.manifest_hash
        )
        order by m.load_date desc, m.recorded_at desc, m.manifest_id desc
        limit 1
        """,
        {"object": name, "load_date": load_date},
    ).fetchone()
    return Manifest(*row) if row else None


def latest(connection: Connection[Any], name: str, load_date: date) -> Manifest | None:
    """The last state that was seen of an object; None if it never was."""
    row = connection.execute(
        "select object, load_date, bucket, key, size_bytes, etag, version_id, last_modified from ops.manifests "
        "where object = %s and load_date = %s order by recorded_at desc, manifest_id desc limit 1",
        [name, load_date],
    ).fetchone()
    return Manifest(*row) if row else None
