"""Deliveries: the objects of one source and load_date together, and whether all of them are there.

Belongs here: the several objects of a pattern, and what lacks. Not here: finding those of many load_dates in listings
(listing.py), and a reference object (reference.py).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from difflib import get_close_matches
from functools import partial
from itertools import islice

from kpi_assets.model.manifest import Manifest, etag_of_parts
from kpi_assets.model.source import Source
from kpi_assets.model.table import Table
from kpi_assets.sources.objects import Entry
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store

AT_ONCE = 5  # requests at the same time
NEAR = 3  # keys that are named beside a pattern that matches none
_PAGE = 1000  # keys that one request lists


@dataclass(frozen=True)
class Delivery:
    """What lies on S3 of one source for one load_date: one object, or several as if they were one."""

    key: str  # of several objects, the pattern
    size_bytes: int
    etag: str
    last_modified: datetime  # of several objects, of the newest
    lacks: str = ""  # what lacks before the load_date is complete, as the end of "Its object … "
    gone: str = ""  # why a reference object cannot be read in the state that belongs to the load_date: one sentence


def of_entry(entry: Entry) -> Delivery:
    """Return the delivery that is one object."""
    return Delivery(entry.key, entry.size_bytes, entry.etag, entry.last_modified)


def of_entries(
    source: Source, load_date: date, entries: Sequence[Entry], *, has_marker: bool, now: datetime
) -> Delivery:
    """Return the delivery of a pattern with these objects, of which there is at least one."""
    newest = max(entry.last_modified for entry in entries)
    return Delivery(
        source.key.key(load_date),
        sum(entry.size_bytes for entry in entries),
        etag_of_parts(sorted(entries, key=lambda entry: entry.key)),
        newest,
        lacking(source, load_date, len(entries), newest, has_marker=has_marker, now=now),
    )


def lacking(source: Source, load_date: date, count: int, newest: datetime, *, has_marker: bool, now: datetime) -> str:
    """Return what lacks of `count` objects before the load_date is complete, in a few words; empty if nothing does."""
    complete, marker, pattern = source.complete, source.marker_key, source.key.key(load_date)
    if complete is None:
        return ""
    if complete.objects and count < complete.objects:
        return f"{count} of the {complete.objects} objects of {pattern} have landed"
    if marker and not has_marker:
        return f"{_counted(count)} of {pattern} landed, and their marker {marker.key(load_date)} has not"
    if complete.settled_minutes:
        settled = newest + timedelta(minutes=complete.settled_minutes)
        if now < settled:
            at = f"{settled.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
            return f"{_counted(count)} of {pattern} landed, and are complete at {at} if none is added until then"
    return ""


def too_many(source: Source, count: int) -> str:
    """Return what is wrong with more objects than a load_date should have; empty if there are not more."""
    wanted = source.complete.objects if source.complete else None
    if wanted is None or count <= wanted:
        return ""
    return f"{count} objects match it, and complete.objects is {wanted}: remove what is no part of it, or correct that"


def _counted(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


@dataclass(frozen=True)
class Several:
    """The objects of a pattern and load_date: their manifest, or what lacks."""

    manifest: Manifest | None
    lacks: str = ""
    is_absent: bool = False  # whether there is none


def is_there(store: Store, table: Table, load_date: date) -> bool:
    """Return whether any object of the load_date lies on S3. Raises LakeError."""
    if table.source.key.is_pattern:
        return bool(_entries(store, table, load_date))
    return store.manifest(table.relation.table, load_date, table.object_key(load_date)) is not None


def _entries(store: Store, table: Table, load_date: date) -> list[Entry]:
    """Return the objects of a pattern and load_date in the order of their keys, without their marker."""
    key, marker = table.source.key, _marker(table, load_date)
    bounds, found = key.listing(load_date, load_date), []
    for entry in store.entries(bounds.prefix, bounds.start_after):
        if bounds.is_over(entry.key):
            break
        if entry.key != marker and key.matches(entry.key, load_date):
            found.append(entry)
    return found


def _marker(table: Table, load_date: date) -> str:
    """Return the key of the marker object; empty without one."""
    marker = table.source.marker_key
    return marker.key(load_date) if marker else ""


def find_several(store: Store, table: Table, load_date: date, now: datetime) -> Several:
    """Find the objects of a source with several, in the order of their keys. Raises LakeError."""
    entries, pattern = _entries(store, table, load_date), table.object_key(load_date)
    if not entries:
        none, beside = f"no object matches s3://{store.bucket}/{pattern}", near(store, pattern)
        return Several(None, f"{none}; {beside}" if beside else none, is_absent=True)
    name, marker = table.relation.table, _marker(table, load_date)
    has_marker = bool(marker) and store.manifest(name, load_date, marker) is not None
    newest = max(entry.last_modified for entry in entries)
    if lacks := lacking(table.source, load_date, len(entries), newest, has_marker=has_marker, now=now):
        return Several(None, f"{lacks}, in s3://{store.bucket}")
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="head") as pool:
        parts = list(pool.map(partial(_part, store, name, load_date), entries))
    return Several(Manifest.of_parts(pattern, parts))


def _part(store: Store, name: str, load_date: date, entry: Entry) -> Manifest:
    found = store.manifest(name, load_date, entry.key)
    if found is None:
        raise LakeError(
            f"s3://{store.bucket}/{entry.key} was removed just now, after it was listed: run the load_date again."
        )
    return found


def near(store: Store, pattern: str) -> str:
    """Return which keys are most like a pattern that matches none, as a part of a sentence; empty if there are none."""
    folder = pattern
    while folder:
        folder, slash, _ = folder.rstrip("/").rpartition("/")
        folder += slash
        keys = [entry.key for entry in islice(store.entries(folder), _PAGE)]
        if keys:
            found = get_close_matches(pattern, keys, NEAR, 0.0)
            return f"near it lie{'s' * (len(found) == 1)} {', '.join(sorted(found))}"
    return ""
