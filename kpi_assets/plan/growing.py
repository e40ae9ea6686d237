"""Load_dates that grow: which they are, and how far each has been built.

A load_date of a pipeline with streams grows from its first event until it is closed and all of it is built. Then it is
a load_date like any other: the plan compares what is published with the SQL, and a run of it is a replay. While it
grows, live runs build it, and no other run starts by itself.

A stream is closed for a load_date when `kpi stream` says so. One that something else lands, such as Firehose, is closed
when the load_date has been over for `close_after_minutes`.

Belongs here: those facts, and the sentences about them. Not here: the other states (classify.py), and landing
(stream/).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import batches, growth, streams
from kpi_assets.ledger.holds import last_build
from kpi_assets.ledger.recorded import Attempt
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.status import State
from kpi_assets.sources.store import Store


@dataclass(frozen=True)
class Growing:
    """A load_date that grows: whether it is closed, through which instant it is built, and what has not landed yet."""

    load_date: date
    is_closed: bool
    through: datetime | None  # None if nothing is known
    lag: int | None  # events that the brokers have and that have not landed; None if nothing is known
    objects: int = 0  # that are built
    within: timedelta | None = None  # the least freshness of a KPI that counts from `through`
    is_stuck: bool = False  # closed, and what is left is held by the SQL and the checks as they are

    @property
    def facts(self) -> str:
        """The facts in a few words, for a sentence."""
        through = f"{self.through:%H:%M:%S}" if self.through else "nothing yet"
        lag = "not known" if self.lag is None else f"{self.lag:,}"
        return f"closed: {'yes' if self.is_closed else 'no'}; through: {through}; lag {lag}"

    def state(self, attempts: Mapping[str, Attempt], now: datetime) -> tuple[State, str]:
        """Return the state and the reason, given the latest builds that were no success, by table."""
        for status in ("held", "failed"):
            found = [f"{name}: {each.error}" for name, each in attempts.items() if each.status == status]
            if found:
                return ("held" if status == "held" else "failed"), f"It grows ({self.facts}). {'; '.join(found)}."
        if self.is_late(now):
            return "late", f"It grows ({self.facts}), and its tiles are older than their freshness allows."
        return "growing", f"Live runs build it as events land ({self.facts})."

    def is_late(self, now: datetime) -> bool:
        """Whether it has been built through an instant that lies further back than a KPI allows."""
        end = datetime.combine(self.load_date + timedelta(days=1), time(), timezone.utc)
        known = self.through is not None and self.within is not None
        return known and min(now, end) - self.through > self.within  # type: ignore[operator]


def find_growing(
    pipeline: Pipeline, connection: Connection[Any], store: Store, first: date, last: date, now: datetime
) -> dict[date, Growing]:
    """Return the load_dates of a range that grow, by load_date; none of a pipeline without streams.

    Of the last few load_dates (`look_back_days`) that no live run has touched, S3 says whether something landed; of
    earlier ones, the closings of `kpi stream`.
    """
    names = {table.stream for table in pipeline.stream_tables if table.stream}
    if not names:
        return {}
    known, ended = growth.between(connection, first, last), _closed(pipeline, connection, names, first, last, now)
    recent = now.date() - timedelta(days=pipeline.config.automation.look_back_days)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)] if first <= last else []
    grows = [
        day
        for day in days
        if pipeline.is_due(day)
        and (
            known[day].finished_at is None or known[day].is_built_since
            if day in known
            else day == now.date() or ended[day].said or (day >= recent and _has_landed(pipeline, store, day))
        )
    ]
    lag = _lag(connection, names) if grows else None
    built = batches.objects_between(connection, grows[0], grows[-1]) if grows else {}
    within = _within(pipeline)
    return {
        day: Growing(
            day,
            ended[day].is_closed,
            known[day].through if day in known else None,
            lag,
            built.get(day, 0),
            within,
            ended[day].is_closed and _is_stuck(pipeline, connection, day),
        )
        for day in grows
    }


def _is_stuck(pipeline: Pipeline, connection: Connection[Any], load_date: date) -> bool:
    """Whether a growing table is held, with the SQL and the checks that it has now."""
    last = ((table, last_build(connection, table.relation, load_date)) for table in pipeline.growing_tables)
    return any(
        each.status == "held" and (each.code_version, each.checks_version) == (table.code_version, table.checks_version)
        for table, each in last
        if each
    )


@dataclass(frozen=True)
class _Ended:
    """Whether landing has `said` that a stream is closed for a load_date, and whether all of them are."""

    said: bool
    is_closed: bool


def _closed(
    pipeline: Pipeline, connection: Connection[Any], names: Collection[str], first: date, last: date, now: datetime
) -> Mapping[date, _Ended]:
    said = growth.closed_between(connection, names, first, last)
    reported = growth.landed_by_us(connection, names)
    after = timedelta(minutes=pipeline.config.live.close_after_minutes)

    def ended(day: date) -> _Ended:
        over = datetime.combine(day + timedelta(days=1), time(), timezone.utc) + after <= now
        closed = said.get(day, frozenset())
        return _Ended(bool(closed), all(name in closed or (name not in reported and over) for name in names))

    return {day: ended(day) for day in _days(first, last)}


def is_closed(pipeline: Pipeline, connection: Connection[Any], load_date: date, now: datetime) -> bool:
    """Whether nothing lands in a load_date any more."""
    names = {table.stream for table in pipeline.stream_tables if table.stream}
    return _closed(pipeline, connection, names, load_date, load_date, now)[load_date].is_closed


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _has_landed(pipeline: Pipeline, store: Store, load_date: date) -> bool:
    """Whether an object of a stream lies there for a load_date."""
    prefixes = [table.stream_prefix(load_date) for table in pipeline.stream_tables]
    return any(next(iter(store.entries(prefix)), None) is not None for prefix in prefixes)


def _lag(connection: Connection[Any], names: Collection[str]) -> int | None:
    """Return how many events the brokers have that have not landed; None if it is not known."""
    mine = [each for each in streams.positions(connection) if each.stream in names]
    counts = [
        each.high_watermark - (each.next or 0)
        for each in mine
        if each.high_watermark is not None and each.next is not None
    ]
    return sum(max(count, 0) for count in counts) if counts else None


def _within(pipeline: Pipeline) -> timedelta | None:
    """Return the least freshness in minutes of a KPI; None if no KPI has one."""
    freshness = [table.header.freshness for table in pipeline.tables.values() if table.header.freshness]
    minutes = [each.within_minutes for each in freshness if each.within_minutes is not None]
    return timedelta(minutes=min(minutes)) if minutes else None
