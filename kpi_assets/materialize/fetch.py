"""Fetches the object of a raw table from its API: asked for once, proven whole, and landed before anything reads it.

What is on S3 is not asked for again. Of several processes that want one object, one asks and the others use what it
landed. A process that is killed, or whose API fails, lands nothing.

Belongs here: the order of these steps, and whether anything is asked. Not here: the requests and the proof
(sources/api/), when an object can be had (model/asking.py), and the upload (sources/landing.py).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import partial
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UsageError
from kpi_assets.ledger import api_turns, locks
from kpi_assets.materialize.context import FETCHING, BuildContext
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.model.asking import why_not_asked
from kpi_assets.model.table import Table
from kpi_assets.settings import settings
from kpi_assets.sources.api.clock import Clock
from kpi_assets.sources.api.fetch import ApiError, Fetched, fetch
from kpi_assets.sources.api.server import Server
from kpi_assets.sources.landing import Outcome, land_body
from kpi_assets.sources.reference import NO_VERSION

# The metadata of an object on S3 that says how it was asked for.
RECORDS, TOTAL, PAGES, ASKED_AT = "records", "total", "pages", "asked-at"


@dataclass(frozen=True)
class FetchOutcome:
    """What became of an object: `unchanged` if it was there, or somebody else landed it meanwhile."""

    outcome: Outcome
    key: str
    records: int = 0
    pages: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    is_lost: bool = False  # what was there before, because the bucket keeps no versions


def fetch_lacking(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> str:
    """Land the object that a build of a load_date reads, if it is not on S3 and its API is asked for it now.

    Returns why the object did not come, as the end of a sentence; empty otherwise. An API that fails leaves a source
    that is carried with an earlier object, if one is there: so nothing else waits for what comes now and then. Raises
    ApiError, and UsageError if the address or a secret of the API is not set.
    """
    now, store, days = datetime.now(timezone.utc), context.store, table.object_days(load_date)
    for number, day in enumerate(days):
        if store.manifest("", day, table.object_key(day)):
            return ""
        if why_not_asked(context.pipeline, table, day, now):
            continue
        try:
            fetch_object(context, connection, table, day)
        except (ApiError, UsageError) as error:
            if not any(store.manifest("", earlier, table.object_key(earlier)) for earlier in days[number + 1 :]):
                raise
            return str(error).rstrip(".")
        return ""
    return why_not_asked(context.pipeline, table, days[0], now) if days else ""


def fetch_object(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    day: date,
    *,
    replace: bool = False,
) -> FetchOutcome:
    """Ask the API for the object of a day and land it, unless it is there; with `replace` in the place of that one.

    Raises ApiError, LakeError, and UsageError if the address or a secret of the API is not set.
    """
    api, call, key = table.source.api, table.source.call, table.object_key(day)
    assert api is not None
    assert call is not None
    server = Server.of(context.pipeline, api, context.settings or settings())
    with _alone(context, connection, f"fetch {table.object_name} {day}"):
        there = context.store.manifest("", day, key)
        if there and not replace:
            return FetchOutcome("unchanged", key)
        turns = Turns(connection, server)
        report = partial(_report, context)
        report(0, None)
        try:
            with fetch(
                server,
                call,
                table.source.records,
                day,
                take_turn=turns.take,
                on_page=report,
                on_retry_after=turns.postpone,
                is_personal=bool(table.pii.personal),
            ) as answer:
                outcome = land_body(
                    context.store,
                    answer.body,
                    answer.size_bytes,
                    key,
                    content_type=table.format.content_type,
                    metadata=_metadata(answer),
                    replace=replace,
                )
        except ApiError as error:
            error.transient = False  # each request was tried several times: the next run tries again, after a pause
            raise
    is_lost = outcome == "replaced" and there is not None and there.version_id in NO_VERSION
    return FetchOutcome(outcome, key, answer.records, answer.pages, answer.size_bytes, answer.seconds, is_lost)


def _report(context: BuildContext, records: int, total: int | None) -> None:
    context.on_progress(FETCHING, records, total or 0)


@contextmanager
def _alone(context: BuildContext, connection: Connection[Any], name: str) -> Iterator[None]:
    """Let no other process do the same at the same time."""
    wait_for_lock(connection, name, "waiting for another process that asks for the object", context.on_progress)
    try:
        yield
    finally:
        locks.unlock(connection, name)


def _metadata(answer: Fetched) -> Mapping[str, str]:
    found = {
        RECORDS: str(answer.records),
        PAGES: str(answer.pages),
        ASKED_AT: answer.asked_at.astimezone(timezone.utc).isoformat(timespec="seconds"),
    }
    return found if answer.total is None else {**found, TOTAL: str(answer.total)}


class Turns:
    """The turns of one process at an API. The database is asked only if the API has a rate, or has asked to wait."""

    def __init__(self, connection: Connection[Any], server: Server) -> None:
        self._connection, self._server, self._clock = connection, server, Clock()
        rate = server.api.requests_per_second
        self._interval = 1 / rate if rate else 0.0
        self._was_postponed = False
        self._ends = self._clock.now() + server.api.deadline_minutes * 60

    def take(self) -> None:
        """Wait for the next turn. Raises ApiError if it comes too late."""
        if not self._interval and not self._was_postponed:
            return
        wait = api_turns.take(self._connection, self._server.name, self._interval)
        if wait > self._ends - self._clock.now():
            raise ApiError(
                f"{self._server}: the next request to it may be made in {wait / 60:,.0f} minutes, which is beyond "
                f"deadline_minutes ({self._server.api.deadline_minutes}): try again later, or set more minutes."
            )
        if wait:
            self._clock.wait(wait)

    def postpone(self, seconds: float) -> None:
        """Let all processes wait, because the API has asked for that."""
        api_turns.postpone(self._connection, self._server.name, seconds)
        self._was_postponed = True
