"""Manifests, ops.manifests and ops.manifest_parts: each state of S3 objects that was seen, with its rows and sha256.

rows and sha256 are known once the objects were read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from kpi_assets.errors import UserError
from kpi_assets.ledger.recorded import ObjectState
from kpi_assets.model.manifest import Manifest, sha256_of_parts
from kpi_assets.model.names import Relation

_STATE = "m.object, m.load_date, m.bucket, m.key, m.size_bytes, m.etag, m.version_id, m.last_modified"


def record(connection: Connection[Any], manifest: Manifest, *, run_id: str) -> None:
    """Record the state of the objects of a load_date. A state that was seen before becomes the latest again."""
    with connection.transaction():
        row = connection.execute(
            """
            insert into ops.manifests (
                object, load_date, bucket, key, size_bytes, etag, version_id, last_modified, manifest_hash, run_id
            )
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (object, load_date, manifest_hash) do update
            set run_id = excluded.run_id, recorded_at = clock_timestamp(), last_modified = excluded.last_modified
            returning manifest_id
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
        ).fetchone()
        if manifest.parts and row:
            _record_parts(connection, row[0], manifest)


# What is known of the bytes of an object stays known when another object of its load_date is replaced or added.
_RECORD_PART = """
insert into ops.manifest_parts (manifest_id, key, size_bytes, etag, version_id, last_modified, rows, sha256)
select %(manifest_id)s, n.key, n.size_bytes, n.etag, n.version_id, n.last_modified, k.rows, k.sha256
from (
    values (%(key)s, %(size_bytes)s::bigint, %(etag)s, %(version_id)s::text, %(last_modified)s::timestamptz)
) as n (key, size_bytes, etag, version_id, last_modified)
left join lateral (
    select p.rows, p.sha256
    from ops.manifest_parts as p
    inner join ops.manifests as m using (manifest_id)
    where m.object = %(object)s and m.load_date = %(load_date)s and p.key = n.key and p.size_bytes = n.size_bytes
    and p.etag = n.etag and p.version_id is not distinct from n.version_id and p.sha256 is not null
    order by p.manifest_id desc
    limit 1
) as k on true
on conflict (manifest_id, key) do update
set version_id = excluded.version_id, last_modified = excluded.last_modified
"""


def _record_parts(connection: Connection[Any], manifest_id: int, manifest: Manifest) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            _RECORD_PART,
            [
                {
                    "manifest_id": manifest_id,
                    "object": manifest.object,
                    "load_date": manifest.load_date,
                    "key": part.key,
                    "size_bytes": part.size_bytes,
                    "etag": part.etag,
                    "version_id": part.version_id,
                    "last_modified": part.last_modified,
                }
                for part in manifest.parts
            ],
        )


