"""What is asked for when KPIs are read: which ones, which load_dates, and at which instant.

Not here: reading them (kpis.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kpi_assets.model.measure import Measure
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table


@dataclass(frozen=True)
class Asked:
    """What is asked for: the load_dates from `first` to `last`, as they were shown at `as_of`, by default now.

    `until` is the newest load_date that readers are shown of a pipeline whose KPIs are shown together.
    """

    pipeline: Pipeline
    tables: Sequence[Table]
    as_of: datetime | None
    first: date
    last: date
    until: date = date.max

    @property
    def names(self) -> list[str]:
        """The KPIs, as in the ledger."""
        return [str(table.relation) for table in self.tables]

    @property
    def at(self) -> str:
        """The instant as a parameter of SQL: infinity is now."""
        return self.as_of.isoformat() if self.as_of else "infinity"

    def is_in_range(self, load_date: date) -> bool:
        """Return whether a load_date is in the range."""
        return self.first <= load_date <= self.last


def measures_of(table: Table) -> Mapping[str, Measure]:
    """Return the measures of a KPI."""
    assert table.header.kpi
    return table.header.kpi.measures


def compares_of(table: Table) -> set[int]:
    """Return how many days before a load_date those lie with which measures of a KPI are compared."""
    return {measure.compare for measure in measures_of(table).values()}
