"""Holds, ops.holds: the inputs of each held build, so that it is not built again from the same inputs.

Also what its checks compared it with, since other rows there may let it pass.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Json, Jsonb

from kpi_assets.ledger.publishes import Publish
from kpi_assets.ledger.recorded import OTHER_COMPARED
from kpi_assets.ledger.runs import Status
from kpi_assets.model.excerpt import RECORD, cut
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import Relation
from kpi_assets.model.ruling import NOT_RULED_OUT, CandidateKey

NOTHING: Mapping[str, int] = {}

# Of `hold`, a build that somebody keeps out: what it read, and the publishes that are read in their place now. They are
# alike if the rows are the same, or others only because persons were erased. Of a history the two are marks, and all
# load_dates between them count. Decisions have no cause, so these are alike if they are the same, or were emptied once.
_KEPT_OUT = """
with hold as (
    select r.id, r.ended_at, d.message, h.inputs
    from ops.pipeline_runs as r
    inner join ops.holds as h on h.build_id = r.id
    inner join ops.data_quality_results as d on d.build_id = r.id and d.table_name = r.job
    and d.load_date = r.load_date and d.check_name = %(check)s and d.status = 'fail'
    where r.job = %(asset)s and r.load_date = %(load_date)s and r.status = 'held' and h.code_version = %(code_version)s
), differing as (
    select
        h.id, i.was, i.now, a.asset, a.load_date, a.erasure, starts_with(i.name, 'decisions.') as is_decided,
        position('@..' in i.name) > 0 as is_up_to, split_part(i.name, '@', 1) as history,
        a.checksum = b.checksum and a.checksum_kind is not distinct from b.checksum_kind as is_same
    from hold as h
    cross join lateral (
        select coalesce(e.key, n.key) as name, e.value::bigint as was, n.value::bigint as now
        from jsonb_each_text(h.inputs) as e
        full join jsonb_each_text(%(inputs)s) as n on n.key = e.key
    ) as i
    left join ops.publishes as a on a.publish_id = i.was
    left join ops.publishes as b on b.publish_id = i.now
    where i.was is distinct from i.now
)
select h.message
from hold as h
where not exists (
    select from differing as d
    where d.id = h.id and not (d.was is not null and d.now is not null and case
        when d.is_decided then d.is_same or d.erasure is not null and not exists (
            select from ops.publishes as p
            where p.asset = d.asset and p.load_date = d.load_date and p.publish_id > d.was and p.publish_id < d.now
        )
        else d.is_same and not d.is_up_to or not exists (
            select from ops.publishes as p
            where case
                when d.is_up_to then p.asset = d.history and p.load_date <= %(load_date)s
                else p.asset = d.asset and p.load_date = d.load_date
            end and (p.removed_at > h.ended_at or p.publish_id > d.was and p.publish_id <= d.now and (
                p.cause <> 'erasure' or p.cause is null and not exists (
                    select from ops.publishes as o
                    where o.asset = p.asset and o.load_date = p.load_date and o.publish_id < p.publish_id
                )
            ))
        )
    end)
)
order by h.id desc
limit 1
"""


def record(
    connection: Connection[Any],
    build_id: int,
    *,
    manifest_hash: str,
    code_version: str,
    checks_version: str = "",
    inputs: Mapping[str, int] = NOTHING,
    compared: Mapping[str, int] = NOTHING,
    rows: int | None = None,
    checksum: str | None = None,
    place: Snapshot | None = None,
    checksum_kind: str | None = None,
) -> None:
    """Record the inputs of a build that is about to be closed as held, and its candidate if it has one.

    `inputs` are as in publishes.record, and so is `compared`: the earlier load_dates with which a failed check has
    compared the build. `place` and `checksum_kind` are as in publishes.record too.
    """
    connection.execute(
        "insert into ops.holds (build_id, manifest_hash, code_version, checks_version, inputs, compared, rows, "
        "checksum, place, checksum_kind) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            build_id,
            manifest_hash,
            code_version,
            checks_version,
            Json(dict(inputs)),
            Json(dict(compared)),
            rows,
            checksum,
            None if place is None else str(place),
            checksum_kind,
        ],
    )


def record_rolled_back(
    connection: Connection[Any], publish: Publish, *, run_id: str, pipeline: str, error: str, checks_version: str
) -> int:
    """Record a publish that was rolled back as a build that is held, and return the number of its row in the run log.

    So nothing starts a run that would only find out that it is kept out. The row is inserted closed, since nothing is
    built; its incident is opened by the caller. `publish` has the inputs that a build would read now.
    """
    row = connection.execute(
        "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status, execution_seconds, ended_at, "
        "error_message) values (%s, %s, %s, %s, 'held', 0, clock_timestamp(), %s) returning id",
        [run_id, pipeline, publish.asset, publish.load_date, cut(error, RECORD)],
    ).fetchone()
    assert row is not None
    record(
        connection,
        row[0],
        manifest_hash=publish.manifest_hash,
        code_version=publish.code_version,
        checks_version=checks_version,
        inputs=publish.inputs,
        rows=publish.rows,
        checksum=publish.checksum,
        checksum_kind=publish.checksum_kind,
    )
    return int(row[0])


def kept_out(
    connection: Connection[Any], relation: Relation, load_date: date, code_version: str, inputs: Mapping[str, int]
) -> str:
    """Return what was said when somebody kept out the very SQL of a table on the rows of these inputs; empty if nobody.

    What was rolled back was made of other rows than readers see since, if its inputs were rolled back with it. So its
    SQL would give a build that no ruling names.
    """
    words = {
        "asset": str(relation),
        "load_date": load_date,
        "code_version": code_version,
        "inputs": Jsonb(dict(inputs)),
        "check": NOT_RULED_OUT,
    }
    row = connection.execute(_KEPT_OUT, words).fetchone()
    return row[0] if row else ""


@dataclass(frozen=True)
class LastBuild:
    """The latest build of a table and load_date; the last four fields are those of a held one."""

    status: Status
    at: datetime  # when it ended; when it began if it has not ended
    code_version: str | None
    checks_version: str | None
    inputs: Mapping[str, int] | None
    is_compared_otherwise: bool  # whether its checks would compare it with other rows now


_LAST_BUILDS = f"""
select
    w.job, b.status, b.at, h.code_version, h.checks_version, h.inputs,
    h.build_id is not null and {OTHER_COMPARED.format(build="b", asset="w.job")}
