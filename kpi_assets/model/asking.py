"""When an API is asked for the object of a day, and the objects of which days a load_date may have from it.

A call with a date is good for any day that is over, some hours after its end. A call without a date tells how things
are at the time: it is made from the beginning of its day until the next day begins on which an object comes.

Belongs here: these times, without I/O. Not here: the words (api.py), asking (materialize/fetch.py), and what is there
already.
"""

from collections.abc import Container
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

from kpi_assets.model.calendar import named
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table


@dataclass(frozen=True)
class AskingTime:
    """When an API can be asked for the object of a day."""

    over: datetime  # a person may ask from then on
    due: datetime  # runs ask from then on
    until: datetime | None = None  # nobody gets it any more from then on

    def is_past(self, now: datetime) -> bool:
        """Whether the object cannot be had any more."""
        return self.until is not None and now >= self.until

    def begins(self, *, by_hand: bool) -> datetime:
        """Return the instant from which runs ask for the object, or a person may."""
        return self.over if by_hand else self.due

    def is_open(self, now: datetime, *, by_hand: bool) -> bool:
        """Whether runs ask for the object now, or a person may."""
        return self.begins(by_hand=by_hand) <= now and not self.is_past(now)


def asking_time(pipeline: Pipeline, table: Table, day: date) -> AskingTime:
    """Return when the API of a raw table can be asked for the object of a day."""
    call = table.source.call
    assert call is not None
    if call.has_date:
        end = _beginning(day + timedelta(days=1))
        return AskingTime(end, end + timedelta(hours=pipeline.config.automation.fetch_after_hours))
    days = table.delivery_calendar if table.source.carried_days else pipeline.calendars[table.relation]
    following = days.next_after(day)
    return AskingTime(_beginning(day), _beginning(day), _beginning(following) if following else None)


def day_to_ask(
    pipeline: Pipeline,
    table: Table,
    load_date: date,
    now: datetime,
    known: Container[str] = (),
    *,
    by_hand: bool = False,
) -> date | None:
    """Return the day whose object a build of a load_date asks an API for; None if it asks for none.

    It is the latest that may be read and can be had now, by runs or `by_hand`, unless an object of it or of a later day
    is `known`: its key is that of an object that is there, or was.
    """
    for day in table.object_days(load_date) if table.source.api else ():
        if table.object_key(day) in known:
            return None
        if asking_time(pipeline, table, day).is_open(now, by_hand=by_hand):
            return day
    return None


def next_asking(pipeline: Pipeline, table: Table, load_date: date, now: datetime) -> datetime | None:
    """Return when an API is asked for an object of a load_date that cannot be had yet; None if it never is."""
    if not table.source.api:
        return None
    times = (asking_time(pipeline, table, day) for day in table.object_days(load_date))
    return min((each.due for each in times if now < each.due), default=None)


def why_not_asked(pipeline: Pipeline, table: Table, day: date, now: datetime, *, by_hand: bool = False) -> str:
    """Return why an API is not asked for the object of a day now, as a part of a sentence; empty if it is."""
    times, api = asking_time(pipeline, table, day), table.source.api
    if times.is_past(now):
        return (
            f"the API {api} tells only how things are at the time, and the time of {named(day)} ended at "
            f"{minute(times.until or now)}"
        )
    begins = times.begins(by_hand=by_hand)
    return "" if begins <= now else f"the API {api} is asked for it from {minute(begins)}"


def minute(at: datetime) -> str:
    """Return an instant as people read it."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _beginning(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)
