"""Listings: finds the landed objects of a pipeline, by load_date, without reading them.

Belongs here: finding a source's keys among other keys. Not here: what follows from them (plan/), and reference objects,
which no listing tells anything about (reference.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

from kpi_assets.model.object_key import Listing, ObjectKey
from kpi_assets.model.table import Table
from kpi_assets.sources.deliveries import Delivery, of_entries, of_entry
from kpi_assets.sources.objects import Entry
from kpi_assets.sources.store import Store

AT_ONCE = 5  # listings at the same time

Landed = dict[date, dict[str, Delivery]]  # load_date -> the raw table's name -> what lies there of it


class _Wanted(NamedTuple):
    """Keys that are looked for: those of a table's objects, or of the markers that say that they are complete."""

    key: ObjectKey
    table: Table
    is_marker: bool = False


class _Found(NamedTuple):
    """An object that was looked for."""

    load_date: date
    wanted: _Wanted
    entry: Entry


def landed(
    store: Store, tables: Sequence[Table], first: date, last: date, now: datetime | None = None, *, carry: bool = True
) -> Landed:
    """Return the objects of `tables`, none of them a reference object, for the load_dates from `first` to `last`.

    An object that is carried is that of each load_date that reads it, unless `carry` is false. Tables whose keys begin
    alike share a listing, which begins and ends with these load_dates as far as the order of the keys is that of the
    dates. Other keys are ignored. Raises LakeError.
    """
    at = now or datetime.now(timezone.utc)
    carried = [table for table in tables if carry and table.source.carried_days]
    dated = [table for table in tables if table not in carried]
    found = _listed(store, dated, first, last, at)
    for table in carried:
        earliest = first - timedelta(days=table.source.carried_days or 0)
        for load_date, delivery in _carried(table, _listed(store, [table], earliest, last, at), first, last):
            found.setdefault(load_date, {})[table.relation.table] = delivery
    return found


def _carried(table: Table, there: Landed, first: date, last: date) -> Iterator[tuple[date, Delivery]]:
    """Yield the delivery of each load_date: the latest that is whole, of those that may be read for it."""
    name = table.relation.table
    for load_date in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        deliveries = (there[day][name] for day in table.object_days(load_date) if name in there.get(day, {}))
        if found := next((each for each in deliveries if not each.lacks), None):
            yield load_date, found


def _listed(store: Store, tables: Iterable[Table], first: date, last: date, now: datetime) -> Landed:
    """Return the objects whose keys have the dates from `first` to `last`."""
    groups: dict[Listing, list[_Wanted]] = {}
    for table in tables:
        for wanted in _wanted(table):
            groups.setdefault(wanted.key.listing(first, last), []).append(wanted)

    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]

    def listed(bounds: Listing) -> list[_Found]:
        patterns = [wanted for wanted in groups[bounds] if wanted.key.is_pattern]
        # The keys of single objects are known, so that each listed key is looked up and not read.
        exact: dict[str, list[tuple[date, _Wanted]]] = {}
        for wanted in groups[bounds]:
            for day in filter(wanted.key.has, days) if not wanted.key.is_pattern else ():
                exact.setdefault(wanted.key.key(day), []).append((day, wanted))
        found = []
        for entry in store.entries(bounds.prefix, bounds.start_after):
            if bounds.is_over(entry.key):
                break
            found += [_Found(day, wanted, entry) for day, wanted in exact.get(entry.key, ())]
            for wanted in patterns:
                there = wanted.key.load_dates(entry.key)
                found += [_Found(day, wanted, entry) for day in there if first <= day <= last]
        return found

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="list") as pool:
        return _by_load_date([each for found in pool.map(listed, groups) for each in found], now)


def _wanted(table: Table) -> Sequence[_Wanted]:
    found = [_Wanted(table.source.key, table)]
    if marker := table.source.marker_key:
        found.append(_Wanted(marker, table, is_marker=True))
    return found


def _by_load_date(found: Iterable[_Found], now: datetime) -> Landed:
    """Return what was found by load_date and table; the objects of a pattern are put together."""
    by_load_date: Landed = {}
    several: dict[tuple[date, str], tuple[Table, list[Entry]]] = {}
    markers: dict[tuple[date, str], str] = {}
    for load_date, (_, table, is_marker), entry in found:
        name = table.relation.table
        if is_marker:
            markers[load_date, name] = entry.key
        elif table.source.key.is_pattern:
            several.setdefault((load_date, name), (table, []))[1].append(entry)
        else:
            by_load_date.setdefault(load_date, {})[name] = of_entry(entry)
    for (load_date, name), (table, entries) in several.items():
        marker = markers.get((load_date, name))
        data = [entry for entry in entries if entry.key != marker]
        if data:
            by_load_date.setdefault(load_date, {})[name] = of_entries(
                table.source, load_date, data, has_marker=marker is not None, now=now
            )
    return by_load_date
