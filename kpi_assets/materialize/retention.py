"""Retention: rows of raw and staging that are older than pipeline.yaml keeps are dropped; S3 can give them again.

What was dropped stays in the publish ledger, with its rows, its checksum and the time: it is neither missing nor stale.
What is published again after that, somebody wanted: it stays as long as something new would. Not here: when it is done
(automation/).
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import publishes
from kpi_assets.ledger.locks import lock_publish, run_lock, unlock
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.retry import LOCK_TIMEOUT, outlast_snapshots, retry_on_lock, wait_for_lock
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.tables import check_storage

PATIENCE = 600.0  # seconds for all waiting: what is still read or built then is left to the next time


@dataclass(frozen=True)
class Total:
    """What is dropped of one table."""

    asset: str
    load_dates: int
    first: date
    last: date
    rows: int
    size_bytes: int


def totals(found: Iterable[Publish]) -> list[Total]:
    """Of each table, by its name."""
    by_asset: dict[str, list[Publish]] = {}
    for publish in found:
        by_asset.setdefault(publish.asset, []).append(publish)
    return [
        Total(
            asset,
            len(of_table),
            min(publish.load_date for publish in of_table),
            max(publish.load_date for publish in of_table),
            sum(publish.rows for publish in of_table),
            sum(publish.size_bytes for publish in of_table),
        )
        for asset, of_table in sorted(by_asset.items())
    ]


def due(connection: Connection[Any], pipeline: Pipeline, today: date) -> list[Publish]:
    """What is published and older than its layer is kept, by load_date."""
    kept = {relation: days for relation, table in pipeline.tables.items() if (days := pipeline.retention_days(table))}
    return publishes.older_than(connection, kept, today)


def drop(context: BuildContext, due: Sequence[Publish], patience: float = PATIENCE) -> Iterator[tuple[Publish, str]]:
    """Drop the rows of each, a transaction at a time; tells of each why it was left, or nothing where it is dropped.

    A run of the load_date is waited for, and so are readers of the table.
    """
    deadline = time.monotonic() + patience
    pipeline, stuck = context.pipeline, dict[str, str]()  # table -> why none of its other load_dates would go either
    with ExitStack() as opened:
        layers = {pipeline.layer(relation): table for relation, table in pipeline.tables.items()}
        sessions = {layer: opened.enter_context(context.session(table, "retention")) for layer, table in layers.items()}
        turns = next(iter(sessions.values()))
        for load_date, of_day in groupby(due, key=lambda publish: publish.load_date):
            lock, phase = run_lock(load_date), "waiting for a run of its load_date"
            if not wait_for_lock(turns, lock, phase, context.on_progress, deadline - time.monotonic()):
                yield from ((publish, "a run of its load_date goes on") for publish in of_day)
                continue
            try:
                for publish in of_day:
                    why_not = stuck.get(publish.asset)
                    if why_not is None:
                        session = sessions[pipeline.layer(Relation.parse(publish.asset))]
                        try:
                            why_not = _drop(context, session, publish, max(0.0, deadline - time.monotonic()))
                        except UserError as error:
                            why_not = stuck[publish.asset] = str(error)
                    yield publish, why_not
            finally:
                unlock(turns, lock)


def _drop(context: BuildContext, session: Connection[Any], publish: Publish, patience: float) -> str:
    """Drop the rows of one, with those of the views that show them; why not, where it is not what was due.

    Raises WarehouseError where a reader keeps the table, and DefinitionError where its file says another storage.
    """
    relation = Relation.parse(publish.asset)
    table = context.pipeline.tables[relation]

    def change() -> str:
        with session.transaction():
            session.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            lock_publish(session, relation)
            if publishes.current(session, [relation], publish.load_date).get(relation) != publish:
                return "it was published again meanwhile"
            check_storage(session, table)
            strategy_of(table).remove(session, table, publish.load_date)
            publishes.record_drop(session, [relation, *context.pipeline.views_of(relation)], publish.load_date)
        return ""

    deadline = time.monotonic() + patience
    if strategy_of(table).removal_swaps(session, table, publish.load_date):
        outlast_snapshots(session, "dropped", context.on_progress, patience)
    return retry_on_lock(change, "dropped", context.on_progress, max(0.0, deadline - time.monotonic()))


def replay(pipeline: Pipeline, relations: Sequence[Relation], load_date: date) -> str:
    """What a person is told who needs rows that were dropped."""
    names = ", ".join(map(str, relations))
    return (
        f"the rows of {names} of {load_date} were dropped by retention; "
        f"`kpi run {pipeline.name} --load-date {load_date}` replays them from S3"
    )
