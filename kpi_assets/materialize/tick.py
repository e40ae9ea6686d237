"""One tick of a load_date that grows: a batch for each table that has something new, then the KPIs that read them.

The growing tables go first, in build order, so that a batch goes from the objects of a stream to the last rollup within
one tick. Then the other tables that come from them are built as always, each whole, if what they read was published
again. A table that fails or is held stops what follows from it and nothing else: readers keep what they had, and the
next tick tries again what may succeed.

Belongs here: which tables a tick touches, and in which order. Not here: a batch (grow.py), a build (build.py), and how
often there is a tick (automation/live_run.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger.holds import last_build
from kpi_assets.materialize.build import build
from kpi_assets.materialize.changed import AFTER_FAILURE, need
from kpi_assets.materialize.context import BuildContext, BuildOutcome, run_log_message
from kpi_assets.materialize.grow import Grown, grow
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.warehouse.connection import connect

Outcome = TypeVar("Outcome")


@dataclass
class Tick:
    """What one tick did: the batches of growing tables, the builds of others, and why some failed.

    `waiting` are the tables that are to be built and rest: after a failure, or until their `refresh` is over.
    """

    load_date: date
    grown: list[Grown] = field(default_factory=list)
    built: list[BuildOutcome] = field(default_factory=list)
    failed: dict[Relation, str] = field(default_factory=dict)
    waiting: list[Relation] = field(default_factory=list)

    @property
    def outcomes(self) -> list[Grown | BuildOutcome]:
        """What was built or held, in build order."""
        return [*self.grown, *self.built]

    @property
    def is_idle(self) -> bool:
        """Whether nothing was to be done, and nothing waits to be done."""
        return not (self.grown or self.built or self.failed or self.waiting)


def tick(context: BuildContext, load_date: date, *, is_last: bool = False) -> Tick:
    """Grow each growing table of a load_date that has something new, then build what reads other rows now.

    `is_last` says that nothing will be added to the load_date, so that no table rests until its `refresh` is over. An
    error of one table is in the result, and the others are built. Raises WarehouseError if the server cannot be used.
    """
    pipeline, done = context.pipeline, Tick(load_date)
    with connect(context.server, pipeline.name, f"{context.run_id[:8]} tick {load_date}") as connection:
        for table in growing_tables(pipeline, load_date):
            if _failed_just_now(connection, table, load_date):
                done.waiting.append(table.relation)
            else:
                done.grown += _attempt(done, table, partial(grow, context, table, load_date)) or []
        for table in tables_after(pipeline, load_date):
            if any(relation in done.failed for relation in table.reads):
                continue
            rest = timedelta() if is_last else _rest(table)
            found = need(pipeline, connection, table, load_date, rest=rest)
            if found == "later":
                done.waiting.append(table.relation)
            elif found == "now" and (outcome := _attempt(done, table, partial(build, context, table, load_date))):
                done.built.append(outcome)
    return done


def _failed_just_now(connection: Connection[Any], table: Table, load_date: date) -> bool:
    last = last_build(connection, table.relation, load_date)
    return bool(last and last.status == "failed" and datetime.now(timezone.utc) - last.at < AFTER_FAILURE)


def growing_tables(pipeline: Pipeline, load_date: date) -> list[Table]:
    """Return the tables that grow and are due on a load_date, in build order."""
    return [table for table in pipeline.due_tables(load_date) if table.grows]


def tables_after(pipeline: Pipeline, load_date: date) -> list[Table]:
    """Return the other tables of a load_date that come from tables that grow, in build order."""
    growing = {str(table.relation) for table in pipeline.tables.values() if table.grows}
    return [
        table
        for table in pipeline.due_tables(load_date)
        if not table.grows and growing.intersection(pipeline.made_of[table.relation])
    ]


def _rest(table: Table) -> timedelta:
    refresh = table.header.refresh
    return timedelta(minutes=refresh.minutes) if refresh else timedelta()


def _attempt(done: Tick, table: Table, make: Callable[[], Outcome]) -> Outcome | None:
    """Return what `make` returns; record its error if it fails by what a person or time can mend."""
    try:
        return make()
    except (UserError, psycopg.Error) as error:
        done.failed[table.relation] = run_log_message(error)
        return None