# The earlier objects with the same bytes as one of a given state; of each load_date only the state that was seen last
# counts. The state that was published first is the earlier one; of two that were never published, the one that was seen
# first; of two objects of one state, the one with the lower key. So a replay gives the same answer as the first build,
# and only one of two objects with the same bytes is the repetition.
# What an engine reads has no sha256. It has the bytes of another object that S3 describes alike, by ETag and size.
_SAME_BYTES = """
with this as (
    select
        m.manifest_id, o.key as part, o.sha256, o.etag, o.size_bytes,
        coalesce(o.sha256, o.etag || ' ' || o.size_bytes) as bytes
    from ops.manifests as m
    cross join lateral (
        select p.key, p.rows, p.sha256, p.etag, p.size_bytes
        from ops.manifest_parts as p
        where p.manifest_id = m.manifest_id
        union all
        select null, m.rows, m.sha256, m.etag, m.size_bytes
        where not exists (select 1 from ops.manifest_parts as p where p.manifest_id = m.manifest_id)
    ) as o
    where m.object = %(object)s and m.load_date = %(load_date)s and m.manifest_hash = %(manifest_hash)s and o.rows > 0
), contents as (
    select distinct bytes, sha256, etag, size_bytes from this
), read as (
    select m.manifest_id, m.key, c.bytes
    from ops.manifests as m
    inner join contents as c on c.sha256 = m.sha256
    union all
    select p.manifest_id, p.key, c.bytes
    from ops.manifest_parts as p
    inner join contents as c on c.sha256 = p.sha256
    union all
    select m.manifest_id, m.key, c.bytes
    from ops.manifests as m
    inner join contents as c on c.sha256 is null and (c.etag, c.size_bytes) = (m.etag, m.size_bytes)
    union all
    select p.manifest_id, p.key, c.bytes
    from ops.manifest_parts as p
    inner join contents as c on c.sha256 is null and (c.etag, c.size_bytes) = (p.etag, p.size_bytes)
), same as (
    select m.manifest_id, m.object, m.load_date, m.bucket, r.key, r.bytes, coalesce(
        (
            select min(p.publish_id)
            from ops.publishes as p
            where p.load_date = m.load_date and p.manifest_hash = m.manifest_hash
            and split_part(p.asset, '.', 2) = m.object
        ),
        9223372036854775807
    ) as first_publish
    from read as r
    inner join ops.manifests as m using (manifest_id)
    where m.manifest_id in (select manifest_id from this)
    or ((m.object, m.load_date) <> (%(object)s, %(load_date)s::date) and not exists (
        select 1
        from ops.manifests as n
        where n.object = m.object and n.load_date = m.load_date and m.manifest_id <> n.manifest_id
        and (n.recorded_at, n.manifest_id) > (m.recorded_at, m.manifest_id)
    ))
)
select load_date::text as load_date, object, part
from (
    select distinct on (o.bucket, o.key, t.part)
        o.load_date, case when o.bucket like '%%://%%' then '' else 's3://' end || o.bucket || '/' || o.key as object,
        o.object as name, o.key, t.part
    from same as o
    inner join this as t using (bytes)
    inner join same as s on s.manifest_id = t.manifest_id and s.key = coalesce(t.part, s.key)
    where (o.first_publish, o.manifest_id, o.key) < (s.first_publish, s.manifest_id, s.key)
    and (o.object, o.bucket, o.key) <> (s.object, s.bucket, s.key)
    order by o.bucket, o.key, t.part, o.load_date
) as found
order by found.load_date desc, name, key, part
"""


_THIS = "object = %(object)s and load_date = %(load_date)s and manifest_hash = %(hash)s"
_THIS_PART = f"manifest_id in (select manifest_id from ops.manifests where {_THIS}) and key = %(key)s"  # noqa: S608
_CONTENT = "set rows = %(rows)s, sha256 = %(sha256)s"
_UNCHANGED = "coalesce(sha256, %(sha256)s) = %(sha256)s"
_SET_CONTENT = f"update ops.manifests {_CONTENT} where {_THIS} and {_UNCHANGED}"
_SET_CONTENT_OF_PART = f"update ops.manifest_parts {_CONTENT} where {_THIS_PART} and {_UNCHANGED}"
_SHA256 = f"select sha256 from ops.manifests where {_THIS}"  # noqa: S608
_SHA256_OF_PART = f"select sha256 from ops.manifest_parts where {_THIS_PART}"  # noqa: S608


def record_content(connection: Connection[Any], manifest: Manifest, part: Manifest, *, rows: int, sha256: str) -> None:
    """Add the number of rows and the sha256 of an object, which are known once it was read.

    `part` is one of the objects of the manifest. Raises UserError if the same state had other bytes when it was read
    before; the earlier record stays.
    """
    state = {"object": manifest.object, "load_date": manifest.load_date, "hash": manifest.hash, "key": part.key}
    updated = connection.execute(
        _SET_CONTENT_OF_PART if manifest.parts else _SET_CONTENT,
        {**state, "rows": rows, "sha256": sha256},
    )
    if updated.rowcount:
        return
    before = connection.execute(_SHA256_OF_PART if manifest.parts else _SHA256, state).fetchone()
    if before:
        raise UserError(
            f"{part.url} is not what it was, although S3 describes it as before: its bytes "
            f"had the sha256 {before[0]} when they were read first, and have {sha256} now; land the object again from "
            "its source with --replace, and run the load_date again."
        )


