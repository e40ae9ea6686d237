"""The check min_rows: by default one row is enough. Shares of earlier load_dates are required only on request.

The load_dates are Thursdays and Sundays of the weeks before Christmas. 25 December 2025 is a Thursday.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import publishes
from kpi_assets.materialize.drop import drop_table
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS, PipelineHarness
from kpi_assets_tests.waivers import waived

CHRISTMAS = date(2025, 12, 25)
THINGS = Relation("raw", "things")
WEEK = timedelta(days=7)
NONE_YET = "of_usual is not judged yet: {} of the 4 Thursdays that it takes are published"


@pytest.fixture
def weeks(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("weeks")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.prepared()
        yield opened


def say(lab: PipelineHarness, words: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("@end", f"checks: {{min_rows: {words}}}\n@end"))


def build(lab: PipelineHarness, day: date, rows: int) -> tuple[bool, str]:
    """Build a load_date of `rows` rows. Return whether it is held, and the message of min_rows."""
    lab.put_things(b"thing_id,name,weight\n" + b"".join(b"%d,,\n" % number for number in range(rows)), day)
    outcome = lab.build("raw.things", day)
    [message] = [result.message for result in outcome.results if result.name == "min_rows"]
    return outcome.held, message


def test_by_default_a_quiet_day_is_published_and_an_empty_one_is_held(weeks: PipelineHarness) -> None:
    sunday = CHRISTMAS - timedelta(days=4)
    assert build(weeks, sunday - timedelta(days=1), 100) == (False, "")
    assert build(weeks, sunday, 3) == (False, "")
    assert build(weeks, CHRISTMAS - timedelta(days=1), 100) == (False, "")
    assert build(weeks, CHRISTMAS, 1) == (False, "")
    after = CHRISTMAS + timedelta(days=1)
    assert build(weeks, after, 0) == (True, "0 rows, at least 1 are wanted")
    say(weeks, "{at_least: 0}")
    weeks.put_things(b"thing_id,name,weight\n", after)
    outcome = weeks.build("raw.things", after)
    assert (outcome.held, [result.name for result in outcome.results if result.name == "min_rows"]) == (False, [])


def test_of_usual_requires_a_share_of_the_median_of_the_weekday(weeks: PipelineHarness) -> None:
    (weeks.folder / "pipeline.yaml").write_text(
        PIPELINE_YAML.format(bucket=weeks.bucket) + "defaults: {min_rows: {of_usual: 0.4}}\n"
    )
    first = CHRISTMAS - 7 * WEEK
    # In the first four weeks there is no median yet, for Thursdays or Sundays, so one row is enough.
    for number, rows in enumerate((100, 120, 80, 1)):
        assert build(weeks, first + number * WEEK, rows) == (False, NONE_YET.format(number))
        assert not build(weeks, first + number * WEEK + timedelta(days=3), 9 + number)[0]
    assert build(weeks, first + 3 * WEEK, 110) == (False, NONE_YET.format(3)), (
        "the latest publish of a load_date counts"
    )

    fifth = first + 4 * WEEK  # after 80, 100, 110 and 120 rows
    assert build(weeks, fifth, 41) == (
        True,
        "41 rows, at least 42 are wanted (40% of 105, the median of the last 4 Thursdays)",
    )
    assert build(weeks, fifth, 42) == (False, "")
    assert build(weeks, fifth + timedelta(days=3), 5) == (False, ""), "a Sunday is compared with Sundays"

    # A held load_date is no part of the median; one that retention dropped is.
    sixth = fifth + WEEK
    median_of_five = "(40% of 100, the median of the last 5 Thursdays)"
    assert build(weeks, sixth, 39) == (True, f"39 rows, at least 40 are wanted {median_of_five}")
    with weeks.session() as session, session.transaction():
        things = weeks.pipeline().table("raw.things")
        strategy_of(things).remove(session, things, first + 2 * WEEK)
        publishes.record_drop(session, [THINGS], first + 2 * WEEK)
    assert build(weeks, CHRISTMAS, 39) == (True, f"39 rows, at least 40 are wanted {median_of_five}")

    # An author who expects few rows on Christmas lowers the minimum in this file only.
    say(weeks, "{at_least: 0}")
    weeks.put_things(b"thing_id,name,weight\n1,,\n", CHRISTMAS)
    assert not weeks.build("raw.things", CHRISTMAS).held
    say(weeks, "{of_usual: 0.4}")
    context = weeks.prepared(run_id="again")
    [again] = [
        result
        for result in recheck(context, context.pipeline.table("raw.things"), CHRISTMAS)
        if result.name == "min_rows"
    ]
    assert (again.passed, again.metric, again.threshold) == (False, 1, 40)
    less = "35 rows, at least 36 are wanted (40% of 90, the median of the last 6 Thursdays)"
    assert build(weeks, CHRISTMAS + WEEK, 35) == (True, less)


def test_load_dates_that_were_waived_are_no_part_of_the_median(weeks: PipelineHarness) -> None:
    say(weeks, "{of_usual: 0.4}")
    first = CHRISTMAS - 7 * WEEK
    for number, rows in enumerate((80, 100, 110, 120)):
        assert not build(weeks, first + number * WEEK, rows)[0]
    fifth, sixth = first + 4 * WEEK, first + 5 * WEEK
    of_four = "{} rows, at least 42 are wanted (40% of 105, the median of the last 4 Thursdays)"
    assert build(weeks, fifth, 41) == (True, of_four.format(41))
    made = waived(weeks, fifth, "min_rows", table="raw.things")
    assert not weeks.build("raw.things", fifth).held
    assert weeks.rows(
        f"select rows, rulings from ops.published where load_date = '{fifth}' and asset = 'raw.things'"
    ) == [(41, [made.ruling_id])]

    assert build(weeks, sixth, 40) == (True, of_four.format(40)), "with the 41 rows, 40 would be enough"
    [compared] = weeks.rows(
        "select compared from ops.holds inner join ops.pipeline_runs on build_id = id "
        f"where load_date = '{sixth}' and compared <> '{{}}'"
    )
    assert {name.rpartition("@")[2] for name in compared[0]} == {str(first + number * WEEK) for number in range(5)}, (
        "it counts as soon as it is published otherwise"
    )

    assert build(weeks, fifth, 100) == (False, "")
    assert build(weeks, sixth, 39) == (
        True,
        "39 rows, at least 40 are wanted (40% of 100, the median of the last 5 Thursdays)",
    )
    say(weeks, "{of_previous: 0.5}")
    assert build(weeks, sixth, 40)[0]
    waived(weeks, sixth, "min_rows", table="raw.things")
    assert not weeks.build("raw.things", sixth).held
    assert build(weeks, sixth + WEEK, 20) == (False, ""), "the load_date before is that, whoever let it through"
    assert build(weeks, sixth + WEEK, 19) == (
        True,
        "19 rows, at least 20 are wanted (50% of the 40 rows of the load_date before)",
    )


@pytest.mark.nightly
def test_the_median_is_of_the_last_eight_load_dates_of_the_weekday(weeks: PipelineHarness) -> None:
    say(weeks, "{of_usual: 1}")
    first = CHRISTMAS - 9 * WEEK
    for number in range(9):
        assert not build(weeks, first + number * WEEK, 10 + number)[0]
    held, message = build(weeks, CHRISTMAS, 14)
    assert (held, message) == (
        True,
        "14 rows, at least 14.5 are wanted (100% of 14.5, the median of the last 8 Thursdays)",
    )
    drop_table(weeks.server, weeks.name, THINGS, lambda *_: None)
    assert build(weeks, CHRISTMAS, 1) == (False, NONE_YET.format(0)), (
        "load_dates of a dropped table are no part of the median"
    )
