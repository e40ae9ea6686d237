"""Objects written again without erased persons.

Each object is read, written under its key without the records that are about them, and read back: the records before
are those after and those that were taken out. What is about to be written is recorded first, so that who was
interrupted goes on where the object shows that he had come to.
A record that cannot be read is about whom it was corrected to be about, too.
Belongs here: one object, and finding the objects that must be read. Not here: the bytes without some records
(sources/formats), and what else an erasure does.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import manifest_links as ledger
from kpi_assets.ledger import manifests
from kpi_assets.ledger.manifest_links import Link
from kpi_assets.ledger.recorded import ObjectState
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erasures import mask_of
from kpi_assets.model.decision import Decision
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.sources.any_order import AsFile
from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.base import Instead, OpenObject, UnreadableError
from kpi_assets.sources.local_copy import LocalCopy
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import PART
from kpi_assets.warehouse import quarantine
from kpi_assets.warehouse.connection import one_snapshot
from kpi_assets.warehouse.decided_records import DecidedRecords
from kpi_assets.warehouse.erased import Erased, rows_without

_LATEST = timedelta(days=400)  # after today: objects with later dates are those of no pipeline


@dataclass
class Found:
    """What one pass over an object found: its records, and those of them about erased persons by their numbers."""

    records: int
    erased: dict[int, dict[str, str]]  # what takes the place of keys, by column; nothing if the record goes as a whole
    sha256: str

    def taken_out(self, table: Table) -> set[int]:
        """The records that go as a whole."""
        return {number for number, keys in self.erased.items() if table.header.erase == "rows" or not keys}

    def instead(self, table: Table) -> dict[int, dict[str, str | None]]:
        """What takes the place of the personal values of the records that stay."""
        gone, nothing = self.taken_out(table), dict.fromkeys(table.pii.personal, None)
        return {number: {**nothing, **keys} for number, keys in self.erased.items() if number not in gone}


def objects_of(context: BuildContext, table: Table) -> Iterator[tuple[date, Manifest]]:
    """Yield every object of a table that lies on S3, of any load_date, with the day in its key. Raises LakeError."""
    first, last = context.pipeline.config.start_date, date.today() + _LATEST  # noqa: DTZ011  the zone makes no difference
    key, marker = table.source.key, table.source.marker_key
    bounds = key.listing(first, last)
    for entry in context.store.entries(bounds.prefix, bounds.start_after):
        if bounds.is_over(entry.key):
            break
        days = [day for day in key.load_dates(entry.key) if not marker or marker.key(day) != entry.key]
        if days:
            yield (
                days[0],
                Manifest(
                    table.relation.table,
                    days[0],
                    context.store.bucket,
                    entry.key,
                    entry.size_bytes,
                    entry.etag,
                    None,
                    entry.last_modified,
                ),
            )


def objects_to_read(
    context: BuildContext, connection: Connection[Any], table: Table, erased: Erased
) -> Iterator[Manifest]:
    """Yield the objects of a table that may have erased persons; the others are passed by unread. Raises LakeError.

    The rows of a load_date prove that an object has nobody. The publish names the state of the object that was read,
    and S3 lists that state, so it has the same bytes. The build read as many records as there are rows now, by the
    header as it is and without a decision. Since `rows_accounted` held, each record is one of these rows, and no row is
    about an erased person. One of these is broken by a record in the quarantine (also if a decision on it is not built
    yet), a person who was left out, rows that were dropped, and an object that was replaced since or never published.
    Rows that somebody changed by hand prove nothing; `kpi recheck` finds them, and `kpi erase --verify` reads every
    object.
    """
    with one_snapshot(connection, [table.relation]):  # so that the rows are those of the publish
        counted = rows_without(connection, erased)
        proven = manifests.wholly_loaded(
            connection, table.relation, counted, bucket=context.store.bucket, code_version=table.code_version
        )
    for _, manifest in objects_of(context, table):
        if ObjectState.of(manifest.key, manifest.size_bytes, manifest.etag) not in proven:
            yield manifest


def find(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    manifest: Manifest,
    erased: Erased,
    decisions: Sequence[Decision] = (),
) -> dict[int, dict[str, str]]:
    """Return the records of an object that are about erased persons, as Found has them. Raises LakeError.

    `decisions` are those on its records.
    """
    now = context.store.manifest(manifest.object, manifest.load_date, manifest.key)
    if now is None:
        return {}
    with opened_object(context, table, now, manifest.load_date) as opened:
        return _look(connection, opened, erased, decisions).erased


def rewrite(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    manifest: Manifest,
    erased: Erased,
    erasure: int,
    decisions: Sequence[Decision] = (),
    *,
    was_behind: bool = False,
) -> Link | None:
    """Write an object again without erased persons; return what was done, or None if it has none.

    `decisions` are those on its records. Where the ledger `was_behind` the erasure, the object may have been written
    again before, and the ledger forgets every other state of it. Raises LakeError if the object cannot be read or is
    replaced meanwhile; then nothing was written.
    """
    mask = mask_of(context)
    known = ledger.of_object(connection, manifest.bucket, manifest.key)
    open_link = next((each for each in known if each.records_after is None), None)
    day = manifest.load_date
    now = context.store.manifest(manifest.object, day, manifest.key)
    if now is None:
        return None
    with opened_object(context, table, now, day) as opened:
        found = _look(connection, opened, erased, decisions)
        if open_link and found.sha256 == open_link.new_sha256:  # it was written, and nothing after that
            for old in manifests.others(connection, now):
                ledger.forget(connection, old, mask, open_link.erasure)
            return _finished(context, connection, now, found, open_link)
        if not found.erased:
            for old in manifests.others(connection, now) if was_behind else ():
                ledger.forget(connection, old, mask, erasure)
            return None
        gone = found.taken_out(table)
        with _contents(opened, gone, found.instead(table)) as copy:
            link = Link(
                erasure,
                *(manifest.object, now.bucket, now.key),
                mask(now.hash)[:16],
                mask(found.sha256),
                _sha256(copy),
                *(found.records, len(found.erased)),
            )
            ledger.begin(connection, link)
            metadata = context.store.metadata(now)
            new = context.store.replace(now, io.BufferedReader(AsFile(copy)), copy.size, metadata)
    with opened_object(context, table, new, day) as opened:
        again = _look(connection, opened, erased, ())
    if again.erased or again.records != found.records - len(gone) or again.sha256 != link.new_sha256:
        raise LakeError(
            f"{new.url} was written without {len(gone)} of {found.records} records, and has {again.records} "
            f"now, {len(again.erased)} of them of erased persons: look at who else writes there, and give the command "
            "again."
        )
    ledger.forget(connection, now, mask, erasure)
    return _finished(context, connection, new, again, link)


def _finished(context: BuildContext, connection: Connection[Any], new: Manifest, found: Found, link: Link) -> Link:
    """Delete the earlier versions of an object that was proven, and record that."""
    old = context.store.objects.delete_versions(new.key)
    done = replace(
        link,
        new_etag=new.etag,
        records_after=found.records,
        versions_deleted=old.deleted,
        versions_kept=list(old.kept),
    )
    ledger.finish(connection, done)
    return done


@contextmanager
def opened_object(context: BuildContext, table: Table, manifest: Manifest, day: date) -> Iterator[OpenObject]:
    """Open an object and prepare it to be read. Raises LakeError if it cannot be read as its header says."""
    try:
        with format_of(table).open(context.store, manifest, table, day) as opened:
            if opened.problem:
                raise UnreadableError(opened.problem)
            opened.prepare(lambda done: context.on_progress("reading", done, manifest.size_bytes))
            yield opened
    except UnreadableError as error:
        raise LakeError(f"{manifest.url} cannot be read, so that nobody can be erased from it: {error}.") from None


def _look(connection: Connection[Any], opened: OpenObject, erased: Erased, decisions: Sequence[Decision]) -> Found:
    """Read an object to its end, and look for erased persons, also in what its records were corrected to."""
    count, decided = 0, DecidedRecords(decisions)

    def numbered() -> Iterator[Record]:
        nonlocal count
        for record in opened.records():
            count += 1
            placed = replace(record, line=count, object_key=opened.manifest.key)
            yield placed
            if decisions and (other := decided.find(placed, record.line, opened.read_again)):
                yield other
        yield from decided.find_elsewhere()

    with connection.transaction():
        found = quarantine.find_erased(connection, erased, numbered())
    return Found(count, found, opened.bytes.sha256())


@contextmanager
def _contents(opened: OpenObject, gone: set[int], instead: Instead) -> Iterator[LocalCopy]:
    """Make the bytes of an object without erased persons, in a temporary file."""
    copy = LocalCopy.of(opened.without(gone, instead), opened.manifest.url, lambda _size: None)
    try:
        yield copy
    finally:
        copy.close()


def _sha256(copy: LocalCopy) -> str:
    """Return the sha256 of bytes as the ledger has it of an object: of its parts, if there are several."""
    parts = [hashlib.sha256(copy.head(PART, start)).digest() for start in range(0, max(copy.size, 1), PART)]
    return (parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(parts)).digest()).hex()
