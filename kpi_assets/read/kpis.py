"""Reads KPIs with all that is known of each number: the load_dates shown, those that are not, and what was restated.

Everything is read from the ledger in one snapshot, now or as of an instant in the past. The rows of a KPI are not read
here (breakdown.py), nor what a publish was made from (lineage.py).

Belongs here: what is true of a KPI. Not here: how it is said to readers (said.py), and the tile of one measure
(tiles.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from kpi_assets.model.measure import Measure
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.monitoring.freshness import due_by
from kpi_assets.read.restated import Gap, find_reasons

# What a reader is told of a KPI's newest load_date; the first that applies:
#   none       nothing was ever published
#   held       a newer load_date, or a correction of this one, is held by a gate
#   failed     a newer load_date, or a correction of this one, failed
#   running    a newer load_date, or a correction of this one, is being built
#   late       the newest load_date is older than its freshness allows
#   warned     its newest load_date passed with warnings
#   published  its newest load_date passed
KpiGate = Literal["none", "held", "failed", "running", "late", "warned", "published"]
Values = Mapping[str, Decimal | None]  # measure -> its value; None if there is none


@dataclass(frozen=True)
class Restatement:
    """A load_date was published again with other rows: what readers saw before, and what they see since."""

    load_date: date
    publish_id: int
    was_publish_id: int
    at: datetime
    why: str  # a clause for readers, such as `the source object of orders was replaced`
    was: Values
    now: Values


@dataclass(frozen=True)
class Point:
    """One load_date that is shown, by its publish. `values` has only measures that were computed for it."""

    load_date: date
    publish_id: int
    build_id: int
    run_id: str
    published_at: datetime
    rows: int
    code_version: str
    values: Values
    checks: int  # of the KPI's own table
    warnings: int
    restated: Sequence[Restatement] = ()  # the oldest first
    dropped_at: datetime | None = None  # when retention dropped its rows: its values are shown, its rows cannot be


@dataclass(frozen=True)
class FailedCheck:
    """A check that held a build, and the table or object (`s3.x`) of the build.

    `metric` is what the check measured; `bad` is the number of bad rows, None of a check that counts no rows. A check
    that could not be made `errored`.
    """

    asset: str
    name: str
    metric: Decimal | None
    threshold: Decimal | None
    bad: int | None
    errored: bool = False


@dataclass(frozen=True)
class Stop:
    """A load_date whose latest build did not reach readers: the state of that build, since when, and where it stopped.

    `asset` is the table or object (`s3.x`) at which it stopped: the KPI itself or one that it comes from. `kept` is the
    publish that readers are shown of the load_date meanwhile, so that a correction of it is what was stopped; None if
    they are shown nothing of it.
    """

    load_date: date
    state: Literal["held", "failed", "running"]
    since: datetime
    asset: str
    build_id: int
    run_id: str
    checks: Sequence[FailedCheck] = ()  # that held it, of all its tables and objects
    told: Sequence[str] = ()  # the channels through which somebody was told
    kept: int | None = None

    @property
    def is_correction(self) -> bool:
        """Whether readers are shown an earlier publish of the load_date meanwhile."""
        return self.kept is not None


@dataclass(frozen=True)
class KpiState:
    """A KPI as readers see it: `points` and `stops` by load_date, the oldest first."""

    pipeline: Pipeline
    table: Table
    points: Sequence[Point]
    stops: Sequence[Stop]
    due_by: datetime | None  # when the load_date after the latest must be published; None without a freshness
    late: bool
    as_of: datetime | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    now: datetime | None = None  # the instant for which it is true: as_of, or when it was read
    next_due: date | None = None  # the load_date after the latest that is due
    beyond: Sequence[Point] = ()  # load_dates out of the range that was asked for, with which others are compared

    @property
    def id(self) -> str:
        """`pipeline/table`, as in addresses; see kpi_id."""
        return kpi_id(self.pipeline, self.table)

    @property
    def title(self) -> str:
        """What readers call it."""
        assert self.table.header.kpi
        return self.table.header.kpi.title or self.table.relation.table.replace("_", " ")

    @property
    def latest(self) -> Point | None:
        """The newest load_date that is shown."""
        return self.points[-1] if self.points else None

    def point(self, load_date: date) -> Point | None:
        """Return a load_date that is shown; None if it is not, or was not asked for."""
        return next((each for each in (*self.points, *self.beyond) if each.load_date == load_date), None)

    @property
    def stop(self) -> Stop | None:
        """The newest load_date that did not reach readers, if they are shown no newer one.

        It may be a correction of the newest load_date that is shown: see Stop.is_correction.
        """
        newer = [stop for stop in self.stops if self.latest is None or stop.load_date >= self.latest.load_date]
        return newer[-1] if newer else None

    def stop_of(self, load_date: date) -> Stop | None:
        """Return the stop of a load_date, shown or not; None if there is none."""
        return next((stop for stop in self.stops if stop.load_date == load_date), None)

    @property
    def gate(self) -> KpiGate:
        """What a reader is told of its newest load_date."""
        if self.stop:
            return self.stop.state
        if self.latest is None:
            return "none"
        if self.late:
            return "late"
        return "warned" if self.latest.warnings else "published"


def kpi_tables(pipeline: Pipeline) -> list[Table]:
    """Return the KPIs of a pipeline, in its order."""
    return [table for table in pipeline.tables.values() if table.header.kpi]


def kpi_id(pipeline: Pipeline, table: Table) -> str:
    """Return `pipeline/table`; with the schema if another KPI of the pipeline has the same name."""
    same = [each for each in kpi_tables(pipeline) if each.relation.table == table.relation.table]
    return f"{pipeline.name}/{table.relation.table if len(same) == 1 else table.relation}"


def find_kpi(pipeline: Pipeline, name: str) -> Table | None:
    """Return the KPI of this name, with or without its schema; None if there is none."""
    found = [each for each in kpi_tables(pipeline) if name in (each.relation.table, str(each.relation))]
    return found[0] if len(found) == 1 else None


def read_kpis(
    connection: Connection[Any],
    pipeline: Pipeline,
    *,
    now: datetime,
    as_of: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
    only: Table | None = None,
) -> list[KpiState]:
    """Return the KPIs of a pipeline, or `only` one: the load_dates from `first` to `last`.

    They are as they were shown at `as_of`, by default now. Call it inside one snapshot. The latest load_date is always
    among the points, and stops that are not older than it among the stops.
    """
    tables = [only] if only else kpi_tables(pipeline)
    if not tables:
        return []
    asked = _Asked(pipeline, tables, as_of, first or date.min, last or date.max)
    latest = _read_latest(connection, asked)
    points = _read_points(connection, asked, latest)
    stops = _read_stops(connection, asked, latest, points)
    at = as_of or now
    found = []
    for table in tables:
        name = str(table.relation)
        next_due = pipeline.calendars[table.relation].next_after(latest[name]) if name in latest else None
        freshness = table.header.freshness
        due = due_by(next_due, freshness.within_hours) if next_due and freshness else None
        shown = {day: asked.is_in_range(day) or day == latest[name] for day in points[name]}
        found.append(
            KpiState(
                pipeline,
                table,
                [point for day, point in points[name].items() if shown[day]],
                stops[name],
                due,
                late=due is not None and due < at,
                as_of=as_of,
                measures=_measures_of(table),
                now=at,
                next_due=next_due,
                beyond=[point for day, point in points[name].items() if not shown[day]],
            )
        )
    return found


def upstream_of(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return, for each table, all tables and objects from which its rows come, in build order, itself the last."""
    found: dict[str, dict[str, None]] = {}
    for relation, table in pipeline.tables.items():
        own: dict[str, None] = {}
        for read in pipeline.inputs_of(table):
            own.update(found.get(str(read), {}))
        if table.has_object:
            own[table.object_name] = None
        own[str(relation)] = None
        found[str(relation)] = own
    return {name: list(names) for name, names in found.items()}


