"""Thresholds: which measures of KPIs are beyond what their `alert` allows, on the latest load_date that is shown.

It judges what readers are shown now, so values that were restated are judged again, and the correction of an earlier
load_date tells nobody. It holds nothing. While a gate holds a newer load_date, nothing is opened and nothing is
repeated: people have been told of that already. A measure without a value, or whose expression was changed since its
value was computed, is not judged: its incident stays as it is.

Belongs here: the judgement, and its sentences. Not here: recording incidents (ledger/incidents.py), computing values
(materialize/measures.py), and sending alerts (alerts/).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents
from kpi_assets.ledger.incidents import PartOfTable
from kpi_assets.model.calendar import Calendar
from kpi_assets.model.measure import Measure, Threshold
from kpi_assets.model.names import Relation
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline

_FARTHEST = timedelta(days=4000)  # how far back a load_date of a row of load_dates is looked for
Values = Mapping[date, Decimal | None]  # those that are shown, and computed as the header says now


@dataclass(frozen=True)
class Watched:
    """A measure with an `alert`."""

    relation: Relation
    name: str
    measure: Measure
    threshold: Threshold


@dataclass(frozen=True)
class Judgement:
    """What is true of a watched measure on its latest load_date.

    `beyond` has a clause for each limit that it is beyond, such as `below 5,000`; None if it cannot be judged.
    """

    watched: Watched
    load_date: date
    run_id: str
    value: Decimal | None
    beyond: Sequence[str] | None

    @property
    def sentence(self) -> str:
        """What people are told."""
        style, days = self.watched.measure.format, self.watched.threshold.for_
        clauses = " and ".join(self.beyond or ())
        said = f"{self.watched.relation}: {self.watched.measure.title} is {write(self.value, style)}"
        said += f", {clauses}, on {self.load_date}" if clauses else f" on {self.load_date}"
        return said + (f", for {days} load_dates" if clauses and days > 1 else "")


def watched(pipeline: Pipeline) -> list[Watched]:
    """Return the measures of a pipeline that have an `alert`."""
    return [
        Watched(relation, name, measure, measure.alert)
        for relation, table in pipeline.tables.items()
        if table.header.kpi
        for name, measure in table.header.kpi.measures.items()
        if measure.alert
    ]


def report_breached(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open the incident of each measure that is beyond its threshold, and close those of the others with a recovery.

    Call it after the KPIs were recorded as declared. It is safe to call this repeatedly, and cheap if no measure has an
    `alert`.
    """
    measures = watched(pipeline)
    if not measures and not incidents.open_parts(connection, "measure"):
        return
    with connection.transaction():
        incidents.await_turn(connection)
        incidents.close_unwatched(connection, "measure", [(str(each.relation), each.name) for each in measures])
        held = _held(connection)
        for found in judge(connection, pipeline, measures):
            at = found.watched
            measure = PartOfTable(
                pipeline.name, str(at.relation), found.load_date, found.sentence, found.run_id, measure=at.name
            )
            if found.beyond and at.relation not in held:
                incidents.report_part(connection, measure)
            elif found.beyond is not None and not found.beyond:
                incidents.close_part(connection, measure)


def judge(connection: Connection[Any], pipeline: Pipeline, measures: Sequence[Watched]) -> Iterator[Judgement]:
    """Judge measures on the latest load_date that is shown of each; one that was never published is left out."""
    latest = latest_of(connection, [each.relation for each in measures])
    days = {
        each: load_dates_before(pipeline.calendars[each.relation], latest[each.relation][0], each.threshold.for_)
        for each in measures
        if each.relation in latest
    }
    compared = {(each, day): day - timedelta(days=each.measure.compare) for each, of in days.items() for day in of}
    values = _values(connection, [*days], {*compared.values(), *(day for _, day in compared)})
    for each, of in days.items():
        load_date, run_id = latest[each.relation]
        mine = values.get((each.relation, each.name), {})
        yield Judgement(each, load_date, run_id, mine.get(load_date), _beyond(each, mine, of))


