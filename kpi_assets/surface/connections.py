"""Connections that wait for no slow request.

uvicorn keeps one open for as long as a part of its request is missing. A program that sends half a request on each of
many connections would leave none for anybody else.

Belongs here: the time in which a request must arrive. Not here: its size (limits.py), and how many connections there
may be (run.py).
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kpi_assets.surface.security import EVENTS

ARRIVAL = 10.0  # seconds from the beginning of a connection, or of a request, to the end of the request


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it. A connection on which a request does not arrive in time is cut."""

    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request, if this was not all of it."""
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for what is missing of a request that was answered before it was complete."""
        super().on_response_complete()
        self._wait()

    def shutdown(self) -> None:
        """End an answer that stays open, for which the server would wait in vain when it is stopped."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete and self.scope["path"] == EVENTS:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        # Between two requests uvicorn's own timer runs, which ends with the first byte.
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self.timeout_keep_alive_task is None:
            if self._cut is None and not self.transport.is_closing():
                self._cut = self.loop.call_later(ARRIVAL, self.transport.abort)
        else:
            self._stop()

    def _stop(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
