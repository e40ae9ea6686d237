"""Erasing persons, step by step: whoever was interrupted begins again, and each step does what is not done yet.

1. The erasure is written to S3, so that no load brings the persons back from now on.
2. The objects that hold them are written again without them (rewrite.py), of which builds that somebody keeps out stay
   out (erased_holds.py), and then the decisions (erased_decisions.py).
3. The load_dates are built again, as after any other delivery; that is the caller's, who has Dagster.
4. Rows that are kept of earlier publishes are dropped, what ops has of values of earlier builds is emptied, and the
   files of tables are written anew.
5. It is proven that nobody is left (erase_proof.py), and a receipt says so (erase_receipt.py).

Belongs here: the first four, but the builds. Not here: loads (erasures.py).
"""

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import erased_values, manifest_links, runs
from kpi_assets.ledger import erasures as ledger
from kpi_assets.ledger.erasures import RecordedErasure
from kpi_assets.materialize import erased_decisions, erased_holds, files_anew, keep
from kpi_assets.materialize import rewrite as rewriting
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erasures import bring_up, erased_of, salt_of, salted_of
from kpi_assets.model.erasure import SHORTEST, ErasedKey, Erasure, mark_of
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.records import Record
from kpi_assets.model.sentences import known_names
from kpi_assets.model.subject_tables import holders_of
from kpi_assets.model.table import Table
from kpi_assets.settings import settings
from kpi_assets.sources import erasures as objects
from kpi_assets.sources.store import Store
from kpi_assets.waiting import Waits
from kpi_assets.warehouse import erased as rows
from kpi_assets.warehouse import quarantine
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.erased import Erased
from kpi_assets.warehouse.files_anew import end_wal

MOST_PERSONS = 100_000
_PAUSE = 0.5  # seconds between two looks whether builds are over
_OPS = ("publishes", "quarantine", "data_quality_results", "pipeline_runs", "alerts", "holds", "manifests")


@dataclass(frozen=True)
class Asked:
    """Whom to erase: the values that name the persons, why, and for whom."""

    kind: str
    values: Sequence[str] = field(repr=False)
    request: str
    reason: str
    by: str


@dataclass(frozen=True)
class Counted:
    """How many records of the objects of a table are about the persons."""

    table: Relation
    objects: int
    records: int


def subject_tables(pipeline: Pipeline, kind: str) -> list[Table]:
    """Return the raw tables whose rows are about persons of a kind. Raises UsageError if there is none."""
    found = [table for table in pipeline.tables.values() if kind in table.header.subject]
    if not found:
        known = sorted({each for table in pipeline.tables.values() for each in table.header.subject})
        if not known:
            raise UsageError(f"No table of {pipeline.name} names persons: write subject in the header of a raw table.")
        raise UsageError(f"No table of {pipeline.name} names persons of the kind {kind!r}: {known_names(kind, known)}.")
    return found


def check(asked: Asked) -> None:
    """Raise UsageError if what is asked for says too little."""
    if not asked.values:
        raise UsageError("There is no identifier in what --ids names: write one on each line.")
    if len(asked.values) > MOST_PERSONS:
        raise UsageError(f"There are {len(asked.values):,} identifiers: erase {MOST_PERSONS:,} at once at most.")
    if not asked.request.strip():
        raise UsageError("The request has no name: give with --request what whoever asked calls it.")
    if len(asked.reason.strip()) < SHORTEST:
        raise UsageError(
            f"The reason has fewer than {SHORTEST} characters: write with --reason why, for whoever reads it later."
        )


def keys_of(context: BuildContext, kind: str, values: Sequence[str]) -> tuple[ErasedKey, ...]:
    """Return the keys of persons as the tables of the pipeline spell them, without repetition.

    Raises UserError if no table could hold one of the values; it does not say which value that is, but on which line.
    """
    salted = salted_of(context, [kind])[kind]
    quick, placed = dict[str, int](), set[int]()
    for table in subject_tables(context.pipeline, kind):
        with context.session(table, "erase") as connection:
            for subject in (each for each in table.header.subjects if each.kind == kind):
                found = rows.find_keys(connection, subject, table.types[subject.column], salted, values)
                placed |= {*found}
                quick.update(dict(found.values()))
    if wrong := [number + 1 for number in range(len(values)) if number not in placed]:
        raise UserError(
            f"Identifier {wrong[0]} of {len(values)} can be no {kind} of {context.pipeline.name}: no table could hold "
            "it; nobody was erased."
        )
    return tuple(ErasedKey(salted.hash(key), number, secrets.token_hex(8)) for key, number in sorted(quick.items()))


