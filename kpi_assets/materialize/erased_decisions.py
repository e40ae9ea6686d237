"""Decisions about erased persons: what quotes them is taken out of the objects on S3.

A decision quotes the record or row that it is on, and what that was corrected to. If one of these is about an erased
person, the line of the decision is left empty, so that all others keep the places by which ops names them. Objects go
first (rewrite.py): a record that was corrected to be about a person goes because of the decision.
Belongs here: which decisions are about erased persons, and emptying their lines. Not here: the objects of decisions
(sources/decisions.py), and rulings, which quote nobody.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

from psycopg import Connection

from kpi_assets.lake_places import object_url
from kpi_assets.ledger import decisions as ledger
from kpi_assets.ledger import erasures
from kpi_assets.ledger.locks import build_lock, unlock
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decisions import PHASE
from kpi_assets.materialize.erasures import mask_of, salted_of
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.rewrite import opened_object
from kpi_assets.model.decision import RECORD, Decision
from kpi_assets.model.records import Record
from kpi_assets.model.subject_tables import Holder, holders_of
from kpi_assets.model.table import Table
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.decisions import DecisionObjects, may_be_decided
from kpi_assets.warehouse import corrections, quarantine
from kpi_assets.warehouse import erased as rows
from kpi_assets.warehouse.connection import UNLOGGED, connect
from kpi_assets.warehouse.erased import Erased


@dataclass(frozen=True)
class Emptied:
    """How many decisions were emptied, and the versions of their objects that are still there, each as a sentence."""

    decisions: int = 0
    kept: tuple[str, ...] = ()


def by_object(context: BuildContext, table: Table) -> Mapping[str, Sequence[Decision]]:
    """Return the decisions on records of the objects of a raw table, by the key of the object. Raises LakeError."""
    found = defaultdict(list)
    for each in objects.find_of_table(context.store, table.relation):
        for decision in objects.read(context.store, table, each).decisions:
            found[str(decision.key.get("object"))].append(decision)
    return found


def take_out(context: BuildContext, erasure: int, *, was_behind: bool = False) -> Emptied:
    """Empty every decision about an erased person; safe to repeat. Raises LakeError and DecisionError.

    Where the ledger `was_behind` the erasure, decisions may have been emptied before: it forgets what S3 has no more.
    """
    count, kept = 0, list[str]()
    for holder, found in _decided(context):
        with _session(context, holder) as connection:
            lock = build_lock(holder.table.relation.decisions, found.load_date)
            wait_for_lock(connection, lock, PHASE, context.on_progress)
            try:
                lines = _lines(context, connection, holder, found)
                known = ledger.current(connection, holder.table.relation, found.load_date) if was_behind else None
                is_gone = known is not None and known.manifest_hash != found.hash
                # First: who is interrupted after the last line is emptied finds none to begin again with.
                if lines or is_gone:
                    ledger.forget(connection, holder.table.relation, found.load_date, mask_of(context), erasure)
                for entry in (each for each in found.entries if each.key in lines):
                    kept += objects.empty_lines(context.store, entry, lines[entry.key]).kept
                    erasures.note_emptied(connection, erasure, {"decisions": len(lines[entry.key])})
                    count += len(lines[entry.key])
            finally:
                unlock(connection, lock)
    return Emptied(count, tuple(kept))


def left(context: BuildContext) -> Iterator[str]:
    """Yield where decisions are about erased persons."""
    for holder, found in _decided(context):
        with _session(context, holder) as connection:
            for key, lines in _lines(context, connection, holder, found).items():
                yield f"{object_url(context.store.bucket, key)} has {len(lines)} decisions about erased persons"


def texts_left(context: BuildContext, values: Sequence[str]) -> Iterator[str]:
    """Yield which objects of decisions hold an identifier as text."""
    wanted = [value.lower() for value in values]
    for _, found in _decided(context):
        for entry in found.entries:
            text = objects.text_of(context.store, entry).lower()
            if any(each in text for each in wanted):
                yield f"{object_url(context.store.bucket, entry.key)} holds an identifier"


def _decided(context: BuildContext) -> Iterator[tuple[Holder, DecisionObjects]]:
    """Yield the objects of the decisions on tables that are made of rows about persons."""
    for holder in holders_of(context.pipeline).values():
        if may_be_decided(holder.table):
            for found in objects.find_of_table(context.store, holder.table.relation):
                yield holder, found


def _session(context: BuildContext, holder: Holder) -> AbstractContextManager[Connection[Any]]:
    """Open a session as the login: who builds tables may not know whom the hashes name."""
    name = f"erase decisions on {holder.table.relation}"
    return connect(context.server, context.pipeline.name, name, more=UNLOGGED)


def _lines(
    context: BuildContext, connection: Connection[Any], holder: Holder, found: DecisionObjects
) -> dict[str, set[int]]:
    """Return the lines with decisions about erased persons, by the key of their object."""
    decisions = objects.read(context.store, holder.table, found).decisions
    erased = Erased(holder.table, salted_of(context, {each.kind for each in holder.subjects}))
    if not decisions:
        return {}
    if holder.table.has_object:
        about = _about_records(context, connection, decisions, erased)
    else:
        about = _about_rows(connection, holder, decisions, erased)
    lines: dict[str, set[int]] = {}
    for number in about:
        key, _, line = decisions[number].place.rpartition(":")
        lines.setdefault(key, set()).add(int(line))
    return lines


def _about_records(
    context: BuildContext, connection: Connection[Any], decisions: Sequence[Decision], erased: Erased
) -> set[int]:
    """Return the numbers of the decisions on records about erased persons, as the objects are read now.

    The words of a record are looked at if its object is gone.
    """
    table, found = erased.table, set[int]()
    for key in sorted({str(each.key.get("object")) for each in decisions}):
        texts = [
            (number, str(part[RECORD]))
            for number, each in enumerate(decisions)
            if each.key.get("object") == key
            for part in (each.was, each.set)
            if RECORD in part
        ]
        day = next(iter(table.source.key.load_dates(key)), None)
        manifest = context.store.manifest(table.relation.table, day, key) if day else None
        if day and manifest:
            with opened_object(context, table, manifest, day) as opened:
                records = [changed(opened.read_again(text), line=number + 1) for number, text in texts]
        else:
            records = [Record(number + 1, text, None, "its object is gone") for number, text in texts]
        with connection.transaction():
            found |= {line - 1 for line in quarantine.find_erased(connection, erased, records)}
    return found


def _about_rows(connection: Connection[Any], holder: Holder, decisions: Sequence[Decision], erased: Erased) -> set[int]:
    """Return the numbers of the decisions on rows with the key of an erased person, before or after a correction."""
    found = set[int]()
    for name in sorted(holder.columns):
        type_ = holder.table.types[name]
        values = [
            (number, text)
            for number, each in enumerate(decisions)
            for part in (each.key, each.was, each.set)
            if (text := corrections.text_of(part.get(name), type_)) is not None
        ]
        texts = [text for _, text in values]
        places = rows.find_values(connection, type_, erased, holder.subjects, texts)
        found |= {values[place][0] for place in places}
    return found
