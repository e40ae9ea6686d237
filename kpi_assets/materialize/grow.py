"""Adds to a load_date what is new: one audited batch after another, in the time that a batch takes.

Belongs here: the order of the steps of a batch. Not here: the steps that a build of a whole load_date has too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kpi_assets.materialize.context import BuildContext
from kpi_assets.model.names import Relation
from kpi_assets.model.results import CheckResult
from kpi_assets.model.table import Table


@dataclass(frozen=True)
class Grown:
    """One batch of a table that grows: published, or held as a candidate that can be inspected."""

    relation: Relation
    load_date: date
    batch: int
    build_id: int
    publish_id: int | None  # None: held
    objects: int
    records: int
    rows: int
    repeats: int
    quarantined: int
    through: datetime | None
    results: Sequence[CheckResult]

    @property
    def held(self) -> bool:
        """Whether the batch was not published, so that readers keep what they had."""
        return self.publish_id is None


def grow(context: BuildContext, table: Table, load_date: date) -> list[Grown]:
    """Build every batch that the table lacks; of a raw table, one of at most `live.most_records` records a call."""
    raise NotImplementedError
