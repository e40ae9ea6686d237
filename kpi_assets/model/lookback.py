"""Lookback: which rows a table with `lookback: N` reads from a window of N calendar days, its own load_date the last.

A SELECT reads a table over the window by `load_date between %(window_start)s and %(load_date)s`. If the header of that
table says `versions: latest`, one row counts for each value of its grain: the one of the latest load_date in the
window. An order that was delivered twice is one order, as it was delivered last. The conditions of the SELECT apply to
these rows, so no condition brings an older version back. With `rows: all`, every row of the window counts. The author
must write one of the two, so that no row is left out unnoticed.

Belongs here: which rows count. Not here: how a SELECT is bound to the window (partition_filter.py), and which
load_dates are published (materialize/inputs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any

from kpi_assets.model.names import LOAD_DATE, Relation, quoted

WINDOW_START = "window_start"  # the parameter that authors write: the first load_date of the window
_THERE = "load_dates_there"  # the parameter that kpi_assets adds: the load_dates of the window that are read
LONGEST = 366


@dataclass(frozen=True)
class Window:
    """The load_dates from `first` to `last`; `there` are those that are read: all tables of the window have them.

    On those of `undue`, no table of the window is due.
    """

    first: date
    last: date
    there: tuple[date, ...]
    undue: frozenset[date] = frozenset()

    @property
    def load_dates(self) -> list[date]:
        """The load_dates of the window that should be there."""
        days = (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))
        return [day for day in days if day not in self.undue]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the SQL besides the load_date."""
        return {WINDOW_START: self.first, _THERE: list(self.there)}

    @cached_property
    def absent(self) -> str:
        """The load_dates that are not read, as text: `2025-03-02, 2025-03-05 to 2025-03-09`."""
        lacking = sorted({*self.load_dates} - {*self.there})
        runs = (list(run) for _, run in groupby(enumerate(lacking), key=lambda each: each[1].toordinal() - each[0]))
        return ", ".join(f"{run[0][1]} to {run[-1][1]}" if len(run) > 1 else str(run[0][1]) for run in runs)


Key = (
    Sequence[str] | None
)  # of each value of these columns only the latest row counts; None: all rows of the window count


def window_rows(relation: Relation, key: Key, instead: str | None = None) -> str:
    """Return the subquery for a table in a window: its latest row for each value of `key`, or all its rows.

    If `instead` is given, the subquery reads that in place of the table.
    """
    source = f"{instead} as every_row" if instead else quoted(*relation)
    rows = f"from {source} where {LOAD_DATE} = any(%({_THERE})s)"
    if key is None:
        return f"(select * {rows})"
    columns = ", ".join(map(quoted, key))
    return f"(select distinct on ({columns}) * {rows} order by {columns}, {LOAD_DATE} desc)"


def version_part(relation: Relation, key: Key) -> str:
    """Return the choice of rows as part of a code_version, because another choice gives other rows."""
    return f"{relation}: all rows" if key is None else f"{relation} {' '.join(key)}"
