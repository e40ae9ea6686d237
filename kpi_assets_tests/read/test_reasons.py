"""How readers are told why a load_date has other rows than before."""

from datetime import date

import pytest

from kpi_assets.ledger.causes import Difference
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.reasons import reason

DAY, BEFORE = date(2024, 3, 6), date(2024, 3, 5)


@pytest.mark.parametrize(
    ("difference", "asset", "day", "text"),
    [
        ("object", "raw.things", DAY, "the source object of things was replaced"),
        ("object", "raw.things", BEFORE, "the source object of things of Tue 5 Mar was replaced"),
        ("came", "raw.things", DAY, "the source object of things came"),
        ("gone", "raw.things", DAY, "the source object of things was taken away"),
        ("object", "raw.no_longer", DAY, "the source object of no longer was replaced"),
        ("columns", "raw.things", DAY, "the columns of things were declared otherwise"),
        ("decision", "raw.things", DAY, "it was decided on rows of things that were set aside"),
        ("sql", "marts.weighed", DAY, "the SQL of weighed was changed"),
        ("own_sql", "marts.heavy", DAY, "its SQL was changed"),
        ("added", "raw.things", BEFORE, "things of Tue 5 Mar was published later"),
        ("taken", "raw.things", BEFORE, "things of Tue 5 Mar was taken out"),
        ("history", "marts.seen", DAY, "the history seen was corrected"),
        ("again", "stg.clicks", DAY, "clicks was built again as a whole"),
    ],
)
def test_what_differs_is_a_clause(pipeline: Pipeline, difference: str, asset: str, day: date, text: str) -> None:
    assert reason(pipeline, DAY, [Difference(0, difference, asset, day)]) == text


def test_several_causes_are_said_in_one_clause(pipeline: Pipeline) -> None:
    differences = [
        Difference(0, "object", "raw.things", BEFORE),
        Difference(0, "object", "raw.things", DAY),
        Difference(0, "object", "raw.labels", DAY),
        Difference(2, "own_sql", "marts.heavy", DAY),
        Difference(2, "columns", "raw.labels", DAY),
    ]
    labels, things = ("the source object of labels was replaced", "the source object of things was replaced")
    assert reason(pipeline, DAY, differences) == (
        f"{labels}, {things}, the source object of things of Tue 5 Mar was replaced and 2 more causes"
    )
    assert reason(pipeline, DAY, differences[1:4]) == f"{labels}, {things} and its SQL was changed"
    assert reason(pipeline, DAY, differences, "removed") == (
        f"it was taken out and published again, {labels}, {things} and 3 more causes"
    )
    assert reason(pipeline, DAY, differences[:4]) == (
        f"{labels}, {things}, the source object of things of Tue 5 Mar was replaced and 1 more cause"
    )
    again = [Difference(0, "object", "raw.things", DAY)] * 2
    assert reason(pipeline, DAY, again) == things


def test_rows_that_were_dropped_and_built_again(pipeline: Pipeline) -> None:
    assert reason(pipeline, DAY, [], "dropped") == "its rows were dropped and built again"
    assert reason(pipeline, DAY, []) == "it was built again with other rows"
    assert reason(pipeline, DAY, [], "removed") == "it was taken out and published again"
    things = [Difference(0, "object", "raw.things", DAY)]
    assert reason(pipeline, DAY, things, "dropped") == "the source object of things was replaced"