def load_dates_before(calendar: Calendar, latest: date, count: int) -> list[date]:
    """Return the latest load_date and those before it on which the KPI was due, the latest first."""
    first = max(calendar.since, latest - _FARTHEST if latest - date.min > _FARTHEST else date.min)
    days = (latest - timedelta(days=number) for number in range(1, (latest - first).days + 1))
    return [latest, *islice((day for day in days if calendar.is_due(day)), count - 1)]


def _beyond(at: Watched, values: Values, load_dates: Sequence[date]) -> list[str] | None:
    """Return the clause of each limit that the measure is beyond on all the load_dates; None if none can be judged."""
    limits = [limit(load_dates[0], values) for limit in _limits(at)]
    if all(clause is None for clause in limits):
        return None
    if len(load_dates) < at.threshold.for_:
        return []
    return [
        clause
        for clause, limit in zip(limits, _limits(at), strict=True)
        if clause and all(limit(day, values) for day in load_dates[1:])
    ]


def _limits(at: Watched) -> list[Callable[[date, Values], str | None]]:
    """Return the limits of a measure: each gives its clause for a value beyond it, "" for another, None for none."""
    threshold, style = at.threshold, at.measure.format
    found: list[Callable[[date, Values], str | None]] = []
    if (below := threshold.below) is not None:
        found.append(_limit(lambda value: value < below, f"below {write(below, style)}"))
    if (above := threshold.above) is not None:
        found.append(_limit(lambda value: value > above, f"above {write(above, style)}"))
    if threshold.change is not None:
        found.append(lambda day, values: _changed(at, day, values))
    return found


def _limit(is_beyond: Callable[[Decimal], bool], clause: str) -> Callable[[date, Values], str | None]:
    def judged(day: date, values: Values) -> str | None:
        value = values.get(day)
        return None if value is None else clause * is_beyond(value)

    return judged


def _changed(at: Watched, day: date, values: Values) -> str | None:
    """Return the clause of a value that differs too much from the one that it is compared with."""
    then = day - timedelta(days=at.measure.compare)
    value, before, change = values.get(day), values.get(then), at.threshold.change
    if value is None or before is None or change is None:
        return None
    if abs(value - before) <= change.more_than * abs(before):
        return ""
    text = write(before, at.measure.format)
    if not before:
        return f"changed from {text} on {then}"
    share = write(abs(value - before) / abs(before), "percent1")
    return f"{share} {'less' if value < before else 'more'} than {text} on {then}"


def latest_of(connection: Connection[Any], relations: Sequence[Relation]) -> dict[Relation, tuple[date, str]]:
    """Return the latest load_date that is shown of each table, and the run that published it."""
    rows = connection.execute(
        "select distinct on (asset) asset, load_date, run_id from ops.published where asset = any(%s) "
        "order by asset, load_date desc",
        [[str(relation) for relation in relations]],
    ).fetchall()
    return {Relation.parse(asset): (load_date, run_id) for asset, load_date, run_id in rows}


def _values(
    connection: Connection[Any], measures: Sequence[Watched], load_dates: set[date]
) -> dict[tuple[Relation, str], dict[date, Decimal | None]]:
    versions = {(str(each.relation), each.name): each.measure.version for each in measures}
    rows = connection.execute(
        "select p.asset, v.measure, p.load_date, v.measure_version, v.value from ops.published as p "
        "inner join ops.kpi_values as v using (publish_id) where p.asset = any(%s) and p.load_date = any(%s)",
        [[str(each.relation) for each in measures], [*load_dates]],
    ).fetchall()
    found: dict[tuple[Relation, str], dict[date, Decimal | None]] = {}
    for asset, name, load_date, version, value in rows:
        if versions.get((asset, name)) == version:
            found.setdefault((Relation.parse(asset), name), {})[load_date] = value
    return found


def _held(connection: Connection[Any]) -> set[Relation]:
    """Return the KPIs of which a gate holds a newer load_date, or a correction of the latest."""
    rows = connection.execute("select kpi from ops.kpi_trust where gate = 'held'").fetchall()
    return {Relation.parse(name) for (name,) in rows}
