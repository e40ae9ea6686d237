"""Listings: which objects of a pipeline lie on S3, by load_date, without reading any of them.

Belongs here: finding a source's keys among whatever else lies there. Not here: what they mean (plan/).
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pipeline import Table, parse_date
from kpi_assets.sources.store import Entry, Store

AT_ONCE = 5  # listings

Landed = dict[date, dict[str, Entry]]  # load_date -> the raw table's name -> its object


def landed(store: Store, tables: Iterable[Table], first: date, last: date) -> Landed:
    """The objects of `tables`, which have one each, for the load_dates from `first` to `last`, which lie in one year.

    Each prefix is listed once, for that year alone: what a store has to walk through does not grow with the years, and
    other keys are passed over. Raises LakeError.
    """
    assert first.year == last.year
    wanted: dict[str, dict[str, list[str]]] = {}  # what stands before the date -> what stands behind it -> names
    for table in tables:
        before, _, behind = table.source.object.partition(f"{{{LOAD_DATE}}}")
        wanted.setdefault(before, {}).setdefault(behind, []).append(table.relation.table)

    def listed(before: str) -> list[tuple[date, str, Entry]]:
        """(load_date, name, object) of each key below one prefix that belongs to one of the tables."""
        found = []
        # Keys are compared letter by letter: behind the day before come all keys of `first`, whatever follows the date.
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
    """What stands where the load_date should; None for anything else."""
    try:
        return parse_date(text)
    except ValueError:
        return None
