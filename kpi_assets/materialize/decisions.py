"""The decisions on rows that were set aside and the rulings on builds, as an input of a build; and adding to them.

S3 holds both. Each build of a table that may have some looks there, and records what it finds in the ledger if that
says otherwise: so a decision makes stale what was built without it, as any other input does.
Belongs here: reading and adding them under their lock. Not here: applying decisions to rows, and what a ruling does
(rulings.py).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import decisions as ledger
from kpi_assets.ledger import rulings
from kpi_assets.ledger.locks import build_lock, unlock
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.decision import NO_DECISIONS, Decision
from kpi_assets.model.ruling import Ruling
from kpi_assets.model.table import Table
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.decisions import DecisionObjects, Line, Said, may_be_decided, may_be_ruled_on
from kpi_assets.sources.refusals import LakeError

PHASE = "waiting for somebody who decides on rows of it"


@dataclass(frozen=True)
class Decided:
    """The decisions and rulings on a table and load_date, in the order in which they were made, and their publish."""

    decisions: tuple[Decision, ...] = ()
    publish: Publish | None = None  # in the ledger; None if there never was a decision or ruling
    rulings: tuple[Ruling, ...] = ()
    hash_of_decisions: str = NO_DECISIONS  # of what builds rows; rulings change none


def look(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> Decided:
    """Return what is decided on a table and load_date by now; the ledger says the same afterwards.

    Raises DecisionError if a line of an object is no decision, and LakeError.
    """
    if not (may_be_decided(table) or may_be_ruled_on(table)):
        return Decided()
    if ledger.current(connection, table.relation, load_date) is None:
        is_asked = may_be_decided(table) or context.asks_for_rulings
        if not (is_asked and objects.find(context.store, table.relation, load_date).entries):
            return Decided()
    # Without the lock, what was read here could be recorded after a later decision.
    lock = build_lock(table.relation.decisions, load_date)
    wait_for_lock(connection, lock, PHASE, context.on_progress)
    try:
        found = objects.find(context.store, table.relation, load_date)
        said = objects.read(context.store, table, found, only_rulings=not may_be_decided(table))
        publish = _recorded(context, connection, table, load_date, found, said)
        standing = _with_uses(context, connection, table, load_date, said.rulings)
        return Decided(said.decisions, publish, standing, said.hash_of_decisions)
    finally:
        unlock(connection, lock)


def _with_uses(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date, standing: tuple[Ruling, ...]
) -> tuple[Ruling, ...]:
    """Return the rulings with the uses that only the ledger knows of, because S3 failed just after the publish.

    Uses that only S3 knows of are recorded: the ledger was restored from before them.
    """
    if all(each.kind != "waive" for each in standing):
        return standing
    known = rulings.used(connection, table.relation, load_date)
    if any(each.was_used and each.key not in known for each in standing):
        rulings.record(connection, table.relation, load_date, standing, datetime.now(timezone.utc))
    for each in standing:
        if each.key in known and not each.was_used:
            with suppress(LakeError):  # the ledger knows it all the same
                objects.add_use(context.store, each.key)
    return tuple(replace(each, was_used=each.was_used or each.key in known) for each in standing)


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
        made = decide(connection, objects.read(context.store, table, found).decisions)
        key = objects.add(context.store, found, made)
        # If this fails, the next build records it.
        now = objects.find(context.store, table.relation, load_date)
        _recorded(context, connection, table, load_date, now, objects.read(context.store, table, now))
        return key


def rule(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    make: Callable[[Sequence[Ruling]], Line],
) -> str:
    """Write the ruling or revocation that `make` returns as one object on S3 and record it; return the object's key.

    `make` gets the rulings that stand, and nobody else rules on this table and load_date meanwhile. If it returns one
    of these, nothing is written. That the state of the decisions has changed is recorded by the next build: who rules
    may write rulings, and no publishes. Raises as `add`.
    """
    lock = build_lock(table.relation.decisions, load_date)
    wait_for_lock(connection, lock, PHASE, context.on_progress)
    try:
        found = objects.find(context.store, table.relation, load_date)
        said = objects.read(context.store, table, found, only_rulings=True)
        made = make(_with_uses(context, connection, table, load_date, said.rulings))
        key = made.key if isinstance(made, Ruling) and made.key else objects.add(context.store, found, [made])
        # If this fails, the next build records it.
        written = objects.find(context.store, table.relation, load_date)
        now = objects.read(context.store, table, written, only_rulings=True)
        rulings.record(connection, table.relation, load_date, now.rulings, datetime.now(timezone.utc))
        return key
    finally:
        unlock(connection, lock)


def _recorded(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    found: DecisionObjects,
    said: Said,
) -> Publish | None:
    """Return the publish of these decisions; record it if the ledger says otherwise."""
    known = ledger.current(connection, table.relation, load_date)
    if (known.manifest_hash if known else NO_DECISIONS) == found.hash:
        return known
    with connection.transaction():
        if may_be_ruled_on(table):
            rulings.record(connection, table.relation, load_date, said.rulings, datetime.now(timezone.utc))
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
