"""Checks of the object of a raw table: every record is accounted for, and the bytes are new.

Belongs here: checks that need the whole object to be read. A recheck reads no object, so they apply to a build only.
Not here: checks of an object before it is read (materialize/verify_object.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from kpi_assets.model.checks.base import AuditFacts, Measured, SameBytes, TableCheck
from kpi_assets.model.quarantine import QuarantineSpec
from kpi_assets.model.results import SAMPLES, CheckResult, Subject

# Records that a stream with `quarantine` may always set aside: of a batch with few records, one is a large share.
ALWAYS = 20


@dataclass(frozen=True)
class SourceObjectCheck(TableCheck):
    """A check that only a build can make, since only a build reads the object."""

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"candidate"})


@dataclass(frozen=True)
class RowAccounting(SourceObjectCheck):
    """The records counted in the object are the rows loaded + those in quarantine + those of erased persons.

    The metric is the difference.
    """

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Fail if a record is unexplained, or if the object could not be read to its end."""
        known = measured.rows + facts.quarantined + (facts.erased or 0)
        missing = None if facts.records is None else facts.records - known
        message = f"{facts.records} records in the object = {measured.rows} loaded + {facts.quarantined} in quarantine"
        if facts.erased is not None:
            message += f" + {facts.erased} erased"
        if missing:
            message += f" + {missing} unexplained" + (f": {facts.lost}" if facts.lost else "")
        passed = missing == 0 and not facts.unreadable
        return self.judged(passed=passed, metric=missing, message=facts.unreadable or message)


@dataclass(frozen=True)
class Chain(SourceObjectCheck):
    """Each object of a stream continues the one before it in its partition, and has the events that it counts."""

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Fail if an object is missing between two others, or cannot be read; the message names it."""
        return self.judged(passed=not facts.unreadable, metric=int(bool(facts.unreadable)), message=facts.unreadable)


@dataclass(frozen=True, kw_only=True)
class Quarantine(SourceObjectCheck):
    """The records that were set aside, because a value or the record itself cannot be read, are within the budget.

    Of a stream, they are within it in the batch and in the load_date so far; `always` so many may be set aside, however
    few records there are.
    """

    budget: QuarantineSpec
    always: int = 0

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Fail if they exceed the budget; the message has their number and the line of the first one."""
        records, waiting = measured.rows + facts.quarantined, facts.quarantined - facts.discarded
        of_load_date = max(self.always, self.budget.most(facts.records_before + records)) - facts.quarantined_before
        most = max(0, min(max(self.always, self.budget.most(records)), of_load_date))
        return self.judged(
            passed=waiting <= most,
            metric=waiting,
            threshold=most,
            message="; ".join(filter(None, (_unreadable(waiting, facts), facts.decided))),
            samples=facts.quarantine_samples,
            examined=measured.rows + facts.quarantined if facts.records is None else facts.records,
            bad=facts.quarantined,
        )


def _unreadable(waiting: int, facts: AuditFacts) -> str:
    if not waiting or not facts.quarantine_samples:
        return ""
    first = facts.quarantine_samples[0]
    of_several = f"{first['object']}, " if "object" in first else ""
    place, which = ("line", "on") if "line" in first else ("record", "is")
    where = f"{which} {of_several}{place} {first[place]}"
    where += f", {first['column']} {first['value']!r}" if first["column"] else ""
    return f"{waiting} unreadable record{'s' * (waiting > 1)}, first {where}: {first['reason']}"


@dataclass(frozen=True)
class NotSeenBefore(SourceObjectCheck):
    """No other object that was delivered before has the same bytes; the metric is the number of those that have."""

    @property
    def needs(self) -> tuple[SameBytes]:
        """The objects with the same bytes."""
        return (SameBytes(),)

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Fail if there are such objects; the message names the first one."""
        same, message = facts.looked_up.get(SameBytes(), ()), ""
        if same:
            more = f" and {len(same) - 1} more" if len(same) > 1 else ""
            what = same[0].get("part", "the object")
            message = f"{what} has the same bytes as {same[0]['object']} of {same[0]['load_date']}{more}"
        return self.judged(passed=not same, metric=len(same), message=message, samples=same[:SAMPLES])
