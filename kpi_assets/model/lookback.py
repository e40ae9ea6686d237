"""Lookback: what a table with `lookback: N` reads, which is more than one load_date.

The one place that says which rows those are. Where a SELECT ties a table to the window, by `load_date between
%(window_start)s and %(load_date)s`, it reads, for each value of that table's grain, the row of the latest load_date of
the window, and nothing of the load_dates before: an order that was delivered twice is one order, as it was told last.
The SELECT's own conditions are asked of these rows, so none of them brings an older version back.
Not here: how a SELECT ties a table (query.py), and which load_dates are published (build/upstream.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any

from kpi_assets.model.names import LOAD_DATE, Relation

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


def latest_rows(relation: Relation, grain: Sequence[str], instead: str | None = None) -> str:
    """The subquery that stands for a table in a window: of each value of its grain the row that came last.

    Read from a subquery `instead` of the table, where one is given.
    """
    key = ", ".join(f'"{column}"' for column in grain)
    source = f"{instead} as every_row" if instead else relation
    return (
        f"(select distinct on ({key}) * from {source} "  # noqa: S608  names that header.py allow-lists
        f"where {LOAD_DATE} = any(%({_THERE})s) order by {key}, {LOAD_DATE} desc)"
    )
