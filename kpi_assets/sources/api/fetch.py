"""Fetches what an API has of a load_date: all records, as they were answered, or an error and nothing.

Not here: the pages and the proof that they are whole (rounds.py), and landing what came.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import BinaryIO

from kpi_assets.model.api import Call
from kpi_assets.sources.api.ask import Asking
from kpi_assets.sources.api.client import Client
from kpi_assets.sources.api.clock import Clock, Deadline
from kpi_assets.sources.api.problems import ApiError
from kpi_assets.sources.api.request import place_of
from kpi_assets.sources.api.rounds import Pages
from kpi_assets.sources.api.server import Server
from kpi_assets.sources.api.spool import Spool

__all__ = ["ApiError", "Fetched", "fetch"]

_CLOCK = Clock()


@dataclass(frozen=True)
class Fetched:
    """The answers of a load_date."""

    body: BinaryIO  # the bytes of one page after another, as they came; at 0
    size_bytes: int
    pages: int
    records: int
    total: int | None  # as the API said it
    asked_at: datetime  # when the first of these pages was asked for
    seconds: float  # with all waiting, and with pages that were asked for again


@contextmanager
def fetch(
    server: Server,
    call: Call,
    records: str | None,
    load_date: date,
    *,
    take_turn: Callable[[], None] = lambda: None,
    on_page: Callable[[int, int | None], None] = lambda _records, _total: None,
    on_retry_after: Callable[[float], None] = lambda _seconds: None,
    is_personal: bool = False,
    clock: Clock = _CLOCK,
) -> Iterator[Fetched]:
    """Ask for every page. The body is there within the context. Raises ApiError.

    `records` is the field of the list of records in a page; None if a page is an array. `take_turn` is called before
    each request to the server, `on_page` after each page with the records so far and their total, and `on_retry_after`
    with the seconds that the server wants to pass until the next request. No error quotes an answer that `is_personal`.
    """
    begun, asked_at = clock.now(), clock.date()
    deadline = Deadline(clock, server.api.deadline_minutes * 60)
    name = f"{server}, {call.method} {place_of(server, call, load_date)} of {load_date}"
    spool = Spool(name)

    def begin() -> None:
        nonlocal asked_at
        asked_at = clock.date()

    try:
        with Client(server.api.timeout_seconds, deadline) as client:
            asking = Asking(server, client, deadline, take_turn, on_retry_after, is_personal=is_personal)
            whole = Pages(server, call, records, load_date, asking, spool, name).fetch(begin, on_page)
        yield Fetched(spool.file, spool.size, whole.pages, whole.records, whole.total, asked_at, clock.now() - begun)
    finally:
        spool.close()