@dataclass(frozen=True)
class _Asked:
    """What was asked for."""

    pipeline: Pipeline
    tables: Sequence[Table]
    as_of: datetime | None
    first: date
    last: date

    @property
    def names(self) -> list[str]:
        return [str(table.relation) for table in self.tables]

    @property
    def at(self) -> str:
        """The instant as a parameter of SQL: infinity is now."""
        return self.as_of.isoformat() if self.as_of else "infinity"

    def is_in_range(self, load_date: date) -> bool:
        return self.first <= load_date <= self.last


def _measures_of(table: Table) -> Mapping[str, Measure]:
    assert table.header.kpi
    return table.header.kpi.measures


def _compares(table: Table) -> set[int]:
    """Return how many days before a load_date those lie with which measures of a KPI are compared."""
    return {measure.compare for measure in _measures_of(table).values()}


def _read_latest(connection: Connection[Any], asked: _Asked) -> dict[str, date]:
    """Return the newest load_date that is shown of each KPI that has one."""
    rows = connection.execute(
        """
        select w.asset, l.load_date
        from unnest(%(assets)s::text[]) as w (asset)
        cross join lateral (
            select p.load_date
            from ops.publishes as p
            where p.asset = w.asset and p.published_at <= %(at)s::timestamptz
            and (p.removed_at is null or p.removed_at > %(at)s::timestamptz)
            order by p.load_date desc
            limit 1
        ) as l
        """,
        {"assets": asked.names, "at": asked.at},
    ).fetchall()
    return dict(rows)


