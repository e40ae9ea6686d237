"""The check `final`: numbers that are final do not change any more, of a load_date or of the days that its rows are of.

Not here: when they are final (model/kpi.py), and what is published (materialize/check_facts.py).
"""

from dataclasses import dataclass, replace

from kpi_assets.model.checks.base import AuditFacts, Earlier, FinalChecksum, Measured, RowsBefore, TableCheck
from kpi_assets.model.checks.changed_keys import BEFORE, bad_keys, count_keys, rows_before, without
from kpi_assets.model.header import Header
from kpi_assets.model.kpi import Final
from kpi_assets.model.names import quoted
from kpi_assets.model.results import CheckResult
from kpi_assets.model.strict_yaml import Lines
from kpi_assets.model.wait import Wait

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


@dataclass(frozen=True, kw_only=True)
class UnchangedDays(TableCheck):
    """The rows of each day that was final in the load_date before are the same; the metric counts those that are not.

    Days that the window does not reach any more do not count, and none if the load_date before lacked an input.
    """

    applies_to = frozenset({"candidate"})

    final: Final
    by: str
    grain: tuple[str, ...]

    @property
    def needs(self) -> tuple[RowsBefore]:
        """The rows of the load_date before."""
        return (BEFORE,)

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Compare the rows by their keys, in one query."""
        before = rows_before(facts, self.grain)
        if isinstance(before, str):
            return self.judged(passed=True, metric=None, message=before)
        if before.lacks:
            return self.judged(passed=True, metric=None, message=without(before, before.lacks[0]))
        through = self.final.through(before.load_date)
        final = self._final_rows(before, facts)
        _, absent, changed = measured.first_row(count_keys(final, self.grain))
        if not absent + changed:
            return self.judged(passed=True, metric=0)
        bad = absent + changed
        since = f"the days up to {through} are final since {before.load_date}"
        return self.judged(
            passed=False,
            metric=bad,
            message=f"{since}, and {bad} of their rows are others: {changed} changed, {absent} absent",
            samples=measured.samples(bad_keys(final, self.grain)),
            examined=measured.rows,
            bad=bad,
        )

    def _final_rows(self, before: Earlier, facts: AuditFacts) -> Earlier:
        """Return the rows of the load_date before that are final, and whose day is in the window of the build."""
        column = f"final_row.{quoted(self.by)}"
        first = f" and {column} >= date '{facts.window.first}'" if facts.window else ""
        where = f"{column} <= date '{self.final.through(before.load_date)}'{first}"
        return replace(before, rows=f"(select * from {before.rows} as final_row where {where})", changes=None)


def final_check(header: Header, lines: Lines) -> list[TableCheck]:
    """Return the check of a KPI that says when its numbers are final."""
    final = header.kpi.final if header.kpi else None
    if final is None:
        return []
    days, is_held = f"{final.after_days} day{'s' * (final.after_days != 1)}", final.on_change == "hold"
    line = lines.of("kpi", "final")
    if final.by:
        return [
            UnchangedDays(
                FINAL,
                f"No row changes later than {days} after its {final.by}.",
                blocking=is_held,
                line=line,
                alert=None if is_held else Wait(),
                final=final,
                by=final.by,
                grain=tuple(header.grain),
            )
        ]
    return [
        Unchanged(
            FINAL,
            f"No number changes later than {days} after the end of its load_date.",
            blocking=is_held,
            line=line,
            final=final,
        )
    ]