from unnest(%s::text[]) as w (job)
cross join lateral (
    select r.id, r.status, r.load_date, coalesce(r.ended_at, r.started_at) as at
    from ops.pipeline_runs as r
    where r.job = w.job and r.load_date = %s
    order by r.id desc
    limit 1
) as b
left join ops.holds as h on h.build_id = b.id and b.status = 'held'
"""  # noqa: S608


def last_builds(
    connection: Connection[Any], relations: Iterable[Relation], load_date: date
) -> dict[Relation, LastBuild]:
    """The latest build of each of several tables, as `last_build` returns it; tables without one are absent."""
    rows = connection.execute(_LAST_BUILDS, [[str(relation) for relation in relations], load_date]).fetchall()
    return {Relation.parse(job): LastBuild(*found) for job, *found in rows}


def last_build(connection: Connection[Any], relation: Relation, load_date: date) -> LastBuild | None:
    """The latest build of a table and load_date, with what it read if it was held; None if there was none."""
    return last_builds(connection, [relation], load_date).get(relation)


@dataclass(frozen=True)
class HeldCandidate:
    """The candidate of a held build. It is no more there once a later build of the same load_date has begun.

    `key` is None if an earlier version of kpi_assets held it, `relation` if it has none in the schema builds, `message`
    says what held it, and `is_unique` whether its check of the grain passed. A later build began unless `is_latest`. Of
    a table on the lake, `snapshot` has its rows.
    """

    build_id: int
    key: CandidateKey | None
    relation: Relation | None
    message: str
    is_unique: bool
    is_latest: bool
    snapshot: Snapshot | None = None


def last_candidate(connection: Connection[Any], relation: Relation, load_date: date) -> HeldCandidate | None:
    """The candidate of the last held build of a table and load_date; None if none was ever held."""
    row = connection.execute(
        "select r.id, h.manifest_hash, h.code_version, h.checks_version, h.rows, h.checksum, r.candidate, "
        "r.error_message, exists (select 1 from ops.data_quality_results as d where d.table_name = r.job "
        "and d.load_date = r.load_date and d.build_id = r.id and d.subject = 'candidate' and d.check_name = 'grain' "
        "and d.status = 'pass'), not exists (select 1 from ops.pipeline_runs as n where n.job = r.job "
        "and n.load_date = r.load_date and n.id > r.id), h.place "
        "from ops.pipeline_runs as r left join ops.holds as h on h.build_id = r.id "
        "where r.job = %s and r.load_date = %s and r.status = 'held' order by r.id desc limit 1",
        [str(relation), load_date],
    ).fetchone()
    if row is None:
        return None
    build_id, *key, candidate, message, is_unique, is_latest, place = row
    return HeldCandidate(
        build_id,
        None if None in key else CandidateKey(*key),
        Relation.parse(candidate) if candidate else None,
        message or "",
        is_unique,
        is_latest,
        Snapshot.parse(place) if place else None,
    )
