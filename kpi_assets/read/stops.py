"""Reads the load_dates of KPIs that did not reach readers: where they stopped, since when, why, and who was told.

Not here: the load_dates that readers are shown (points.py), and how it is said (said.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from kpi_assets.model.ruling import NOT_RULED_OUT
from kpi_assets.model.table import Table
from kpi_assets.read.asked import Asked
from kpi_assets.read.kpi_state import Decided, FailedCheck, Point, Stop, kpi_tables
from kpi_assets.read.turns import growing_names


class Attempt(NamedTuple):
    """The latest build of a table and load_date, or the latest verification of an object, that did not succeed."""

    load_date: date
    asset: str
    build_id: int
    run_id: str
    state: Literal["held", "failed", "running", "missing"]
    since: datetime
    is_over: bool  # held, and what it was made from has been replaced since


# A held build of a raw table is over when its object is another one by now; that of another table, when one of the
# publishes that it was made from has been superseded by other rows.
_LATEST = """
with latest as (
    select distinct on (r.job, r.load_date)
        r.load_date, r.job, r.id, r.run_id, r.started_at, r.ended_at,
        case when r.ended_at <= %(at)s::timestamptz then r.status else 'running' end as state
    from ops.pipeline_runs as r
    where r.job = any(%(jobs)s) and r.load_date between %(first)s and %(last)s and r.started_at <= %(at)s::timestamptz
    order by r.job, r.load_date, r.id desc
)
"""
# The same where a load_date has thousands of builds: the index is asked for the next load_date, and the last build.
_LATEST_OF_MANY = """
with recursive days as (
    select j.job, (
        select min(r.load_date) from ops.pipeline_runs as r where r.job = j.job and r.load_date >= %(first)s
    ) as load_date
    from unnest(%(jobs)s::text[]) as j (job)
    union all
    select d.job, (
        select min(r.load_date) from ops.pipeline_runs as r where r.job = d.job and r.load_date > d.load_date
    )
    from days as d
    where d.load_date < %(last)s
),
latest as (
    select
        d.load_date, d.job, l.id, l.run_id, l.started_at, l.ended_at,
        case when l.ended_at <= %(at)s::timestamptz then l.status else 'running' end as state
    from days as d
    cross join lateral (
        select r.id, r.run_id, r.started_at, r.ended_at, r.status from ops.pipeline_runs as r
        where r.job = d.job and r.load_date = d.load_date and r.started_at <= %(at)s::timestamptz
        order by r.id desc
        limit 1
    ) as l
    where d.load_date <= %(last)s
)
"""
_ATTEMPTS = """
select
    l.load_date, l.job, l.id, l.run_id, l.state,
    case when l.state = 'running' then l.started_at else l.ended_at end as since,
    l.state = 'held' and coalesce(
        case
            when l.job = any(%(raw)s) then h.manifest_hash <> (
                select m.manifest_hash from ops.manifests as m
                where m.object = split_part(l.job, '.', 2) and m.load_date = l.load_date
                and m.recorded_at <= %(at)s::timestamptz
                order by m.recorded_at desc, m.manifest_id desc
                limit 1
            )
            else exists (
                select 1
                from jsonb_each_text(h.inputs) as i
                inner join ops.publishes as p on p.publish_id = i.value::bigint
                cross join lateral (
                    select n.checksum, n.checksum_kind from ops.publishes as n
                    where n.asset = p.asset and n.load_date = p.load_date and n.published_at <= %(at)s::timestamptz
                    order by n.publish_id desc
                    limit 1
                ) as c
                where i.key not like '%%@..%%'
                    and (c.checksum_kind, c.checksum) is distinct from (p.checksum_kind, p.checksum)
            )
        end, false
    ) as is_over
