"""Partitions by load_date, and the dependencies and checks that use them.

The days that are not in the calendar of pipeline.yaml are no partitions. All assets of a pipeline have the same
partitions, because a job needs that: what is not due on a load_date has a partition of it all the same.

Checks are partitioned too: otherwise a passed check of one day would hide a failed one of another. Dagster marks this
API as a preview, so it is used here only.
"""

import warnings
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

import dagster as dg

from kpi_assets.model.calendar import Calendar
from kpi_assets.model.checks.base import Check
from kpi_assets.model.pipeline import Pipeline


def load_dates(pipeline: Pipeline) -> dg.DailyPartitionsDefinition:
    """Return one partition for each load_date from the pipeline's start_date to today, including today.

    On a day that is no load_date Dagster adds the next one, which lies in the future: its steps do nothing.
    """
    return dg.DailyPartitionsDefinition(
        start_date=pipeline.config.start_date.isoformat(),
        timezone="UTC",
        end_offset=1,
        exclusions=list(exclusions(pipeline.calendar, pipeline.config.start_date, horizon())) or None,
    )


def horizon(today: date | None = None) -> date:
    """Return a day in 10 to 20 years, up to which calendars are looked at.

    It changes once in ten years: Dagster continues no backfill after a change of the partitions.
    """
    year = (today or datetime.now(timezone.utc).date()).year
    return date(min(year // 10 * 10 + 19, date.max.year), 12, 31)


@lru_cache
def exclusions(calendar: Calendar, first: date, last: date) -> tuple[str | datetime, ...]:
    """Return the days of a range that are not in a calendar as Dagster takes them.

    As cron where all days of a weekday or all days of the month with a number are left out: each single day costs time.
    """
    if calendar.is_daily:
        return ()
    weekdays, numbers = calendar.never_weekdays, calendar.never_month_days
    crons = [f"0 0 * * {','.join(str((day + 1) % 7) for day in weekdays)}"] if weekdays else []
    crons += [f"0 0 {','.join(map(str, numbers))} * *"] if numbers else []
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    single = (day for day in days if not (day.weekday() in weekdays or day.day in numbers or calendar.is_due(day)))
    return (*crons, *(datetime(day.year, day.month, day.day, tzinfo=timezone.utc) for day in single))


def most_load_dates(pipeline: Pipeline, days: int) -> int:
    """Return the most load_dates in so many calendar days, which is how Dagster counts a window."""
    if pipeline.calendar.is_daily:
        return days
    return pipeline.calendar.most_within(days, pipeline.config.start_date, horizon())


def dependency(key: dg.AssetKey, lookback: int | None) -> dg.AssetDep:
    """Return the dependency on another asset: on the same load_date, or on the last `lookback` load_dates up to it.

    The first load_dates of a pipeline have a shorter window.
    """
    if lookback is None:
        return dg.AssetDep(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        window = dg.TimeWindowPartitionMapping(
            start_offset=1 - lookback, end_offset=0, allow_nonexistent_upstream_partitions=True
        )
    return dg.AssetDep(key, partition_mapping=window)


def check_specs(
    key: dg.AssetKey, checks: Iterable[Check], partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Return the checks of an asset, each with one result for each load_date."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name=check.name,
                asset=key,
                description=check.description,
                blocking=check.blocking,
                partitions_def=partitions,
            )
            for check in checks
        ]
