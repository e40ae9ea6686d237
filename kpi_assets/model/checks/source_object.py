"""Checks of what became of a raw table's object: every record is accounted for, and its bytes are new.

Belongs here: what is known only while the object is read. A recheck reads no object, so they apply to a build alone.
Not here: what a look at the object tells before it is read (materialize/verify_object.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from kpi_assets.model.checks.base import AuditFacts, Measured, SameBytes, TableCheck
from kpi_assets.model.results import SAMPLES, CheckResult, Subject


@dataclass(frozen=True)
class OfObject(TableCheck):
    """What a build alone can judge, since it reads the object."""

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"candidate"})


@dataclass(frozen=True)
class RowAccounting(OfObject):
    """Records in the object, counted by us = rows loaded + rows in quarantine; the metric is the difference."""

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Fails where a record is unexplained, or where the object could not be read to its end."""
        missing = None if facts.records is None else facts.records - measured.rows - facts.quarantined
        message = f"{facts.records} records in the object = {measured.rows} loaded + {facts.quarantined} in quarantine"
        if missing:
            message += f" + {missing} unexplained"
        passed = missing == 0 and not facts.unreadable
        return self.judged(passed=passed, metric=missing, message=facts.unreadable or message)


@dataclass(frozen=True)
class Quarantine(OfObject):
    """At most `budget` records of the object were set aside because a value or the record itself cannot be read."""

    budget: int = 0

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Says how many they are, and where the first of them stands."""
        return self.judged(
            passed=facts.quarantined <= self.budget,
            metric=facts.quarantined,
            threshold=self.budget,
            message=_unreadable(facts),
            samples=facts.quarantine_samples,
        )


def _unreadable(facts: AuditFacts) -> str:
    if not facts.quarantine_samples:
        return ""
    first = facts.quarantine_samples[0]
    where = f"line {first['line']}" + (f", {first['column']} {first['value']!r}" if first["column"] else "")
    return f"{facts.quarantined} unreadable record{'s' * (facts.quarantined > 1)}, first on {where}: {first['reason']}"


@dataclass(frozen=True)
class NotSeenBefore(OfObject):
    """No other object that was delivered before has the same bytes; the metric is how many have."""

    @property
    def needs(self) -> tuple[SameBytes]:
        """The objects with the same bytes."""
        return (SameBytes(),)

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Names the first of the others."""
        same, message = facts.looked_up.get(SameBytes(), ()), ""
        if same:
            more = f" and {len(same) - 1} more" if len(same) > 1 else ""
            message = f"the object has the same bytes as {same[0]['object']} of {same[0]['load_date']}{more}"
        return self.judged(passed=not same, metric=len(same), message=message, samples=same[:SAMPLES])
