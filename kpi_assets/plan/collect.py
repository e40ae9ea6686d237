"""The survey: the standing of every load_date of a range, year by year, from one look at S3 and one at Postgres.

Belongs here: asking both for the same load_dates. Not here: the decision (classify.py).
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import history
from kpi_assets.ledger.history import Facts, Lookback
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.classify import Classifier
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.sources.listing import landed
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.content import lost


def collect(
    pipeline: Pipeline, store: Store, connection: Connection[Any], first: date, last: date, now: datetime | None = None
) -> Iterator[list[LoadDateStatus]]:
    """The standings of the load_dates from `first` to `last`, in order, a list for each calendar year.

    The memory it takes does not grow with the years. Raises LakeError, and psycopg's errors.
    """
    judge, at = Classifier(pipeline), now or datetime.now(timezone.utc)
    versions = {str(relation): table.code_version for relation, table in pipeline.tables.items()}
    raw = [str(table.relation) for table in pipeline.object_tables]
    lookbacks = [
        Lookback(str(table.relation), table.header.lookback.days, list(map(str, pipeline.window_inputs_of(table))))
        for table in pipeline.tables.values()
        if table.header.lookback
    ]
    for year in range(first.year, last.year + 1) if first <= last else ():
        start, end = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
        # Postgres first: what changes on S3 meanwhile is then seen as changed, now or at the next look.
        known = history.facts(
            connection,
            versions,
            raw,
            start,
            end,
            ignored=[pipeline.recheck_job],
            lookbacks=lookbacks,
            start=pipeline.config.start_date,
        )
        _look_for_rows(pipeline, connection, known)
        there = landed(store, pipeline.object_tables, start, end)
        days = (start + timedelta(days=n) for n in range((end - start).days + 1))
        yield [judge.standing(day, there.get(day, {}), known.get(day, Facts()), at) for day in days]


def _look_for_rows(pipeline: Pipeline, connection: Connection[Any], known: Mapping[date, Facts]) -> None:
    """Tell the facts of which tables the rows are gone that the ledger calls published."""
    for relation, table in pipeline.tables.items():
        wanted = [day for day, facts in known.items() if str(relation) in facts.stored]
        for day in lost(connection, table, wanted) if wanted else ():
            known[day].lost.append(str(relation))