from latest as l
left join ops.holds as h on h.build_id = l.id
where l.state in ('held', 'failed', 'running', 'missing')
"""
_WORST = {"held": 0, "failed": 1, "running": 2, "missing": 3}


def read_attempts(connection: Connection[Any], asked: Asked, latest: Mapping[str, date]) -> list[Attempt]:
    """Return the latest attempts that did not succeed, by load_date, the worst first.

    They are those of the range, and those that are not older than the latest load_date of a KPI.
    """
    jobs = dict.fromkeys(job for table in asked.tables for job in asked.pipeline.made_of[table.relation])
    rows = connection.execute(
        (_LATEST_OF_MANY if growing_names(asked) else _LATEST) + _ATTEMPTS,
        {
            "jobs": [*jobs],
            "raw": [str(table.relation) for table in asked.pipeline.object_tables],
            "first": min(asked.first, *latest.values(), date.max),
            "last": date.max,
            "at": asked.at,
        },
    ).fetchall()
    return sorted(map(Attempt._make, rows), key=lambda each: (each.load_date, _WORST[each.state], each.build_id))


def read_stops(
    connection: Connection[Any],
    asked: Asked,
    latest: Mapping[str, date],
    points: Mapping[str, Mapping[date, Point]],
    attempts: Sequence[Attempt],
) -> dict[str, list[Stop]]:
    """Return the stops of each KPI: of the range, and those that are not older than the latest load_date."""
    stopped = [each for each in attempts if each.state != "missing"]
    checks = _read_failed_checks(connection, asked, stopped)
    told = _read_told(connection, asked, stopped)
    growing = {str(table.relation) for table in asked.pipeline.tables.values() if asked.pipeline.streams_of(table)}
    found: dict[str, list[Stop]] = {}
    for table in asked.tables:
        name = str(table.relation)
        newest, own, stops = latest.get(name), {*asked.pipeline.made_of[table.relation]}, []
        for load_date, of_day in groupby(stopped, key=lambda each: each.load_date):
            point = points[name].get(load_date)
            mine = [
                each
                for each in of_day
                if each.asset in own and not (point and (_is_done(each, point) or _is_growing(each, growing)))
            ]
            is_new = newest is None or load_date >= newest
            if mine and (asked.is_in_range(load_date) or is_new):
                stops.append(_stop_of(mine, checks, told, point))
        found[name] = stops
    for name, waits in _read_waiting(connection, asked).items():
        stopped_days = {stop.load_date for stop in found[name]}
        own_waits = [stop for stop in waits if stop.load_date not in stopped_days]
        found[name] = sorted([*found[name], *own_waits], key=lambda stop: stop.load_date)
    return found


def _read_waiting(connection: Connection[Any], asked: Asked) -> dict[str, list[Stop]]:
    """Return the load_dates of each KPI that are published and wait for other KPIs, which are shown together."""
    found: dict[str, list[Stop]] = {}
    if asked.until == date.max:
        return found
    rows = connection.execute(
        "select load_date, asset, published_at, build_id, run_id from ops.publishes where asset = any(%(kpis)s) "
        "and load_date > %(until)s and published_at <= %(at)s::timestamptz "
        "and (superseded_at is null or superseded_at > %(at)s::timestamptz) order by load_date, asset",
        {"kpis": [str(table.relation) for table in kpi_tables(asked.pipeline)], "until": asked.until, "at": asked.at},
    ).fetchall()
    for load_date, of_day in groupby(rows, key=lambda row: row[0]):
        published = {asset: rest for _, asset, *rest in of_day}
        lacking = sorted(str(kpi) for kpi in asked.pipeline.kpis_due(load_date) if str(kpi) not in published)
        for name in (each for each in asked.names if lacking and each in published):
            since, build_id, run_id = published[name]
            found.setdefault(name, []).append(Stop(load_date, "waiting", since, lacking[0], build_id, run_id))
    return found


def lacking_of(asked: Asked, table: Table, load_date: date | None, attempts: Iterable[Attempt]) -> list[str]:
    """Return the objects of a KPI that had not landed when they were looked for last for a load_date."""
    own = asked.pipeline.made_of[table.relation]
    missing = {each.asset for each in attempts if (each.load_date, each.state) == (load_date, "missing")}
    return [name for name in own if name in missing]


def _is_done(attempt: Attempt, point: Point) -> bool:
    """Return whether a build stops nothing: it made what is shown, and ended when that was recorded, or it is over."""
    return attempt.is_over or attempt.build_id == point.build_id


def _is_growing(attempt: Attempt, growing: Collection[str]) -> bool:
    """Return whether a build adds events to a load_date that readers are shown: it is built all day."""
    return attempt.state == "running" and attempt.asset in growing


def _stop_of(
    attempts: Sequence[Attempt],
    checks: Mapping[int, Sequence[FailedCheck]],
    told: Mapping[int, Sequence[str]],
    point: Point | None,
) -> Stop:
    """Return the stop of a load_date, given its attempts, the worst first."""
    first = attempts[0]
    assert first.state != "missing"
    same = [each for each in attempts if each.state == first.state]
    return Stop(
        first.load_date,
        first.state,
        first.since,
        first.asset,
        first.build_id,
        first.run_id,
        [check for each in same for check in checks.get(each.build_id, ())],
        told.get(first.build_id, ()),
        point.publish_id if point else None,
    )


def _read_failed_checks(
    connection: Connection[Any], asked: Asked, attempts: Iterable[Attempt]
) -> dict[int, list[FailedCheck]]:
    """Return the checks that held the held ones of these builds."""
    held = [each for each in attempts if each.state == "held"]
    found: dict[int, list[FailedCheck]] = {}
    if not held:
        return found
    for build_id, asset, name, metric, threshold, bad, status, by, why in connection.execute(
        """
        select
            q.build_id, q.table_name, q.check_name, q.metric_value, q.threshold, q.rows_bad, q.status, d.ruled_by,
            d.reason
        from ops.data_quality_results as q
        left join lateral (
            select r.ruled_by, r.reason
            from ops.holds as h
            inner join ops.rulings as r on r.asset = q.table_name and r.load_date = q.load_date and r.kind = 'hold'
            and (r.manifest_hash, r.code_version, r.rows, r.checksum)
            = (h.manifest_hash, h.code_version, h.rows, h.checksum)
            where h.build_id = q.build_id and q.check_name = %(not_ruled_out)s
            and (r.revoked_at is null or r.revoked_at > %(at)s::timestamptz)
            order by r.ruling_id
            limit 1
        ) as d on true
        where q.table_name = any(%(assets)s) and q.load_date = any(%(load_dates)s) and q.build_id = any(%(builds)s)
        and q.status in ('fail', 'error') and q.subject <> 'published'
        order by q.id
        """,
        {
            "not_ruled_out": NOT_RULED_OUT,
            "at": asked.at,
            "assets": [*{each.asset for each in held}],
            "load_dates": [*{each.load_date for each in held}],
            "builds": [each.build_id for each in held],
        },
    ).fetchall():
        decided = Decided(by, why) if by else None
        check = FailedCheck(asset, name, metric, threshold, bad, status == "error", decided)
        found.setdefault(build_id, []).append(check)
    return found


def _read_told(connection: Connection[Any], asked: Asked, attempts: Sequence[Attempt]) -> dict[int, Sequence[str]]:
    """Return the channels that delivered the incident of each of these builds, in the order of delivery.

    Not the log: a line in it tells nobody.
    """
    if not attempts:
        return {}
    rows = connection.execute(
        """
        select a.load_date, a.kind, a.closed_at, d.channel
        from ops.alerts as a
        inner join ops.alert_deliveries as d on d.alert_id = a.id
        where a.pipeline_name = %s and a.load_date between %s and %s and a.kind in ('held', 'failed')
        and d.channel <> 'log' and d.delivered_at <= %s::timestamptz
        order by d.delivered_at
        """,
        [asked.pipeline.name, attempts[0].load_date, attempts[-1].load_date, asked.at],
    ).fetchall()
    return {
        each.build_id: [
            *dict.fromkeys(
                channel
                for load_date, kind, closed_at, channel in rows
                if (load_date, kind) == (each.load_date, each.state) and (closed_at is None or closed_at > each.since)
            )
        ]
        for each in attempts
    }
