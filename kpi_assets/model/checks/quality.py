"""The check of the quality score: `quality`, which a header has by its word of that name.

Belongs here: the score as a check, which needs no query. Not here: how the score is computed (model/quality.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kpi_assets.model.checks.base import AuditFacts, Measured, TableCheck
from kpi_assets.model.quality import (
    CHECK,
    CheckCount,
    QualitySpec,
    dimension_scores,
    report,
    rounded,
    table_score,
)
from kpi_assets.model.results import CheckResult
from kpi_assets.model.strict_yaml import Lines


@dataclass(frozen=True, kw_only=True)
class Quality(TableCheck):
    """The score of the other checks of the same audit reaches `at_least`; the metric is the score.

    A recheck takes over what checks counted that only a build can make, so that the same rows have the same score. The
    samples are the report by dimension, and the rows of the build are its weight among the tables of a load_date.
    """

    at_least: float | None = None

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Pass if there is no limit, or if the score is not below it."""
        made = [
            CheckCount(result.name, result.dimension, result.bad or 0, result.examined or 0)
            for result in measured.results
            if result.dimension
        ]
        counts = [*facts.counted, *made]
        score = rounded(table_score(dimension_scores(counts)))
        passed = self.at_least is None or score >= self.at_least
        return CheckResult(
            self.name,
            passed,
            self.blocking,
            metric=score,
            threshold=self.at_least,
            message=self._message(score, counts, passed=passed),
            samples=report(counts),
            examined=measured.rows,
            is_report=True,
        )

    def _message(self, score: float, counts: Sequence[CheckCount], *, passed: bool) -> str:
        """Return the score, with the worst check of each dimension that is below 100."""
        wanted = "" if passed else f", at least {self.at_least:g} is wanted"
        below = []
        for dimension, of_dimension in dimension_scores(counts).items():
            if of_dimension < 100:
                worst = max((each for each in counts if each.dimension == dimension), key=lambda each: each.bad)
                below.append(f"{dimension} {rounded(of_dimension):g} ({worst.name}: {worst.bad} of {worst.rows} rows)")
        return f"{score:g} of 100{wanted}" + (f": {', '.join(below)}" if below else "")


def quality_checks(spec: QualitySpec | None, lines: Lines) -> list[TableCheck]:
    """Return the check of the score, if the header has the word."""
    if spec is None:
        return []
    limit = "" if spec.at_least is None else f" is at least {spec.at_least:g} of 100"
    description = f"The quality score{limit}." if limit else "The quality score, of 100; it holds nothing."
    blocking = spec.at_least is not None
    return [Quality(CHECK, description, blocking=blocking, line=lines.of(CHECK), at_least=spec.at_least)]