def count(context: BuildContext, kind: str, keys: Sequence[ErasedKey]) -> list[Counted]:
    """Return how many records are about persons who are not erased yet, by table."""
    found = []
    for table in subject_tables(context.pipeline, kind):
        decided = erased_decisions.by_object(context, table)
        with context.own_session(table, "erase") as connection:
            erased = Erased(table, salted_of(context, [kind]), rows.keys_aside(connection, kind, keys))
            of_objects = [
                len(rewriting.find(context, connection, table, manifest, erased, decided.get(manifest.key, ())))
                for manifest in rewriting.objects_to_read(context, connection, table, erased)
            ]
        found.append(Counted(table.relation, sum(each > 0 for each in of_objects), sum(of_objects)))
    return found


def write(context: BuildContext, asked: Asked, keys: Sequence[ErasedKey]) -> int:
    """Write the erasure to S3, and return its number. From then on no load has the persons."""
    check(asked)
    erasure = Erasure(
        context.pipeline.name,
        asked.kind,
        asked.request.strip(),
        asked.reason.strip(),
        asked.by,
        datetime.now(timezone.utc).replace(microsecond=0),
        mark_of(salt_of(context.settings or settings())),
        tuple(keys),
    )
    number, key = objects.add(context.store, erasure)
    bring_up_all(context, made_here=[key])
    return number


def bring_up_all(context: BuildContext, *, made_here: Collection[str] = ()) -> list[RecordedErasure]:
    """Record the erasures that lie on S3, and return all that are recorded."""
    table = next((each for each in context.pipeline.tables.values() if each.header.subject), None)
    if table is None:
        return []
    with context.session(table, "erase") as connection:
        bring_up(context, connection, made_here=made_here)
        return ledger.every(connection)


def check_not_behind(context: BuildContext) -> None:
    """Raise UserError if the database has persons who were erased, because it was restored from before that.

    The erasures on S3 are recorded, so that `kpi serve`, which may not know S3, refuses too.
    """
    left = [each.erasure for each in bring_up_all(context) if each.was_behind and each.applied_at is None]
    if left:
        raise UserError(f"Nothing is built for {context.pipeline.name}, since {_left(context.pipeline, left)}.")


def _left(pipeline: Pipeline, numbers: Sequence[int]) -> str:
    """Return the sentence about erasures that are not through, without its end."""
    which = f"erasure {numbers[0]} is"
    if len(numbers) > 1:
        which = f"erasures {', '.join(map(str, sorted(numbers)))} are"
    return f"{which} not applied to this database: `kpi erase {pipeline.name} --apply` goes on"


def behind(pipeline: Pipeline, store: Store, connection: Connection[Any]) -> str:
    """Return a sentence if erasures are not through in this database, such as one that was restored; empty if all are.

    Nothing is changed. Raises LakeError and ErasureError.
    """
    if not any(table.header.subject for table in pipeline.tables.values()):
        return ""
    known = {each.object_key: each for each in ledger.every(connection)}
    left = [each.erasure for each in known.values() if each.applied_at is None]
    for number, entry in objects.find(store):
        if entry.key not in known and objects.read(store, number, entry).pipeline == pipeline.name:
            left.append(number)
    return _left(pipeline, left) if left else ""


def rewrite_objects(
    context: BuildContext, erasure: RecordedErasure, on_object: Callable[[str, int], None]
) -> list[manifest_links.Link]:
    """Write every object again that holds erased persons of the kind; builds that had begun before are waited for."""
    tables = [each for each in context.pipeline.tables.values() if erasure.kind in each.header.subject]
    _await_builds(context, tables, erasure)
    for table in tables:
        decided = erased_decisions.by_object(context, table)
        with context.own_session(table, f"erase {table.relation}") as connection:
            erased = erased_of(context, connection, table)
            assert erased is not None, "the erasure is recorded"
            with erased_holds.following(context, connection, table) as follow:
                for manifest in rewriting.objects_to_read(context, connection, table, erased):
                    on_records = decided.get(manifest.key, ())
                    done = rewriting.rewrite(
                        *(context, connection, table, manifest, erased, erasure.erasure, on_records),
                        was_behind=erasure.was_behind,
                    )
                    if done:
                        follow()
                    on_object(manifest.key, done.records_erased if done else 0)
                follow()  # who was killed just after an object was written again begins here
    with context.ledger_session("erase") as connection:
        return manifest_links.of_erasure(connection, erasure.erasure)