class _Publish(NamedTuple):
    """What is read of each publish of a KPI."""

    asset: str
    load_date: date
    publish_id: int
    build_id: int
    run_id: str
    published_at: datetime
    rows: int
    code_version: str
    checksum: str
    dropped_at: datetime | None
    removed_at: datetime | None


def _read_points(
    connection: Connection[Any], asked: _Asked, latest: Mapping[str, date]
) -> dict[str, dict[date, Point]]:
    """Return the load_dates that are shown of each KPI, by load_date: of the range, and those they are compared with.

    The last publish of a load_date is shown, unless the load_date was removed since. Its rows may have been dropped by
    retention: its values are known all the same.
    """
    compares = {days for table in asked.tables for days in _compares(table)}
    reach = timedelta(days=max(compares, default=0))
    others = {day - timedelta(days=days) for day in latest.values() for days in (0, *compares)}
    begin = max(asked.first, date.min + reach) - reach
    found = connection.execute(
        """
        select asset, load_date, publish_id, build_id, run_id, published_at, rows, code_version, checksum,
            dropped_at, removed_at
        from ops.publishes
        where asset = any(%(assets)s) and (load_date between %(first)s and %(last)s or load_date = any(%(others)s))
        and published_at <= %(at)s::timestamptz
        order by asset, load_date, publish_id
        """,
        {"assets": asked.names, "first": begin, "last": asked.last, "others": [*others], "at": asked.at},
    ).fetchall()
    of_load_date = [
        (asset, load_date, list(publishes))
        for (asset, load_date), publishes in groupby(map(_Publish._make, found), key=itemgetter(0, 1))
    ]
    shown = [each for each in of_load_date if not _is_before(each[2][-1].removed_at, asked.as_of)]
    pairs = [
        (before, after)
        for _, _, publishes in shown
        for before, after in pairwise(publishes)
        if before.checksum != after.checksum
    ]
    reasons = find_reasons(
        connection,
        asked.pipeline,
        {(before.publish_id, after.publish_id): _gap(before, after) for before, after in pairs},
    )
    values = _read_values(connection, [each[-1].publish_id for _, _, each in shown], pairs)
    checks = _read_checks(connection, asked, [load_date for _, load_date, _ in shown])
    points: dict[str, dict[date, Point]] = {name: {} for name in asked.names}
    for asset, load_date, publishes in shown:
        last = publishes[-1]
        count, warnings = checks.get(last.build_id, (0, 0))
        points[asset][load_date] = Point(
            load_date,
            last.publish_id,
            last.build_id,
            last.run_id,
            last.published_at,
            last.rows,
            last.code_version,
            values.get(last.publish_id, {}),
            count,
            warnings,
            [
                Restatement(
                    load_date,
                    after.publish_id,
                    before.publish_id,
                    after.published_at,
                    reasons[before.publish_id, after.publish_id],
                    values.get(before.publish_id, {}),
                    values.get(after.publish_id, {}),
                )
                for before, after in pairwise(publishes)
                if before.checksum != after.checksum
            ],
            last.dropped_at if _is_before(last.dropped_at, asked.as_of) else None,
        )
    return points


