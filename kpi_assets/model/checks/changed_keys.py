"""The check of how many keys of a history change from one load_date to the next: `max_changed`.

Belongs here: the share of the keys of the load_date before that are changed or absent, and the SQL that finds them,
also for other checks. Not here: which rows these are and how they are read (warehouse/earlier_rows.py).
"""

from dataclasses import dataclass

from kpi_assets.model.bitwise import differs, is_plain
from kpi_assets.model.checks.base import AuditFacts, Earlier, Measured, RowsBefore, TableCheck
from kpi_assets.model.checks.sql_text import unlike_values
from kpi_assets.model.history import HistorySpec
from kpi_assets.model.names import quoted
from kpi_assets.model.results import CheckResult
from kpi_assets.model.table_ref import THIS

BEFORE = RowsBefore()


def rows_before(facts: AuditFacts, grain: tuple[str, ...]) -> Earlier | str:
    """Return the rows of the load_date before, to be compared by their keys; why there are none, if so."""
    before: Earlier | None = facts.looked_up.get(BEFORE)
    if before is None:
        return "not judged: no earlier load_date is published"
    if lacking := [name for name in grain if name not in before.types]:
        return without(before, ", ".join(lacking))
    return before


def without(before: Earlier, what: str) -> str:
    """Return the sentence about a load_date that was published without what would be compared."""
    return f"not judged: {before.load_date} was published without {what}"


@dataclass(frozen=True, kw_only=True)
class MaxChanged(TableCheck):
    """At most a share of the keys of the published load_date before are changed, bit by bit, or absent.

    Keys that are new do not count. Columns that only one of the two load_dates has are not compared.
    """

    at_most: float
    grain: tuple[str, ...]

    @property
    def needs(self) -> tuple[RowsBefore]:
        """The rows of the load_date before."""
        return (BEFORE,)

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Count all keys in one query; fail if more than the share are changed or absent, with a few of them."""
        before = rows_before(facts, self.grain)
        if isinstance(before, str):
            return self.judged(passed=True, metric=None, threshold=self.at_most, message=before)
        if before.changes:
            _, new, changed, absent = before.changes
            keys = measured.rows - new + absent
        else:
            keys, absent, changed = measured.first_row(count_keys(before, self.grain))
        bad = absent + changed
        share = bad / keys if keys else 0.0
        passed = share <= self.at_most
        message = (
            f"{bad} of {keys} keys of {before.load_date} ({share:.1%}): {changed} changed, {absent} absent"
            if bad
            else f"none of {keys} keys of {before.load_date} is changed or absent"
        )
        return self.judged(
            passed=passed,
            metric=share,
            threshold=self.at_most,
            message=message if passed else f"{message}; at most {self.at_most * 100:g}% may be",
            samples=[] if passed else measured.samples(bad_keys(before, self.grain)),
        )


def max_changed_check(spec: HistorySpec, grain: list[str], line: int) -> MaxChanged:
    """Return the check of a history."""
    description = f"At most {spec.max_changed * 100:g}% of the keys of the load_date before are changed or absent."
    return MaxChanged("max_changed", description, line=line, at_most=spec.max_changed, grain=tuple(grain))


def _joined(before: Earlier, grain: tuple[str, ...]) -> str:
    same = " and ".join(f"here.{quoted(name)} = before.{quoted(name)}" for name in grain)
    return f"from {before.rows} as before left join {THIS} as here on {same}"


def _absent(grain: tuple[str, ...]) -> str:
    return f"here.{quoted(grain[0])} is null"


def _changed(before: Earlier, grain: tuple[str, ...]) -> str:
    """Return the condition that a row differs in a bit, as two versions would; a key of 1.0 is 1.00 too."""
    compared = {name: type_ for name, type_ in before.types.items() if name not in grain or not is_plain(type_)}
    return f"({differs((type_, *_both(name, type_)) for name, type_ in compared.items())})"


def _both(name: str, type_: str) -> tuple[str, str]:
    """Return the SQL of the value of a column here and before."""
    here, there = (f"{alias}.{quoted(name)}::{type_}" for alias in ("here", "before"))
    return here, there


def count_keys(before: Earlier, grain: tuple[str, ...]) -> str:
    """Return the query of how many keys the earlier rows have, how many are absent here, and how many are changed."""
    absent = _absent(grain)
    return (
        f"select count(*), count(*) filter (where {absent}), "
        f"count(*) filter (where not ({absent}) and {_changed(before, grain)}) {_joined(before, grain)}"
    )


def bad_keys(before: Earlier, grain: tuple[str, ...]) -> str:
    """Return the query of the keys that are absent or changed, each with what differs."""
    columns: dict[str, tuple[str, str, str]] = {}
    for name, type_ in before.types.items():
        here, there = _both(name, type_)
        columns[name] = (differs([(type_, here, there)]), there, here)
    keys = ", ".join(f"before.{quoted(name)}" for name in grain)
    what_differs = (
        f"case when {_absent(grain)} then to_jsonb('absent'::text) else {unlike_values(columns, 'before')} end"
    )
    name = "differs" if "differs" not in grain else "what differs"
    return (
        f"select {keys}, {what_differs} as {quoted(name)} {_joined(before, grain)} "
        f"where {_absent(grain)} or {_changed(before, grain)}"
    )
