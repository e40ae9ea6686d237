"""Retention: drops rows after the days that pipeline.yaml sets, of raw, staging and tables that carry on.

They can be replayed from S3.

The publish ledger keeps each dropped publish with its number of rows, its checksum and the time of the drop, so that
the load_date is neither missing nor stale. A load_date that is published again is kept as long as a new one.
Not here: the schedule of retention (automation/).
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
from kpi_assets.materialize import keep
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.places import place_of
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock, wait_for_lock, wait_for_snapshots
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline

TIMEOUT = 600.0  # seconds to wait in all; rows that are still in use then are dropped the next time


@dataclass(frozen=True)
class TableTotal:
    """The totals of some publishes of one table."""

    asset: str
    load_dates: int
    first: date
    last: date
    rows: int
    size_bytes: int


def totals_by_table(found: Iterable[Publish]) -> list[TableTotal]:
    """Sum up publishes by table, ordered by name."""
    by_asset: dict[str, list[Publish]] = {}
    for publish in found:
        by_asset.setdefault(publish.asset, []).append(publish)
    return [
        TableTotal(
            asset,
            len(of_table),
            min(publish.load_date for publish in of_table),
            max(publish.load_date for publish in of_table),
            sum(publish.rows for publish in of_table),
            sum(publish.size_bytes for publish in of_table),
        )
        for asset, of_table in sorted(by_asset.items())
    ]


def find_due(connection: Connection[Any], pipeline: Pipeline, today: date) -> list[Publish]:
    """List the publishes that are older than the retention of their layer or table, ordered by load_date.

    The latest load_date of a table that carries on is not among them, because the next one is built from it.
    """
    kept = {relation: days for relation, table in pipeline.tables.items() if (days := pipeline.retention_days(table))}
    carrying_on = [relation for relation in kept if pipeline.tables[relation].carries_on]
    return publishes.older_than(connection, kept, today, but_latest=carrying_on)


def drop_due(context: BuildContext, due: Sequence[Publish], timeout: float = TIMEOUT) -> Iterator[tuple[Publish, str]]:
    """Drop the rows of each publish in its own transaction; yield the publish and why it was kept, or "" if dropped.

    Waits for runs of the load_date and for readers of the table, for `timeout` seconds in all.
    """
    deadline = time.monotonic() + timeout
    pipeline, blocked = context.pipeline, dict[str, str]()  # table -> why none of its load_dates can be dropped
    with ExitStack() as opened:
        layers = {pipeline.layer(relation): table for relation, table in pipeline.tables.items()}
        sessions = {layer: opened.enter_context(context.session(table, "retention")) for layer, table in layers.items()}
        turns = next(iter(sessions.values()))
        for load_date, of_load_date in groupby(due, key=lambda publish: publish.load_date):
            lock, phase = run_lock(load_date), "waiting for a run of its load_date"
            if not wait_for_lock(turns, lock, phase, context.on_progress, deadline - time.monotonic()):
                yield from ((publish, "a run of its load_date is in progress") for publish in of_load_date)
                continue
            try:
                for publish in of_load_date:
                    kept_reason = blocked.get(publish.asset)
                    if kept_reason is None:
                        session = sessions[pipeline.layer(Relation.parse(publish.asset))]
                        try:
                            kept_reason = _drop(context, session, publish, max(0.0, deadline - time.monotonic()))
                        except UserError as error:
                            kept_reason = blocked[publish.asset] = str(error)
                    yield publish, kept_reason
            finally:
                unlock(turns, lock)


def settle_lake(context: BuildContext) -> Iterator[str]:
    """Clear away what builds have left on the lake, and give its readers what the ledger names; yield what was done.

    Nothing is done for a pipeline without such tables. Raises EngineError.
    """
    if context.pipeline.lake_tables:
        from kpi_assets.materialize.in_lake import settle  # noqa: PLC0415  no other pipeline needs it

        for relation, done in settle(context):
            yield from (f"{relation} on the lake: {each}" for each in done)


def _drop(context: BuildContext, session: Connection[Any], publish: Publish, timeout: float) -> str:
    """Drop the rows of one publish and record that, also for the views that show them; return why it was kept, or "".

    Raises WarehouseError if a reader holds the table, and DefinitionError if its file declares another storage.
    """
    relation = Relation.parse(publish.asset)
    table = context.pipeline.tables[relation]

    def change() -> str:
        with session.transaction():
            session.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            lock_publish(session, relation)
            if publishes.current(session, [relation], publish.load_date).get(relation) != publish:
                return "it was published again meanwhile"
            place.remove(session, table, publish.load_date)
            keep.drop_all(session, [relation], publish.load_date, "retention")
            publishes.record_drop(session, [relation, *context.pipeline.views_of(relation)], publish.load_date)
        return ""

    deadline = time.monotonic() + timeout
    with place_of(context, table) as place:
        if place.removal_swaps(session, table, publish.load_date):
            wait_for_snapshots(session, "dropped", context.on_progress, timeout)
        kept = retry_on_lock(change, "dropped", context.on_progress, max(0.0, deadline - time.monotonic()))
        if not kept:
            place.after_removal(session, table, publish.load_date)
    return kept
