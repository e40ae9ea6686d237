"""Run tags: which load_dates a run builds, and who requested it. Anybody can set a tag to any text.

Belongs here: reading the tags, in one place. Not here: which load_dates may be built (Pipeline.check_load_date).
"""

from collections.abc import Mapping
from datetime import date, datetime, timezone

from kpi_assets.dagster_internals import PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG
from kpi_assets.errors import UsageError
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.pipeline import Pipeline

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
SHOWN = 40  # characters of a tag in a message
STATE = "kpi/state"  # the state of a load_date when the sensor or the schedule requested a run of it


def requested_load_dates(pipeline: Pipeline, tags: Mapping[str, str]) -> list[date]:
    """Return the load_dates of a run's partition or range, in order; none if its tags name neither.

    The next load_date counts on a day that is none, because Dagster has a partition for it then. Raises UsageError for
    a text that is no load_date, and for a load_date that may not be built.
    """
    if PARTITION in tags:
        load_date = _date(tags[PARTITION])
        return [load_date if pipeline.is_next(load_date) else pipeline.check_load_date(load_date)]
    ends = [tags[name] for name in (RANGE_START, RANGE_END) if name in tags]
    if len(ends) == 1:
        raise UsageError(
            f"The run names only one end of a range of load_dates ({ends[0][:SHOWN]!r}): give it both {RANGE_START} "
            f"and {RANGE_END}, or one partition."
        )
    if not ends:
        return []
    first, last = map(_date, ends)
    return pipeline.load_dates(first, datetime.now(timezone.utc).date() if pipeline.is_next(last) else last)


def is_automatic(tags: Mapping[str, str]) -> bool:
    """Whether the sensor or the schedule requested a run; a person who repeats it copies their tags."""
    return STATE in tags and (PARENT_RUN_ID_TAG not in tags or RETRY_NUMBER_TAG in tags)


def _date(text: str) -> date:
    try:
        return parse_date(text)
    except ValueError:
        raise UsageError(f"The run's partition {text[:SHOWN]!r} is no load_date: write it as YYYY-MM-DD.") from None
