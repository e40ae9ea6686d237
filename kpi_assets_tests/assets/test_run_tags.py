"""Anybody can set run tags to any text: they give load_dates that may be built, or an error in one sentence."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpi_assets.assets.run_tags import PARTITION, RANGE_END, RANGE_START, requested_load_dates
from kpi_assets.errors import UsageError
from kpi_assets_tests.shipped import PIPELINE

TODAY = datetime.now(timezone.utc).date()
FUTURE = TODAY + timedelta(days=3)  # days ahead, so that it still is when the tests run past midnight
NO_DATE = "The run's partition {!r} is no load_date: write it as YYYY-MM-DD."


def range_of(first: object, last: object) -> dict[str, str]:
    return {RANGE_START: str(first), RANGE_END: str(last)}


@pytest.mark.parametrize(
    ("tags", "days"),
    [
        ({}, []),
        ({"dagster/backfill": "x", "dagster/partition/x": "y"}, []),
        ({PARTITION: "2025-01-01"}, [date(2025, 1, 1)]),
        ({PARTITION: str(TODAY)}, [TODAY]),
        (range_of("2025-01-01", "2025-01-03"), [date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 3)]),
        (range_of(TODAY, TODAY), [TODAY]),
    ],
)
def test_a_partition_or_a_range_gives_its_load_dates(tags: dict[str, str], days: list[date]) -> None:
    assert requested_load_dates(PIPELINE, tags) == days


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        *(
            ({PARTITION: text}, NO_DATE.format(text))
            for text in ("2025-7-1", "20250701", "2025-W27-2", "", "today", " 2025-07-01", "2025-02-30", "2025-07-01\n")
        ),
        ({PARTITION: "x" * 1000}, NO_DATE.format("x" * 40)),
        ({PARTITION: str(FUTURE)}, f"The load_date {FUTURE} lies in the future: today is "),
        ({PARTITION: "2024-12-31"}, "instacart has no load_date 2024-12-31: its first is 2025-01-01 (start_date in "),
        (range_of("2025-01-03", "2025-01-01"), "The range from 2025-01-03 to 2025-01-01 is empty: give the earlier "),
        (range_of("2025-01-01", FUTURE), f"The load_date {FUTURE} lies in the future"),
        (range_of("0001-01-01", "9999-12-31"), "instacart has no load_date 0001-01-01"),
        (range_of("2025-01-01", "2025-1-2"), NO_DATE.format("2025-1-2")),
        (range_of("", ""), NO_DATE.format("")),
        ({RANGE_START: "2025-01-01"}, "The run names only one end of a range of load_dates ('2025-01-01'): give it "),
        ({RANGE_END: "2025-01-01"}, "The run names only one end of a range of load_dates ('2025-01-01'): give it "),
    ],
)
def test_a_load_date_that_may_not_be_built_is_refused(tags: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        requested_load_dates(PIPELINE, tags)
    assert str(caught.value).startswith(sentence)


def test_tomorrow_is_refused_and_the_error_names_today() -> None:
    today = datetime.now(timezone.utc).date()
    tomorrow = today + timedelta(days=1)
    with pytest.raises(UsageError) as caught:
        requested_load_dates(PIPELINE, {PARTITION: str(tomorrow)})
    assert str(caught.value) == f"The load_date {tomorrow} lies in the future: today is {today} (UTC)."


TEXTS = st.one_of(st.text(max_size=12), st.dates().map(str), st.from_regex(r"\d{1,4}-\d{1,2}-\d{1,2}", fullmatch=True))


@pytest.mark.nightly
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the first draw is slow on a busy machine
@given(st.dictionaries(st.sampled_from([PARTITION, RANGE_START, RANGE_END]), TEXTS))
def test_any_text_in_a_tag_gives_load_dates_that_may_be_built_or_an_error_in_one_sentence(tags: dict[str, str]) -> None:
    try:
        days = requested_load_dates(PIPELINE, tags)
    except UsageError as error:
        assert str(error).endswith(".")
    else:
        today = datetime.now(timezone.utc).date()
        assert all(PIPELINE.config.start_date <= day <= today for day in days)
        assert not days or {str(days[0]), str(days[-1])} <= set(tags.values())
