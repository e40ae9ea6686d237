"""Lookback: what a table with `lookback: N` reads, which is the load_dates of N calendar days, its own the last.

The one place that says which rows those are, wherever a SELECT ties a table to the window by `load_date between
%(window_start)s and %(load_date)s`. Of a table that says `versions: latest` it reads one row for each value of the
grain, that of the latest load_date in the window: an order that was delivered twice is one order, as delivered last.
The SELECT's own conditions apply to these rows, so none of them brings an older version back. With `rows: all` it reads
every row of the window, whatever the tables say. One of both must be said, so that no row is left out unasked.
Not here: how a SELECT ties a table (query.py), and which load_dates are published (materialize/inputs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any

from kpi_assets.model.names import LOAD_DATE, Relation, quoted

WINDOW_START = "window_start"  # the parameter for authors: the first load_date of the window
_THERE = "load_dates_there"  # the parameter that is put in for them: those of the window that are read
LONGEST = 366


@dataclass(frozen=True)
class Window:
    """The load_dates `first` to `last`, and those of them that are read: published in every table of the window."""

    first: date
    last: date
    there: tuple[date, ...]

    @property
    def load_dates(self) -> list[date]:
        """All of them."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def parameters(self) -> dict[str, Any]:
        """What the SQL is executed with, besides the load_date."""
        return {WINDOW_START: self.first, _THERE: list(self.there)}

    @cached_property
    def absent(self) -> str:
        """Those that are not read, for people: `2025-03-02, 2025-03-05 to 2025-03-09`."""
        lacking = sorted({*self.load_dates} - {*self.there})
        runs = (list(run) for _, run in groupby(enumerate(lacking), key=lambda each: each[1].toordinal() - each[0]))
        return ", ".join(f"{run[0][1]} to {run[-1][1]}" if len(run) > 1 else str(run[0][1]) for run in runs)


Key = Sequence[str] | None  # the columns of which only the latest row counts; None where all rows of the window do


def window_rows(relation: Relation, key: Key, instead: str | None = None) -> str:
    """The subquery that stands for a table in a window: its latest row for each value of `key`, or all its rows.

    Read from a subquery `instead` of the table, where one is given.
    """
    source = f"{instead} as every_row" if instead else quoted(*relation)
    rows = f"from {source} where {LOAD_DATE} = any(%({_THERE})s)"
    if key is None:
        return f"(select * {rows})"
    columns = ", ".join(map(quoted, key))
    return f"(select distinct on ({columns}) * {rows} order by {columns}, {LOAD_DATE} desc)"


def told_apart_by(relation: Relation, key: Key) -> str:
    """The same choice as a part of a version: another choice gives other rows."""
    return f"{relation}: all rows" if key is None else f"{relation} {' '.join(key)}"
