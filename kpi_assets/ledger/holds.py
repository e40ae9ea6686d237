"""Holds, ops.holds: the inputs of each held build, so that it is not built again from the same inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Json

from kpi_assets.ledger.runs import Status
from kpi_assets.model.names import Relation

NOTHING: Mapping[str, int] = {}


def record(
    connection: Connection[Any],
    build_id: int,
    *,
    manifest_hash: str,
    code_version: str,
    checks_version: str = "",
    inputs: Mapping[str, int] = NOTHING,
) -> None:
    """Record the inputs of a build that is about to be closed as held; `inputs` as in publishes.record."""
    connection.execute(
        "insert into ops.holds (build_id, manifest_hash, code_version, checks_version, inputs) "
        "values (%s, %s, %s, %s, %s)",
        [
            build_id,
            manifest_hash,
            code_version,
            checks_version,
            Json(dict(inputs)),
        ],
    )


@dataclass(frozen=True)
class LastBuild:
    """The latest build of a table and load_date; the last three fields are those of a held one."""

    status: Status
    at: datetime  # when it ended; when it began if it has not ended
    code_version: str | None
    checks_version: str | None
    inputs: Mapping[str, int] | None


def last_builds(
    connection: Connection[Any], relations: Iterable[Relation], load_date: date
) -> dict[Relation, LastBuild]:
    """The latest build of each of several tables, as `last_build` returns it; tables without one are absent."""
    rows = connection.execute(
        "select w.job, b.status, b.at, h.code_version, h.checks_version, h.inputs "
        "from unnest(%s::text[]) as w (job) cross join lateral ("
        "select r.id, r.status, coalesce(r.ended_at, r.started_at) as at from ops.pipeline_runs as r "
        "where r.job = w.job and r.load_date = %s order by r.id desc limit 1) as b "
        "left join ops.holds as h on h.build_id = b.id and b.status = 'held'",
        [[str(relation) for relation in relations], load_date],
    ).fetchall()
    return {Relation.parse(job): LastBuild(*found) for job, *found in rows}


def last_build(connection: Connection[Any], relation: Relation, load_date: date) -> LastBuild | None:
    """The latest build of a table and load_date, with what it read if it was held; None if there was none."""
    return last_builds(connection, [relation], load_date).get(relation)


@dataclass(frozen=True)
class StoredCandidate:
    """The candidate of a held build. It is no more there once a later build of the same load_date has begun."""

    build_id: int
    relation: Relation  # in the schema builds
    message: str  # what held the build
    is_unique: bool  # whether its check of the grain passed


def last_candidate(connection: Connection[Any], relation: Relation, load_date: date) -> StoredCandidate | None:
    """The candidate of the last held build of a table and load_date; None if none was ever held."""
    row = connection.execute(
        "select r.id, r.candidate, r.error_message, exists (select 1 from ops.data_quality_results as d "
        "where d.table_name = r.job and d.load_date = r.load_date and d.build_id = r.id and d.subject = 'candidate' "
        "and d.check_name = 'grain' and d.status = 'pass') from ops.pipeline_runs as r "
        "where r.job = %s and r.load_date = %s and r.status = 'held' and r.candidate is not null "
        "order by r.id desc limit 1",
        [str(relation), load_date],
    ).fetchone()
    if row is None:
        return None
    build_id, candidate, message, is_unique = row
    return StoredCandidate(build_id, Relation.parse(candidate), message or "", is_unique)