def record_rows(connection: Connection[Any], manifest: Manifest, rows: Mapping[str, int]) -> None:
    """Add the number of rows of each object (by its key), of which an engine alone has read the bytes."""
    state = {"object": manifest.object, "load_date": manifest.load_date, "hash": manifest.hash}
    for part in manifest.parts:
        connection.execute(
            f"update ops.manifest_parts set rows = %(rows)s where {_THIS_PART}",  # noqa: S608
            {**state, "key": part.key, "rows": rows[part.key]},
        )
    connection.execute(
        f"update ops.manifests set rows = %(rows)s where {_THIS}",  # noqa: S608
        {**state, "rows": sum(rows.values())},
    )


def record_sum(connection: Connection[Any], manifest: Manifest) -> None:
    """Add the number of rows and the sha256 of several objects, after those of each were recorded."""
    read = connection.execute(
        """
        select m.manifest_id, p.rows, p.sha256
        from ops.manifests as m
        inner join ops.manifest_parts as p using (manifest_id)
        where m.object = %s and m.load_date = %s and m.manifest_hash = %s
        order by p.key collate "C"
        """,
        [manifest.object, manifest.load_date, manifest.hash],
    ).fetchall()
    if read:
        connection.execute(
            "update ops.manifests set rows = %s, sha256 = %s where manifest_id = %s",
            [sum(rows for _, rows, _ in read), sha256_of_parts(sha256 for _, _, sha256 in read), read[0][0]],
        )


