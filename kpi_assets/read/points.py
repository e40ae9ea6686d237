"""Reads the load_dates that readers are shown of KPIs, with their values, their checks and their restatements.

Not here: those that readers are not shown (stops.py), and why a load_date was restated (restated.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.read.asked import Asked, compares_of
from kpi_assets.read.kpi_state import Point, Restatement
from kpi_assets.read.restated import Gap, find_reasons


def read_latest(connection: Connection[Any], asked: Asked) -> dict[str, date]:
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


def read_points(connection: Connection[Any], asked: Asked, latest: Mapping[str, date]) -> dict[str, dict[date, Point]]:
    """Return the load_dates that are shown of each KPI, by load_date: of the range, and those they are compared with.

    The last publish of a load_date is shown, unless the load_date was removed since. Its rows may have been dropped by
    retention: its values are known all the same.
    """
    compares = {days for table in asked.tables for days in compares_of(table)}
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
    values = _read_values(connection, asked, [each[-1].publish_id for _, _, each in shown], pairs)
    checks = _read_checks(connection, asked, [load_date for _, load_date, _ in shown])
    points: dict[str, dict[date, Point]] = {name: {} for name in asked.names}
    for asset, load_date, publishes in shown:
        last = publishes[-1]
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
            [
                Restatement(
                    load_date,
                    after.publish_id,
                    before.publish_id,
                    after.published_at,
                    reasons[before.publish_id, after.publish_id],
                    values.get(before.publish_id, _NO_VALUES).like(values.get(after.publish_id, _NO_VALUES)),
                    values.get(after.publish_id, _NO_VALUES).values,
                    values.get(after.publish_id, _NO_VALUES).versions,
                )
                for before, after in pairwise(publishes)
                if before.checksum != after.checksum
            ],
            last.dropped_at if _is_before(last.dropped_at, asked.as_of) else None,
            own.versions,
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


def _read_checks(connection: Connection[Any], asked: Asked, load_dates: Collection[date]) -> dict[int, tuple[int, int]]:
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
