"""Compares a candidate with the versions that hold on its load_date: once, for its audit and for its publish.

The comparison of a large history takes longer than everything else in a fold. What the check `max_changed` counts are
the keys that the fold changes, if the load_date is not published yet: then the versions that hold on it are the rows of
the load_date before. The publish uses the comparison only if nothing of the history was published or removed since.
Not here: the SQL (warehouse/versions.py), and the check (model/checks/changed_keys.py).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import State
from kpi_assets.model.checks.base import Changes, RowsBefore
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.versions import Compared


@dataclass(frozen=True)
class Comparison:
    """What a candidate changes in the versions, as they were when the ledger was in a state."""

    compared: Compared
    before: date
    state: State

    @property
    def changes(self) -> Changes:
        """The changes as the check counts them."""
        found = self.compared.changes
        return Changes(self.before, found.new, found.changed, found.ended)

    def if_valid(self, connection: Connection[Any], candidate: Candidate) -> Compared | None:
        """Return what was compared if the versions are the same still; call this under the lock of a publish."""
        is_valid = publishes.state_of(connection, candidate.table.relation) == self.state
        return self.compared if is_valid else None


def compare(connection: Connection[Any], candidate: Candidate) -> Comparison | None:
    """Compare a candidate whose keys are unique, if its check counts what its publish would change."""
    table, load_date = candidate.table, candidate.load_date
    needs = (need for check in table.checks for need in check.needs)
    if not table.header.history or not any(isinstance(need, RowsBefore) for need in needs):
        return None
    # First: what is published while the candidate is compared changes the state then.
    state = publishes.state_of(connection, table.relation)
    before = publishes.latest_load_date(connection, table.relation, before=load_date)
    if before is None or publishes.current(connection, [table.relation], load_date):
        return None
    compared = strategy_of(table).compare(connection, candidate)
    return Comparison(compared, before, state) if compared else None
