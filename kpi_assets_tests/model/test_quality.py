"""The quality score: dimensions, mean and rounding, against the formula as written in docs/guides/authoring.md."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpi_assets.model.quality import (
    DIMENSIONS,
    CheckCount,
    dimension_scores,
    report,
    rounded,
    table_score,
    weighted,
)

counts = st.builds(
    lambda dimension, bad, good: CheckCount(f"of_{dimension}", dimension, bad, bad + good),
    st.sampled_from(DIMENSIONS),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
)


def score(counts: Sequence[CheckCount]) -> float:
    return rounded(table_score(dimension_scores(counts)))


def test_a_dimension_is_the_share_of_its_rows_that_are_not_bad_and_the_score_their_mean() -> None:
    found = [
        CheckCount("grain", "uniqueness", 0, 1000),
        CheckCount("not_null", "completeness", 30, 1000),
        CheckCount("range__price", "validity", 100, 1000),
        CheckCount("range__cost", "validity", 0, 1000),
        CheckCount("quarantine", "validity", 10, 1010),
    ]
    assert dimension_scores(found) == {
        "completeness": 97,
        "uniqueness": 100,
        "validity": Fraction(100) * (1 - Fraction(110, 3010)),
    }
    assert score(found) == 97.78, "the mean of 97, 100 and 96.34… is 97.78…"
    assert report(found) == [
        {"dimension": "completeness", "score": 97.0, "checks": [{"name": "not_null", "bad": 30, "rows": 1000}]},
        {"dimension": "uniqueness", "score": 100.0, "checks": [{"name": "grain", "bad": 0, "rows": 1000}]},
        {
            "dimension": "validity",
            "score": 96.34,
            "checks": [
                {"name": "range__price", "bad": 100, "rows": 1000},
                {"name": "range__cost", "bad": 0, "rows": 1000},
                {"name": "quarantine", "bad": 10, "rows": 1010},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("bad", "rows", "expected"),
    [(0, 0, 100), (0, 5, 100), (5, 5, 0), (1, 3, 66.66), (1, 10**9, 99.99), (10**9 - 1, 10**9, 0)],
)
def test_a_score_is_rounded_down_so_that_100_means_that_nothing_is_bad(bad: int, rows: int, expected: float) -> None:
    assert score([CheckCount("grain", "uniqueness", bad, rows)]) == expected


def test_tables_are_weighted_by_their_rows() -> None:
    assert weighted([(Fraction(100), 300), (Fraction(50), 100)]) == Fraction(175, 2)
    assert weighted([(Fraction(100), 0), (Fraction(50), 1)]) == 50
    assert weighted([(Fraction(100), 0), (Fraction(50), 0)]) == 75, "without rows no table weighs more"


@given(st.lists(counts, min_size=1))
def test_the_score_is_that_of_the_formula(found: list[CheckCount]) -> None:
    of_dimension = {each: [count for count in found if count.dimension == each] for each in DIMENSIONS}
    shares = []
    for made in filter(None, of_dimension.values()):
        bad, rows = sum(count.bad for count in made), sum(count.rows for count in made)
        shares.append(100 * (1 - bad / rows) if rows else 100)
    expected = sum(shares) / len(shares)
    assert 0 <= expected - score(found) + 1e-9 < 0.01 + 2e-9
    assert (score(found) == 100) == (not any(count.bad for count in found))
    assert sum(len(part["checks"]) for part in report(found)) == len(found)