def _is_before(instant: datetime | None, as_of: datetime | None) -> bool:
    """Return whether something had happened at `as_of`, by default by now."""
    return instant is not None and (as_of is None or instant <= as_of)


def _gap(before: _Publish, after: _Publish) -> Gap:
    """Return why there were no rows between two publishes of a load_date, if there were none."""
    if _is_before(before.removed_at, after.published_at):
        return "removed"
    return "dropped" if before.dropped_at else None


def _read_values(
    connection: Connection[Any], shown: Sequence[int], pairs: Iterable[tuple[_Publish, _Publish]]
) -> dict[int, dict[str, Decimal | None]]:
    """Return the values of the publishes that are shown, and of those that were restated."""
    wanted = {*shown, *(each.publish_id for pair in pairs for each in pair)}
    found: dict[int, dict[str, Decimal | None]] = {}
    for publish_id, measure, value in connection.execute(
        "select publish_id, measure, value from ops.kpi_values where publish_id = any(%s)", [sorted(wanted)]
    ).fetchall():
        found.setdefault(publish_id, {})[measure] = value
    return found


def _read_checks(
    connection: Connection[Any], asked: _Asked, load_dates: Collection[date]
) -> dict[int, tuple[int, int]]:
    """Return how many checks each build of the KPIs has, and how many of them did not pass when they were made last.

    A recheck makes the checks of published rows again, and one more.
    """
    if not load_dates:
        return {}
    found = connection.execute(
        """
        select
            build_id, count(*) filter (where subject = 'candidate'),
            array_agg(array[check_name, status] order by id) filter (where status <> 'pass' or subject = 'published')
        from ops.data_quality_results
        where table_name = any(%s) and load_date between %s and %s and checked_at <= %s::timestamptz
        and subject <> 'object' and build_id is not null
        group by build_id
        """,
        [asked.names, min(load_dates), max(load_dates), asked.at],
    ).fetchall()
    return {
        build_id: (count, sum(status != "pass" for status in dict(of_check or ()).values()))
        for build_id, count, of_check in found
    }


class _Attempt(NamedTuple):
    """The latest build of a table and load_date, or the latest verification of an object, that did not succeed."""

    load_date: date
    asset: str
    build_id: int
    run_id: str
    state: Literal["held", "failed", "running"]
    since: datetime
    is_over: bool  # held, and what it was made from has been replaced since


# A held build of a raw table is over when its object is another one by now; that of another table, when one of the
# publishes that it was made from has been superseded by other rows.
_ATTEMPTS = """
with latest as (
    select distinct on (r.job, r.load_date)
        r.load_date, r.job, r.id, r.run_id, r.started_at, r.ended_at,
        case when r.ended_at <= %(at)s::timestamptz then r.status else 'running' end as state
    from ops.pipeline_runs as r
    where r.job = any(%(jobs)s) and r.load_date between %(first)s and %(last)s and r.started_at <= %(at)s::timestamptz
    order by r.job, r.load_date, r.id desc
)
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
                    select n.checksum from ops.publishes as n
                    where n.asset = p.asset and n.load_date = p.load_date and n.published_at <= %(at)s::timestamptz
                    order by n.publish_id desc
                    limit 1
                ) as c
                where i.key not like '%%@..%%' and c.checksum <> p.checksum
            )
        end, false
    ) as is_over
from latest as l
left join ops.holds as h on h.build_id = l.id
where l.state in ('held', 'failed', 'running')
"""
_WORST = {"held": 0, "failed": 1, "running": 2}


