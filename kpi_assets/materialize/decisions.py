"""The decisions on rows that were set aside, as an input of a build; and adding to them.

S3 holds the decisions. Each build of a table that may have some looks there, and records what it finds in the ledger
if that says otherwise: so a decision makes stale what was built without it, as any other input does.
Belongs here: reading and adding decisions under their lock. Not here: applying them to rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import decisions as ledger
from kpi_assets.ledger.locks import build_lock, unlock
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.decision import NO_DECISIONS, Decision
from kpi_assets.model.table import Table
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.decisions import DecisionObjects, may_be_decided

PHASE = "waiting for somebody who decides on rows of it"


@dataclass(frozen=True)
class Decided:
    """The decisions on a table and load_date, in the order in which they were made, and their publish in the ledger."""

    decisions: tuple[Decision, ...] = ()
    publish: Publish | None = None  # None if there never was a decision


def look(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> Decided:
    """Return what is decided on a table and load_date by now; the ledger says the same afterwards.

    Raises DecisionError if a line of an object is no decision, and LakeError.
    """
    if not may_be_decided(table):
        return Decided()
    # Without the lock, what was read here could be recorded after a later decision.
    lock = build_lock(table.relation.decisions, load_date)
    wait_for_lock(connection, lock, PHASE, context.on_progress)
    try:
        found = objects.find(context.store, table.relation, load_date)
        return Decided(
            tuple(objects.read(context.store, table, found)), _recorded(context, connection, table, load_date, found)
        )
    finally:
        unlock(connection, lock)


def add(
    context: BuildContext,
    table: Table,
    load_date: date,
    decide: Callable[[Connection[Any], Sequence[Decision]], Sequence[Decision]],
) -> str:
    """Write what `decide` returns as one object on S3 and record it; return the key of the object.

    `decide` gets the session and all decisions that were made before; nobody else decides on rows of this table and
    load_date meanwhile, so that no decision is lost or overlooked. Raises DecisionError, LakeError and WarehouseError,
    and what `decide` raises.
    """
    with context.session(table, f"decide {table.relation} {load_date}") as connection:
        lock = build_lock(table.relation.decisions, load_date)
        wait_for_lock(connection, lock, PHASE, context.on_progress)
        found = objects.find(context.store, table.relation, load_date)
        made = decide(connection, objects.read(context.store, table, found))
        key = objects.add(context.store, found, made)
        # If this fails, the next build records it.
        _recorded(context, connection, table, load_date, objects.find(context.store, table.relation, load_date))
        return key


def _recorded(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date, found: DecisionObjects
) -> Publish | None:
    """Return the publish of these decisions; record it if the ledger says otherwise."""
    known = ledger.current(connection, table.relation, load_date)
    if (known.manifest_hash if known else NO_DECISIONS) == found.hash:
        return known
    return ledger.record(
        connection,
        table.relation,
        load_date,
        pipeline=context.pipeline.name,
        run_id=context.run_id,
        hash=found.hash,
        objects=len(found.entries),
        size_bytes=found.size_bytes,
    )
