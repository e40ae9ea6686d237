"""News as server-sent events: which pipelines show something else now, and how old their numbers are.

The first event has the state of every pipeline, and each later one those that differ. So a program that connects again
knows what it missed, whatever that was. A stream ends after a while, and programs connect again by themselves: then it
is asked anew whether they may read.

Belongs here: the address and the form of an event. Not here: what is news (surface/changes.py), and how many streams
may be open (surface/limits.py).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import Message, Receive, Scope, Send

from kpi_assets.surface.api.answers import BuiltAnswer, NewsAnswer, PipelineNews
from kpi_assets.surface.api.exact import dumps
from kpi_assets.surface.api.finding import PROBLEMS
from kpi_assets.surface.api.parameters import only_declared
from kpi_assets.surface.changes import Changes, Shown
from kpi_assets.surface.security import EVENTS

router = APIRouter()

LIFE = 900.0  # seconds after which a stream ends
HEARTBEAT = 15.0  # seconds without news after which a comment is sent, so that no proxy takes the stream for dead
PATIENCE = 10.0  # seconds in which a reader must take what is sent
RETRY = 3_000  # milliseconds after which programs connect again
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # of proxies that would collect the events
]


@router.get(
    EVENTS,
    tags=["Trust"],
    operation_id="events",
    response_class=Response,
    responses={
        200: {
            "description": "Events named `news`, whose data are JSON: `pipelines` has `publish_id` and `version` of "
            "each pipeline by its name, and in `built` its KPIs with `through` and `due_by`, as in `trust`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        422: PROBLEMS[422],
    },
    dependencies=[Depends(only_declared)],
    summary="Tells by server-sent events which pipelines show something new",
)
async def events(request: Request) -> Response:
    """The state of every pipeline at first, then of each that shows something else than before, within seconds."""
    return EventStream(request.app.state.surface.changes)


class EventStream(Response):
    """Sends news until the reader goes, does not take them, or LIFE is over."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(media_type="text/event-stream")
        self._changes = changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer the request."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            [error, _] = await asyncio.gather(sending, leaving, return_exceptions=True)
        if isinstance(error, Exception) and not isinstance(error, asyncio.TimeoutError):
            raise error

    async def _send(self, send: Send) -> None:
        async def patiently(message: Message) -> None:
            await asyncio.wait_for(send(message), PATIENCE)

        await patiently({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        async with aclosing(news(self._changes)) as texts:
            async for text in texts:
                await patiently({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await patiently({"type": "http.response.body", "body": b""})


async def news(changes: Changes) -> AsyncGenerator[str, None]:
    """Yield what is sent, until LIFE is over."""
    until = time.monotonic() + LIFE
    told: dict[str, Shown] = {}
    yield f"retry: {RETRY}\n\n"
    with changes.watched():
        while (left := until - time.monotonic()) > 0:
            moved, states = changes.moved, changes.states
            if differing := {name: state for name, state in states.items() if told.get(name) != state}:
                told = dict(states)
                yield _event(differing)
                continue
            try:
                await asyncio.wait_for(moved.wait(), min(HEARTBEAT, left))
            except asyncio.TimeoutError:
                yield ": still here\n\n"


async def _gone(receive: Receive) -> None:
    """Wait until the reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(states: Mapping[str, Shown]) -> str:
    found = {
        name: PipelineNews(
            publish_id=state.publish_id,
            version=state.version,
            built={kpi: BuiltAnswer(through=each.through, due_by=each.due_by) for kpi, each in state.built.items()},
        )
        for name, state in states.items()
    }
    return f"event: news\ndata: {dumps(NewsAnswer(pipelines=found)).decode()}\n\n"
