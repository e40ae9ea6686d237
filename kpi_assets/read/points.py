"""Reads the load_dates that readers are shown of KPIs, with their values, their checks and their restatements.

Not here: those that readers are not shown (stops.py), which publishes of a load_date that grows are read (turns.py),
and how it is said why a load_date was restated (restated.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.ledger import causes
from kpi_assets.ledger.causes import Cause
from kpi_assets.model.names import InputName
from kpi_assets.monitoring.reasons import Gap, reason
from kpi_assets.read.asked import Asked, compares_of
from kpi_assets.read.kpi_state import Point, Restatement
from kpi_assets.read.turns import growing_names, read_turns
from kpi_assets.read.waivers import read_waivers


def read_latest(connection: Connection[Any], asked: Asked) -> dict[str, date]:
    """Return the newest load_date that is shown of each KPI that has one."""
    rows = connection.execute(
        """
        select w.asset, l.load_date
        from unnest(%(assets)s::text[]) as w (asset)
        cross join lateral (
            select p.load_date
            from ops.publishes as p
            where p.asset = w.asset and p.published_at <= %(at)s::timestamptz and p.load_date <= %(until)s
            and (p.removed_at is null or p.removed_at > %(at)s::timestamptz)
            order by p.load_date desc
            limit 1
        ) as l
        """,
        {"assets": asked.names, "at": asked.at, "until": asked.until},
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
    dropped_at: datetime | None
    removed_at: datetime | None
    cause: Cause | None
    caused_by: Sequence[int] | None
    differences: Sequence[Mapping[str, Any]] | None
    rulings: Sequence[int]
    lacks: Sequence[str]


class _Day(NamedTuple):
    """What is read of a load_date of a KPI: its last publish, and neighbors among its publishes, the oldest first."""

    last: _Publish
    neighbors: Sequence[tuple[_Publish, _Publish]]

    @property
    def restated(self) -> list[tuple[_Publish, _Publish]]:
        """The neighbors that have other rows."""
        return [(before, after) for before, after in self.neighbors if after.cause]


_PUBLISHES = """
select asset, load_date, publish_id, build_id, run_id, published_at, rows, code_version, dropped_at, removed_at,
    cause, caused_by, differences, rulings, lacks