def same_bytes(connection: Connection[Any], name: str, load_date: date, manifest_hash: str) -> list[dict[str, Any]]:
    """Return the earlier objects with the same bytes as a state of an object, as `load_date` and `object` (its URL).

    If the state is that of several objects, `part` is the key of the one with these bytes. The result is empty for a
    state that was not read to its end, and for bytes without rows.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_SAME_BYTES, {"object": name, "load_date": load_date, "manifest_hash": manifest_hash})
        return [{word: value for word, value in row.items() if value is not None} for row in cursor]


def of_published(connection: Connection[Any], tables: Iterable[Relation]) -> list[tuple[Manifest, str]]:
    """Each object from which a published load_date of these raw tables was loaded, with the sha256 of its bytes."""
    rows = connection.execute(
        """
        select
            coalesce(o.sha256, m.sha256), m.object, m.load_date, m.bucket, coalesce(o.key, m.key),
            coalesce(o.size_bytes, m.size_bytes), coalesce(o.etag, m.etag), coalesce(o.version_id, m.version_id),
            coalesce(o.last_modified, m.last_modified)
        from ops.published as p
        inner join ops.manifests as m
        on m.object = split_part(p.asset, '.', 2) and m.load_date = p.load_date and m.manifest_hash = p.manifest_hash
        left join ops.manifest_parts as o using (manifest_id)
        where p.asset = any(%s) and m.sha256 is not null
        order by m.load_date, m.object, o.key
        """,
        [[str(relation) for relation in tables]],
    ).fetchall()
    return [(Manifest(*state), sha256) for sha256, *state in rows]


# A decision may have put another record in the place of one that the object still has. An object whose rewriting was
# interrupted has still to be compared with what was to be written.
_WHOLLY_LOADED = """
select coalesce(o.key, m.key), coalesce(o.size_bytes, m.size_bytes), coalesce(o.etag, m.etag)
from ops.published as p
inner join unnest(%(load_dates)s::date[], %(rows)s::bigint[]) as c (load_date, rows) on c.load_date = p.load_date
inner join ops.pipeline_runs as r on r.id = p.build_id and r.rows_extracted = c.rows
inner join ops.manifests as m
on m.object = %(object)s and m.load_date = p.load_date and m.manifest_hash = p.manifest_hash
left join ops.manifest_parts as o using (manifest_id)
where p.asset = %(asset)s and p.code_version = %(code_version)s and p.inputs = '{}'
and m.bucket = %(bucket)s and m.sha256 is not null and not exists (
    select 1 from ops.manifest_links as l
    where l.bucket = m.bucket and l.key = coalesce(o.key, m.key) and l.done_at is null
)
"""


def wholly_loaded(
    connection: Connection[Any], relation: Relation, rows: Mapping[date, int], *, bucket: str, code_version: str
) -> set[ObjectState]:
    """The objects each record of which is a row of a raw table, given how many rows load_dates of the table have.

    That is so if a load_date has as many rows as the build that is published has read records from its objects, by the
    same code and without a decision.
    """
    found = connection.execute(
        _WHOLLY_LOADED,
        {
            "asset": str(relation),
            "object": relation.table,
            "load_dates": list(rows),
            "rows": list(rows.values()),
            "bucket": bucket,
            "code_version": code_version,
        },
    )
    return {ObjectState.of(*state) for state in found}


def of_publish(connection: Connection[Any], name: str, load_date: date, manifest_hash: str) -> Manifest | None:
    """The object, or the several objects, that a publish of a raw table was loaded from; None if none is recorded."""
    row = connection.execute(
        f"select m.manifest_id, {_STATE} from ops.manifests as m "  # noqa: S608
        "where m.object = %s and m.load_date = %s and m.manifest_hash = %s",
        [name, load_date, manifest_hash],
    ).fetchone()
    return _with_parts(connection, *row) if row else None


def before(connection: Connection[Any], name: str, load_date: date) -> Manifest | None:
    """The last state of an object on the latest earlier load_date for which it was not held; None if there is none.

    Of several objects it is their sum, without the parts.
    """
    row = connection.execute(
        f"""
        select {_STATE}
        from ops.manifests as m
        where m.object = %(object)s and m.load_date < %(load_date)s and not exists (
            select 1
            from ops.holds as h
            inner join ops.pipeline_runs as r on r.id = h.build_id
            where r.job = 's3.' || m.object and r.load_date = m.load_date and h.manifest_hash = m.manifest_hash
        )
        order by m.load_date desc, m.recorded_at desc, m.manifest_id desc
        limit 1
        """,  # noqa: S608
        {"object": name, "load_date": load_date},
    ).fetchone()
    return Manifest(*row) if row else None


def latest(connection: Connection[Any], name: str, load_date: date) -> Manifest | None:
    """The last state that was seen of an object, or of the several of a load_date; None if there never was one."""
    row = connection.execute(
        f"select m.manifest_id, {_STATE} from ops.manifests as m "  # noqa: S608
        "where m.object = %s and m.load_date = %s order by m.recorded_at desc, m.manifest_id desc limit 1",
        [name, load_date],
    ).fetchone()
    return _with_parts(connection, *row) if row else None


def _with_parts(connection: Connection[Any], manifest_id: int, *state: Any) -> Manifest:
    """Return the manifest with that of each object, if it is that of several."""
    whole = Manifest(*state)
    parts = connection.execute(
        "select key, size_bytes, etag, version_id, last_modified from ops.manifest_parts where manifest_id = %s "
        'order by key collate "C"',
        [manifest_id],
    ).fetchall()
    return replace(whole, parts=tuple(Manifest(whole.object, whole.load_date, whole.bucket, *part) for part in parts))


def others(connection: Connection[Any], manifest: Manifest) -> list[Manifest]:
    """Return the other states of an object that were ever seen, of any load_date, each once."""
    rows = connection.execute(
        "select distinct on (o.etag, o.size_bytes) o.object, o.load_date, o.bucket, o.key, o.size_bytes, o.etag, "
        "o.version_id, o.last_modified from ("
        "select object, load_date, bucket, key, size_bytes, etag, version_id, last_modified from ops.manifests "
        "union all select m.object, m.load_date, m.bucket, p.key, p.size_bytes, p.etag, p.version_id, p.last_modified "
        "from ops.manifest_parts as p inner join ops.manifests as m using (manifest_id)"
        ") as o where o.bucket = %s and o.key = %s and (o.etag, o.size_bytes) <> (%s, %s) and length(o.etag) <> 64",
        [manifest.bucket, manifest.key, manifest.etag, manifest.size_bytes],
    ).fetchall()
    return [Manifest(*row) for row in rows]


def states(connection: Connection[Any], name: str, bucket: str, key: str) -> list[Manifest]:
    """Every state of a reference object that a build has seen, in the order in which they landed."""
    rows = connection.execute(
        f"""
        select distinct on (m.last_modified, m.manifest_hash) {_STATE}
        from ops.manifests as m
        where m.object = %s and m.bucket = %s and m.key = %s
        order by m.last_modified, m.manifest_hash, m.manifest_id
        """,  # noqa: S608
        [name, bucket, key],
    ).fetchall()
    return [Manifest(*row) for row in rows]
