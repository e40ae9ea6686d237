"""The load_dates of a plan as ranges: neighbors that need the same are one line.

Belongs here: which load_dates share a line, and how long the lines may be. Not here: printing them (plan.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from kpi_assets.plan.status import LoadDateStatus, State

SCREEN = 24  # the most lines of a terminal that a plan should take


@dataclass(frozen=True)
class Range:
    """Load_dates in one state for one reason; if they are not `consecutive`, others lie between them."""

    first: date
    last: date
    count: int
    state: State
    why: str
    consecutive: bool = True

    @property
    def load_dates(self) -> str:
        """The load_dates as text."""
        if self.count == 1:
            return str(self.first)
        if self.consecutive:
            return f"{self.first} to {self.last} ({self.count})"
        return f"{self.count} from {self.first} to {self.last}"


def fitting(statuses: Sequence[LoadDateStatus], height: Callable[[list[Range]], int]) -> list[Range]:
    """Return the ranges of all load_dates that are not published, with as many details as fit on a screen.

    `height` returns the number of lines that ranges take. If the whole reasons are too long, only their kinds are
    shown; if there are still too many lines, all load_dates of one kind share one, also if others lie between them.
    """
    for details in (_ranges(statuses, whole=True), _ranges(statuses, whole=False)):
        if height(details) <= SCREEN:
            return details
    return _folded(_ranges(statuses, whole=False))


def _ranges(statuses: Sequence[LoadDateStatus], *, whole: bool) -> list[Range]:
    """Return a range for each run of neighbors with the same state and kind of reason."""
    found = []
    for (state, summary), neighbors in groupby(
        statuses, lambda status: (status.state, status.summary or status.reason)
    ):
        if state != "published":
            of = list(neighbors)
            why = of[0].reason if whole and len({each.reason for each in of}) == 1 else summary
            found.append(Range(of[0].load_date, of[-1].load_date, len(of), state, why))
    return found


def _folded(ranges: Sequence[Range]) -> list[Range]:
    """Return one range for each state and kind of reason, in the order of their first load_dates."""
    kinds: dict[tuple[State, str], list[Range]] = {}
    for each in ranges:
        kinds.setdefault((each.state, each.why), []).append(each)
    return [
        Range(of[0].first, of[-1].last, sum(each.count for each in of), state, why, consecutive=len(of) == 1)
        for (state, why), of in kinds.items()
    ]