from ops.publishes
"""


def _read_days(connection: Connection[Any], asked: Asked, begin: date, others: Collection[date]) -> Iterable[_Day]:
    """Yield the load_dates of the KPIs that do not grow."""
    growing = {*growing_names(asked)}
    found = connection.execute(
        _PUBLISHES + "where asset = any(%(assets)s) "
        "and (load_date between %(first)s and %(last)s or load_date = any(%(others)s)) "
        "and published_at <= %(at)s::timestamptz "
        "order by asset, load_date, publish_id",
        {
            "assets": [name for name in asked.names if name not in growing],
            "first": begin,
            "last": min(asked.last, asked.until),
            "others": [*others],
            "at": asked.at,
        },
    ).fetchall()
    for _, of_day in groupby(map(_Publish._make, found), key=itemgetter(0, 1)):
        publishes = list(of_day)
        yield _Day(publishes[-1], list(pairwise(publishes)))


def _read_growing_days(
    connection: Connection[Any], asked: Asked, begin: date, others: Collection[date]
) -> Iterable[_Day]:
    """Yield the load_dates of the KPIs that grow: of their publishes, those that did not only add events."""
    turns = read_turns(connection, asked, begin, others)
    if not turns:
        return
    wanted = {each for of_day in turns.values() for each in (of_day.last, *chain(*of_day.pairs))}
    found = connection.execute(_PUBLISHES + "where publish_id = any(%s)", [list(wanted)]).fetchall()
    by_id = {each.publish_id: each for each in map(_Publish._make, found)}
    for of_day in turns.values():
        yield _Day(by_id[of_day.last], [(by_id[before], by_id[after]) for before, after in of_day.pairs])


def read_points(connection: Connection[Any], asked: Asked, latest: Mapping[str, date]) -> dict[str, dict[date, Point]]:
    """Return the load_dates that are shown of each KPI, by load_date: of the range, and those they are compared with.

    The last publish of a load_date is shown, unless the load_date was removed since. Its rows may have been dropped by
    retention: its values are known all the same.
    """
    compares = {days for table in asked.tables for days in compares_of(table)}
    reach = timedelta(days=max(compares, default=0))
    others = {day - timedelta(days=days) for day in latest.values() for days in (0, *compares)}
    begin = max(asked.first, date.min + reach) - reach
    days = [*_read_days(connection, asked, begin, others), *_read_growing_days(connection, asked, begin, others)]
    shown = [each for each in days if not _is_before(each.last.removed_at, asked.as_of)]
    pairs = [pair for each in shown for pair in each.restated]
    values = _read_values(connection, asked, [each.last.publish_id for each in shown], pairs)
    checks = _read_checks(connection, asked, [each.last for each in shown])
    waivers = read_waivers(connection, asked, {ruling for each in shown for ruling in each.last.rulings})
    points: dict[str, dict[date, Point]] = {name: {} for name in asked.names}
    for of_day in sorted(shown, key=lambda each: each.last[:2]):
        last = of_day.last
        asset, load_date = last.asset, last.load_date
        count, warnings = checks.get(last.build_id, (0, 0))
        own = values.get(last.publish_id, _NO_VALUES)
        points[asset][load_date] = Point(
            load_date,
            last.publish_id,
            last.build_id,
            last.run_id,
            last.published_at,
            last.rows,
            last.code_version,
            own.values,
            count,
            warnings,
            [_restatement(asked, before, after, values) for before, after in of_day.restated],
            last.dropped_at if _is_before(last.dropped_at, asked.as_of) else None,
            own.versions,
            [each for ruling, each in waivers.items() if ruling in last.rulings],
            [*map(InputName.parse, last.lacks)],
        )
    return points


def _restatement(asked: Asked, before: _Publish, after: _Publish, values: Mapping[int, "_Values"]) -> Restatement:
    was, now = (values.get(each.publish_id, _NO_VALUES) for each in (before, after))
    assert after.cause
    return Restatement(
        after.load_date,
        after.publish_id,
        before.publish_id,
        after.published_at,
        reason(asked.pipeline, after.load_date, causes.differences(after.differences), _gap(before, after)),
        was.like(now),
        now.values,
        now.versions,
        after.cause,
        after.caused_by or (),
    )


def _is_before(instant: datetime | None, as_of: datetime | None) -> bool:
    """Return whether something had happened at `as_of`, by default by now."""
    return instant is not None and (as_of is None or instant <= as_of)


def _gap(before: _Publish, after: _Publish) -> Gap:
    """Return why there were no rows between two publishes of a load_date, if there were none."""
    if _is_before(before.removed_at, after.published_at):
        return "removed"
    return "dropped" if before.dropped_at else None


class _Values(NamedTuple):
    """The measures of a publish, and the versions of their expressions."""

    values: dict[str, Decimal | None]
    versions: dict[str, str]

    def like(self, other: "_Values") -> dict[str, Decimal | None]:
        """Return the values that were computed by the same expressions as those of another publish."""
        same = self.versions.items() & other.versions.items()
        return {name: value for name, value in self.values.items() if (name, self.versions[name]) in same}


_NO_VALUES = _Values({}, {})


def _read_values(
    connection: Connection[Any], asked: Asked, shown: Sequence[int], pairs: Iterable[tuple[_Publish, _Publish]]
) -> dict[int, _Values]:
    """Return the values of the publishes that are shown, and of those that were restated.

    A value that was refreshed after `as_of` is left out: readers saw another one, or none.
    """
    wanted = {*shown, *(each.publish_id for pair in pairs for each in pair)}
    found: dict[int, _Values] = {}
    for publish_id, measure, version, value in connection.execute(
        "select publish_id, measure, measure_version, value from ops.kpi_values where publish_id = any(%s) "
        "and (refreshed_at is null or refreshed_at <= %s::timestamptz)",
        [sorted(wanted), asked.at],
    ).fetchall():
        of = found.get(publish_id)
        if of is None:
            of = found[publish_id] = _Values({}, {})
        of.values[measure], of.versions[measure] = value, version
    return found


def _read_checks(connection: Connection[Any], asked: Asked, shown: Collection[_Publish]) -> dict[int, tuple[int, int]]:
    """Return how many checks each build of the KPIs has, and how many of them did not pass when they were made last.

    A recheck makes the checks of published rows again, and one more.
    """
    growing = {*growing_names(asked)}
    load_dates = [each.load_date for each in shown if each.asset not in growing]
    of_growing = _read_last_checks(connection, asked, [each for each in shown if each.asset in growing])
    if not load_dates:
        return of_growing
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
        [[name for name in asked.names if name not in growing], min(load_dates), max(load_dates), asked.at],
    ).fetchall()
    return of_growing | {
        build_id: (count, sum(status != "pass" for status in dict(of_check or ()).values()))
        for build_id, count, of_check in found
    }


# The index is asked for the next name of a check, and the last result of each: a load_date that grows has thousands.
_LAST_CHECKS = """
with recursive shown as (
    select * from unnest(%s::text[], %s::date[], %s::bigint[]) as s (asset, load_date, build_id)
),
names as (
    select s.*, (
        select min(q.check_name) from ops.data_quality_results as q
        where q.table_name = s.asset and q.load_date = s.load_date
    ) as check_name
    from shown as s
    union all
    select n.asset, n.load_date, n.build_id, (
        select min(q.check_name) from ops.data_quality_results as q
        where q.table_name = n.asset and q.load_date = n.load_date and q.check_name > n.check_name
    )
    from names as n
    where n.check_name is not null
)
select n.build_id, count(c.id), count(*) filter (where r.status <> 'pass')
from names as n
cross join lateral (
    select q.status from ops.data_quality_results as q
    where
        q.table_name = n.asset and q.load_date = n.load_date and q.check_name = n.check_name
        and q.build_id = n.build_id and q.subject <> 'object' and q.checked_at <= %s::timestamptz
    order by q.id desc
    limit 1
) as r
left join lateral (
    select q.id from ops.data_quality_results as q
    where
        q.table_name = n.asset and q.load_date = n.load_date and q.check_name = n.check_name
        and q.build_id = n.build_id and q.subject = 'candidate' and q.checked_at <= %s::timestamptz
    order by q.id desc
    limit 1
) as c on true
group by n.build_id
"""


def _read_last_checks(
    connection: Connection[Any], asked: Asked, shown: Sequence[_Publish]
) -> dict[int, tuple[int, int]]:
    """Return the same of the builds of KPIs that grow."""
    if not shown:
        return {}
    columns = [
        list(column) for column in zip(*((each.asset, each.load_date, each.build_id) for each in shown), strict=True)
    ]
    rows = connection.execute(_LAST_CHECKS, [*columns, asked.at, asked.at]).fetchall()
    return {build_id: (count, warnings) for build_id, count, warnings in rows}
