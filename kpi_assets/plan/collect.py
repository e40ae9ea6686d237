"""Collects the status of every load_date of a range, year by year, with one S3 listing and one set of queries per year.

Belongs here: reading S3 and Postgres for the same load_dates. Not here: the decision (classify.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import manifests, recorded
from kpi_assets.ledger.marks import Reader
from kpi_assets.ledger.recorded import Lookback, RecordedLoadDate
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.plan.classify import NOTHING_DECIDED, NOTHING_NEAR, Classifier
from kpi_assets.plan.growing import find_growing
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.sources import decisions
from kpi_assets.sources.deliveries import Delivery, near
from kpi_assets.sources.listing import Landed, landed
from kpi_assets.sources.reference import state_of
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import LEDGER_ALONE, one_snapshot
from kpi_assets.warehouse.content import find_lost

NEAR_DAYS = 3  # load_dates for which the keys beside a pattern that matches none are looked for: a request for each


def collect(
    pipeline: Pipeline, store: Store, connection: Connection[Any], first: date, last: date, now: datetime | None = None
) -> Iterator[list[LoadDateStatus]]:
    """Yield the statuses of the load_dates from `first` to `last` in order, one list for each calendar year.

    A day on which nothing is due has no status, and a year without a status no list. Only one year is in memory at a
    time. Raises LakeError and psycopg.Error.
    """
    classifier, at = Classifier(pipeline), now or datetime.now(timezone.utc)
    versions = {str(relation): table.code_version for relation, table in pipeline.tables.items()}
    raw = [str(table.relation) for table in pipeline.object_tables]
    lookbacks = [
        Lookback(str(table.relation), table.header.lookback.days, list(map(str, pipeline.window_inputs_of(table))))
        for table in pipeline.tables.values()
        if table.header.lookback
    ]
    history_readers = [
        Reader(str(relation), str(read))
        for relation, table in pipeline.tables.items()
        for read in pipeline.histories_of(table)
    ]
    carrying_on = [str(relation) for relation, table in pipeline.tables.items() if table.carries_on]
    windows = sorted({read for table in pipeline.tables.values() for read in pipeline.window_inputs_of(table)})
    longest = timedelta(days=max((each.load_dates for each in lookbacks), default=0))

    def recorded_of(start: date, end: date) -> dict[date, RecordedLoadDate]:
        # In one snapshot, because a publish between two queries would be known to one of them only. The rows of tables
        # are looked at outside of it: to a snapshot, a table that is rewritten meanwhile is empty.
        with one_snapshot(connection, LEDGER_ALONE):
            return recorded.read(
                connection,
                versions,
                raw,
                start,
                end,
                ignored=[pipeline.recheck_job, pipeline.live_job],
                lookbacks=lookbacks,
                carrying_on=carrying_on,
                history_readers=history_readers,
                start=pipeline.config.start_date,
                undue=pipeline.undue_between(start - longest, end, windows) if windows else (),
            )

    references = [table for table in pipeline.object_tables if table.source.key.is_reference]
    dated = [table for table in pipeline.object_tables if not table.source.key.is_reference]
    for year in range(first.year, last.year + 1) if first <= last else ():
        start, end = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
        # Postgres is read before S3, so that an object that changes in between counts as changed.
        known = recorded_of(start, end)
        if _add_lost(pipeline, connection, known):
            # Rows that were dropped on purpose meanwhile are gone too: lost are only those that the ledger still has.
            stored = {day: past.stored for day, past in recorded_of(start, end).items()}
            for day, past in known.items():
                past.lost = [name for name in past.lost if name in stored.get(day, ())]
        days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
        there = landed(store, dated, start, end, at)
        beside = _near(store, dated, there)
        decided = decisions.find_all(store, pipeline, start, end)
        grow = find_growing(pipeline, connection, store, start, end, at)
        for table in references:
            _add_reference(store, connection, table, there, days)
        due = [day for day in days if pipeline.is_due(day)]
        if due:
            yield [
                classifier.status(
                    *(day, there.get(day, {}), known.get(day, RecordedLoadDate()), at),
                    near=beside.get(day, NOTHING_NEAR),
                    decided=decided.get(day, NOTHING_DECIDED),
                    growing=grow.get(day),
                )
                for day in due
            ]


def _add_reference(
    store: Store, connection: Connection[Any], table: Table, there: Landed, days: Sequence[date]
) -> None:
    """Add the state of a reference object that belongs to each load_date."""
    name, key = table.relation.table, table.source.object
    known = manifests.states(connection, name, store.bucket, key)
    present = store.manifest(name, date.min, key)
    for day in days:
        if state := state_of(known, present, day):
            found = state.manifest
            delivery = Delivery(found.key, found.size_bytes, found.etag, found.last_modified, gone=state.gone)
            there.setdefault(day, {})[name] = delivery


def _near(store: Store, tables: Sequence[Table], there: Landed) -> dict[date, dict[str, str]]:
    """Return which keys are like a pattern that matches none, for the latest load_dates of which others landed."""
    own = {table.relation.table: table for table in tables if not table.source.carried_days}
    patterns = [table for table in own.values() if table.source.key.is_pattern]
    landed_on = (day for day in sorted(there) if own.keys() & there[day].keys())
    lacking = [day for day in landed_on if any(table.relation.table not in there[day] for table in patterns)]
    return {
        day: {
            table.relation.table: words
            for table in patterns
            if table.relation.table not in there[day] and (words := near(store, table.object_key(day)))
        }
        for day in lacking[-NEAR_DAYS:]
    }


def _add_lost(pipeline: Pipeline, connection: Connection[Any], known: Mapping[date, RecordedLoadDate]) -> bool:
    """Add the tables whose rows are gone from the database although the ledger calls them published; whether any is."""
    for relation, table in pipeline.tables.items():
        of_table = (day for day, past in known.items() if str(relation) in past.stored)
        wanted = [day for day in of_table if pipeline.is_table_due(table, day)]
        for day in find_lost(connection, table, wanted) if wanted else ():
            known[day].lost.append(str(relation))
    return any(past.lost for past in known.values())
