"""The check `final`: the numbers of a load_date do not change any more once they are final.

Not here: when they are final (model/kpi.py), and what is published (materialize/check_facts.py).
"""

from dataclasses import dataclass

from kpi_assets.model.checks.base import AuditFacts, FinalChecksum, Measured, TableCheck
from kpi_assets.model.header import Header
from kpi_assets.model.kpi import Final
from kpi_assets.model.results import CheckResult
from kpi_assets.model.strict_yaml import Lines

FINAL = "final"


@dataclass(frozen=True, kw_only=True)
class Unchanged(TableCheck):
    """A build has the same rows as what is published of its load_date, if that is final; the metric is 0, or 1 if not.

    A recheck has nothing to compare: what is published is what it checks.
    """

    applies_to = frozenset({"candidate"})

    final: Final

    @property
    def needs(self) -> tuple[FinalChecksum]:
        """What is published, if it is final."""
        return (FinalChecksum(self.final),)

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Compare the checksums."""
        was = facts.looked_up.get(FinalChecksum(self.final))
        passed = was in {None, measured.checksum}
        at = self.final.at(facts.load_date)
        message = "" if passed else f"its numbers are final since {at:%Y-%m-%d %H:%M} UTC, and these are others"
        return self.judged(passed=passed, metric=int(not passed), message=message)


def final_check(header: Header, lines: Lines) -> list[Unchanged]:
    """Return the check of a KPI that says when its numbers are final."""
    final = header.kpi.final if header.kpi else None
    if final is None:
        return []
    days = f"{final.after_days} day{'s' * (final.after_days != 1)}"
    return [
        Unchanged(
            FINAL,
            f"No number changes later than {days} after the end of its load_date.",
            blocking=final.on_change == "hold",
            line=lines.of("kpi", "final"),
            final=final,
        )
    ]
