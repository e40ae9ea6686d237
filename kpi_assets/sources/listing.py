"""Listings: finds the landed objects of a pipeline, by load_date, without reading them.

Belongs here: finding a source's keys among other keys. Not here: what follows from them (plan/).
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pipeline import Table, parse_date
from kpi_assets.sources.store import Entry, Store

AT_ONCE = 5  # listings at the same time

Landed = dict[date, dict[str, Entry]]  # load_date -> the raw table's name -> its object


def landed(store: Store, tables: Iterable[Table], first: date, last: date) -> Landed:
    """Return the objects of `tables`, which have one each, for the load_dates from `first` to `last` of one year.

    Each prefix is listed once, and only for that year, so that a listing does not grow with the years. Other keys are
    ignored. Raises LakeError.
    """
    assert first.year == last.year
    wanted: dict[str, dict[str, list[str]]] = {}  # text before the date -> text after the date -> names
    for table in tables:
        before, _, behind = table.source.object.partition(f"{{{LOAD_DATE}}}")
        wanted.setdefault(before, {}).setdefault(behind, []).append(table.relation.table)

    def listed(before: str) -> list[tuple[date, str, Entry]]:
        """Return (load_date, name, object) for each key below a prefix that belongs to one of the tables."""
        found = []
        # Keys are in order of their letters: all keys of `first` come after the day before, whatever follows the date.
        for entry in store.entries(f"{before}{first.year:04}-", f"{before}{first - timedelta(days=1)}"):
            day = _date_of(entry.key[len(before) : len(before) + 10])
            if day is not None and day > last:
                break
            if day is not None and day >= first:
                names = wanted[before].get(entry.key[len(before) + 10 :], ())
                found += [(day, name, entry) for name in names]
        return found

    by_load_date: Landed = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="list") as pool:
        for found in pool.map(listed, wanted):
            for day, name, entry in found:
                by_load_date.setdefault(day, {})[name] = entry
    return by_load_date


def _date_of(text: str) -> date | None:
    """Read the part of a key where the load_date should be; None if it is not a date."""
    try:
        return parse_date(text)
    except ValueError:
        return None