def _read_stops(
    connection: Connection[Any],
    asked: _Asked,
    latest: Mapping[str, date],
    points: Mapping[str, Mapping[date, Point]],
) -> dict[str, list[Stop]]:
    """Return the stops of each KPI: of the range, and those that are not older than the latest load_date."""
    upstream = upstream_of(asked.pipeline)
    jobs = dict.fromkeys(job for name in asked.names for job in upstream[name])
    order = {job: number for number, job in enumerate(jobs)}
    attempts = list(
        map(
            _Attempt._make,
            connection.execute(
                _ATTEMPTS,
                {
                    "jobs": [*jobs],
                    "raw": [str(table.relation) for table in asked.pipeline.object_tables],
                    "first": min(asked.first, *latest.values(), date.max),
                    "last": date.max,
                    "at": asked.at,
                },
            ).fetchall(),
        )
    )
    attempts.sort(key=lambda each: (each.load_date, _WORST[each.state], order[each.asset]))
    checks = _read_failed_checks(connection, attempts)
    told = _read_told(connection, asked, attempts)
    found: dict[str, list[Stop]] = {}
    for name in asked.names:
        newest, own, stops = latest.get(name), {*upstream[name]}, []
        for load_date, of_day in groupby(attempts, key=lambda each: each.load_date):
            point = points[name].get(load_date)
            mine = [each for each in of_day if each.asset in own and not (point and each.is_over)]
            is_new = newest is None or load_date >= newest
            if mine and (asked.is_in_range(load_date) or is_new):
                stops.append(_stop_of(mine, checks, told, point))
        found[name] = stops
    return found


def _stop_of(
    attempts: Sequence[_Attempt],
    checks: Mapping[int, Sequence[FailedCheck]],
    told: Mapping[int, Sequence[str]],
    point: Point | None,
) -> Stop:
    """Return the stop of a load_date, given its attempts, the worst first."""
    first = attempts[0]
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


def _read_failed_checks(connection: Connection[Any], attempts: Iterable[_Attempt]) -> dict[int, list[FailedCheck]]:
    """Return the checks that held the held ones of these builds."""
    held = [each for each in attempts if each.state == "held"]
    found: dict[int, list[FailedCheck]] = {}
    if not held:
        return found
    for build_id, *check, status in connection.execute(
        """
        select build_id, table_name, check_name, metric_value, threshold, rows_bad, status
        from ops.data_quality_results
        where table_name = any(%(assets)s) and load_date = any(%(load_dates)s) and build_id = any(%(builds)s)
        and status in ('fail', 'error') and subject <> 'published'
        order by id
        """,
        {
            "assets": [*{each.asset for each in held}],
            "load_dates": [*{each.load_date for each in held}],
            "builds": [each.build_id for each in held],
        },
    ).fetchall():
        found.setdefault(build_id, []).append(FailedCheck(*check, errored=status == "error"))
    return found


def _read_told(connection: Connection[Any], asked: _Asked, attempts: Sequence[_Attempt]) -> dict[int, Sequence[str]]:
    """Return the channels that delivered the incident of each of these builds, in the order of delivery."""
    if not attempts:
        return {}
    rows = connection.execute(
        """
        select a.load_date, a.kind, a.closed_at, d.channel
        from ops.alerts as a
        inner join ops.alert_deliveries as d on d.alert_id = a.id
        where a.pipeline_name = %s and a.load_date between %s and %s and a.kind in ('held', 'failed')
        and d.delivered_at <= %s::timestamptz
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