def _await_builds(context: BuildContext, tables: Sequence[Table], erasure: RecordedErasure) -> None:
    """Wait for builds that may have looked for erased persons before these were."""
    names = [str(table.relation) for table in tables]

    waits, until = Waits("waiting for builds that began before the erasure"), time.monotonic() + context.publish_timeout
    with context.ledger_session("erase") as connection:
        while True:
            runs.close_dead_rows(connection)
            running = connection.execute(
                "select 1 from ops.pipeline_runs where job = any(%s) and status = 'running' and started_at <= %s",
                [names, erasure.recorded_at],
            ).fetchone()
            if running is None:
                return
            if time.monotonic() > until:
                raise UserError(
                    f"A build of {' or '.join(names)} that began before the erasure is still running: give "
                    f"`kpi erase {context.pipeline.name} --apply` once it is over."
                )
            waits()
            time.sleep(_PAUSE)


def still_shown(context: BuildContext, erasures: Sequence[RecordedErasure], load_dates: Sequence[date]) -> list[date]:
    """Return those of some load_dates of which readers see rows that were published before the erasures."""
    with context.ledger_session("erase") as connection:
        found = connection.execute(
            "select distinct load_date from ops.published "
            "where asset = any(%s) and load_date = any(%s) and published_at <= %s order by 1",
            [_holders(context), list(load_dates), max(each.recorded_at for each in erasures)],
        ).fetchall()
    return [load_date for (load_date,) in found]


def empty(context: BuildContext, number: int) -> dict[str, int]:
    """Drop the rows that are kept of tables with rows about persons, and empty what ops has of values of the persons.

    Return the counts, which the ledger notes too. Kept rows of any load_date may be about the persons, since other rows
    may have taken their place before the erasure. A candidate that was held before is gone: each build of a load_date
    drops those of earlier ones.
    """
    names = _holders(context)
    for relation, holder in holders_of(context.pipeline).items():
        with context.own_session(holder.table, "erase") as connection, connection.transaction():
            keep.drop_all(connection, [relation], None, erased_values.dropped_by(number))
    with context.ledger_session("erase") as connection:
        ledger.note_runs(connection, number, erased_values.runs_of(connection, number, names))
        with connection.transaction():
            counts = erased_values.empty(connection, number, names)
            ledger.note_emptied(connection, number, counts)
    found = _in_quarantine(context)
    with context.ledger_session("erase") as connection, connection.transaction():
        of_persons = erased_values.empty_quarantine(connection, number, found)
        ledger.note_emptied(connection, number, {"quarantine": of_persons})
    counts["quarantine"] += of_persons
    return counts


def _in_quarantine(context: BuildContext) -> list[int]:
    """Return the rows of the quarantine in which a word is the key of an erased person, of any load_date."""
    found, holders = list[int](), holders_of(context.pipeline)
    for raw in (each for each in holders if context.pipeline.tables[each].header.subject):
        names = [str(relation) for relation, holder in holders.items() if raw in holder.raw]
        table = context.pipeline.tables[raw]
        with context.own_session(table, "erase") as connection:
            if erased := erased_of(context, connection, table):
                records = [
                    Record(number, text, None, "set aside")
                    for number, text in erased_values.quarantined(connection, names)
                ]
                with connection.transaction():
                    found += quarantine.find_erased(connection, erased, records)
    return found


def _holders(context: BuildContext) -> list[str]:
    return [str(relation) for relation in holders_of(context.pipeline)]


@dataclass(frozen=True)
class Wiped:
    """What was done about bytes of rows that are gone: the tables that this user may not write anew, and the WAL."""

    refused: Sequence[str] = ()
    wal: bool = False  # whether no WAL is left that was written before


def write_files_anew(context: BuildContext) -> Wiped:
    """Write the files of tables anew in which dead rows of persons may lie, and have the WAL deleted.

    Rows of partitions are gone with their files. The statistics of the planner hold values, too.
    """
    refused, timeout = list[str](), context.publish_timeout
    with connect(context.server, context.pipeline.name, "erase") as connection:
        files_anew.wait_for_rows(connection, context.on_progress, timeout)
    for relation, holder in holders_of(context.pipeline).items():
        if holder.table.storage.stores_rows:
            with context.own_session(holder.table, "erase") as connection:
                full = not holder.table.storage.sliceable
                refused += files_anew.write_anew(connection, [relation], context.on_progress, timeout, full=full)
    with connect(context.server, context.pipeline.name, "erase") as connection:
        of_ops = [Relation("ops", name) for name in _OPS]
        refused += files_anew.write_anew(connection, of_ops, context.on_progress, timeout)
        refused += files_anew.write_statistics_anew(connection, context.on_progress, timeout)
        return Wiped(refused, end_wal(connection))
