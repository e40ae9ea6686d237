"""Keeps the ledger of a load_date that grows small: what its ticks have made superfluous is deleted while it grows.

Belongs here: which tables and load_dates that concerns, and how often. Not here: what may be deleted
(ledger/upkeep.py), and what follows from the end of a load_date (close.py).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from kpi_assets.ledger import upkeep
from kpi_assets.materialize.context import BuildContext
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline

EVERY = timedelta(minutes=10)  # also how long something stays that was superseded
KEPT_BATCHES = 35  # days for which the batches of a table without retention are kept one by one


def tables_of_streams(pipeline: Pipeline) -> list[Relation]:
    """Return the tables that are built again and again while a load_date grows."""
    return [table.relation for table in pipeline.tables.values() if pipeline.streams_of(table)]


def prune(context: BuildContext, load_date: date, *, older_than: timedelta = timedelta()) -> None:
    """Delete what later builds of a load_date, and of the one before it, have made superfluous.

    Of the one before it stays what the load_date was made from, until that is superseded itself. The batches of
    load_dates that are older than the retention of their table are merged. Raises WarehouseError.
    """
    relations, load_dates = tables_of_streams(context.pipeline), [load_date - timedelta(days=1), load_date]
    with context.ledger_session(f"{context.run_id[:8]} prune {load_date}") as connection:
        upkeep.prune_growth(connection, relations, load_dates, older_than=older_than)
        for table in context.pipeline.growing_tables:
            kept = context.pipeline.retention_days(table) or KEPT_BATCHES
            upkeep.prune_batches(connection, table.relation, load_date - timedelta(days=max(kept, 1)))


@dataclass
class Upkeep:
    """The upkeep of one live run: with its first tick, and every few minutes after that."""

    context: BuildContext
    load_date: date
    clock: Callable[[], float] = time.monotonic
    _last: float | None = None

    def after_tick(self) -> None:
        """Prune, unless that was done just now."""
        now = self.clock()
        if self._last is None or now - self._last >= EVERY.total_seconds():
            self._last = now
            prune(self.context, self.load_date, older_than=EVERY)
