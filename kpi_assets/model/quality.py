"""The word `quality` of a header, and the quality score of a table: how it is computed from what checks counted.

Belongs here: the dimensions, the score and the report. Not here: the check that has the score as its result
(checks/quality.py), what a check counts (checks/), and the report over the tables of a load_date (read/quality.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.strict_yaml import Strict

Dimension = Literal["completeness", "uniqueness", "validity", "consistency", "referential_integrity"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
CHECK = "quality"  # the name of the check
_BEST = Fraction(100)


class QualitySpec(Strict):
    """The lowest quality score of a load_date that is published; without a word the score only tells."""

    at_least: Annotated[float | None, Affects.CHECKS] = Field(
        default=None,
        ge=0,
        le=100,
        description="The lowest score, from 0 to 100, that is published. Below it the load_date is held. Without this "
        "word the score is recorded and holds nothing.",
        examples=["at_least: 80"],
    )

    @field_validator("at_least")
    @classmethod
    def _has_two_decimals(cls, value: float | None) -> float | None:
        # Scores are rounded down to two decimals: with more here, a score that is shown as equal could be too low.
        if value is not None and value != round(value, 2):
            raise ValueError(f"{value:g} has more than two decimals, and a score has two: write two")
        return value


class CheckCount(NamedTuple):
    """What one check counted: how many of the rows that it examined are bad."""

    name: str
    dimension: Dimension
    bad: int
    rows: int


def dimension_scores(counts: Iterable[CheckCount]) -> dict[Dimension, Fraction]:
    """Return the score of each dimension that a check has: the share of rows that are not bad, of 100.

    If nothing was examined, nothing is bad.
    """
    of_dimension: dict[Dimension, list[CheckCount]] = {dimension: [] for dimension in DIMENSIONS}
    for count in counts:
        of_dimension[count.dimension].append(count)
    return {dimension: _share(found) for dimension, found in of_dimension.items() if found}


def _share(counts: Sequence[CheckCount]) -> Fraction:
    rows = sum(count.rows for count in counts)
    return _BEST * (1 - Fraction(sum(count.bad for count in counts), rows)) if rows else _BEST


def table_score(scores: Mapping[Dimension, Fraction]) -> Fraction:
    """Return the score of a table: the mean of the dimensions that it has."""
    return sum(scores.values(), Fraction(0)) / len(scores) if scores else _BEST


def weighted(scores: Iterable[tuple[Fraction, int]]) -> Fraction:
    """Return the mean of (score, rows) weighted by the rows, of at least one; without any row, the plain mean."""
    found = list(scores)
    if not any(rows for _, rows in found):
        found = [(score, 1) for score, _ in found]
    return sum((score * rows for score, rows in found), Fraction(0)) / sum(rows for _, rows in found)


def rounded(score: Fraction) -> float:
    """Return a score with two decimals, rounded down: 100 means that nothing is bad."""
    return floor(score * 100) / 100


def reported(parts: Iterable[Mapping[str, Any]]) -> list[CheckCount]:
    """Return the counts of a report, by dimension."""
    return [
        CheckCount(check["name"], part["dimension"], check["bad"], check["rows"])
        for part in parts
        for check in part["checks"]
    ]


def report(counts: Sequence[CheckCount]) -> list[dict[str, Any]]:
    """Return the dimensions that a table has, each with its score and what its checks counted."""
    return [
        {
            "dimension": dimension,
            "score": rounded(score),
            "checks": [
                {"name": count.name, "bad": count.bad, "rows": count.rows}
                for count in counts
                if count.dimension == dimension
            ],
        }
        for dimension, score in dimension_scores(counts).items()
    ]
