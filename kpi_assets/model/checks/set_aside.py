"""The check of the rows that rules set aside: `quarantine` of a table with a SELECT.

Not here: which rows those are (warehouse/set_aside.py), and the records that cannot be read (source_object.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from kpi_assets.model.checks.base import AuditFacts, Measured, TableCheck
from kpi_assets.model.quarantine import QuarantineSpec
from kpi_assets.model.records import SetAside
from kpi_assets.model.results import CheckResult, Subject


@dataclass(frozen=True, kw_only=True)
class RowsSetAside(TableCheck):
    """The rows that wait for a decision are within the budget; discarded ones do not count.

    A recheck sets no rows aside, so the check applies to a build only.
    """

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"candidate"})

    budget: QuarantineSpec

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Fail if they exceed the budget; the message has the number of rows by rule, and what decisions did."""
        found = facts.set_aside or SetAside()
        most = self.budget.most(measured.rows + found.out)
        return self.judged(
            passed=found.waiting <= most,
            metric=found.waiting,
            threshold=most,
            message=found.text,
            samples=found.samples,
            examined=measured.rows + found.out,
            bad=found.out,
        )
