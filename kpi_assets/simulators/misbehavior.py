"""What an API with a fault does otherwise: which answers it refuses or spoils, and how.

Belongs here: the behavior of each fault that faults.py names. Not here: which faults an API has at the moment
(pages.py).
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kpi_assets.simulators.api import SimulatedApi
from kpi_assets.simulators.faults import ApiFault
from kpi_assets.simulators.pages import Days, Page, Place, Reader

HANGS = 600.0  # seconds
PIECE = 16  # bytes that are sent at a time
REFUSALS = {"400": 400, "500": 500, "down": 503}


@dataclass(frozen=True)
class Ask:
    """A page that is asked for: the `page_number`-th, from 1 on."""

    days: Days
    size: int
    page_number: int = 1
    skip: int = 0
    after: Place | None = None


@dataclass(frozen=True)
class Misbehavior:
    """The faults that an API has while it answers one request. `seen` counts what earlier requests met."""

    api: SimulatedApi
    faults: Mapping[str, tuple[int, ApiFault]]
    seen: Counter[tuple[object, ...]]

    def has(self, *names: str) -> bool:
        """Whether the API has one of these faults."""
        return any(name in self.faults for name in names)

    async def refusal(self, request: bytes) -> Response | None:
        """Return what is answered in place of looking at the request; None if it is looked at."""
        if self.has("hang"):
            await asyncio.sleep(HANGS)
        if self.has("slow"):
            await asyncio.sleep(self._number("slow"))
        for name, status in REFUSALS.items():
            if self.has(name):
                return error(f"This API has the fault {name}.", status)
        return self._passing_refusal(request) or self._nonsense()

    def _passing_refusal(self, request: bytes) -> Response | None:
        if self._occurs("500_once") == 1:
            return error("Something went wrong.", 500)
        if 1 <= self._occurs("503_thrice") <= 3:
            return error("Something went wrong.", 503)
        if self._occurs("503_wait") == 1:
            return error("This API is being maintained.", 503, self._number("503_wait"))
        half = self._occurs("429_half")
        for name, refuses in (
            ("429", self._occurs("429", request) == 1),
            ("429_half", half > 0 and half % 2 == 0),
            ("429_always", self.has("429_always")),
        ):
            if refuses:
                return error("There were too many requests.", 429, self._number(name))
        return None

    def _nonsense(self) -> Response | None:
        if self.has("redirect"):
            return RedirectResponse(f"/{self.api.name}/elsewhere", 307)
        if self.has("html"):
            return HTMLResponse("<!doctype html>\n<title>Maintenance</title>\n<p>We are back soon.\n")
        if self.has("error_200"):
            return JSONResponse({"error": "Something went wrong."})
        return None

    def refuses_secret(self, page_number: int) -> bool:
        """Whether the right secret is refused for a page."""
        return self.has("token") or (self.has("token_midway") and page_number > 1)

    async def read(self, reader: Reader, ask: Ask) -> Page:
        """Read a page of records as this API gives it out."""
        number = ask.page_number
        if self.has("loop"):
            ask = replace(ask, skip=0, after=None)
        if self.has("missing_page") and number > 1 and ask.after is None:
            ask = replace(ask, skip=ask.skip + ask.size)
        if number == 1 and (self._occurs("torn", *ask.days) == 1 or self.has("torn_always")):
            page = replace(page := await self._page(reader, replace(ask, skip=1)), total=max(0, page.total - 1))
        else:
            page = await self._page(reader, ask)
        if self.has("missing_page") and number == 1 and page.last:
            page = replace(page, last=(await reader.page(ask.days, ask.size, after=page.last)).last)
        if self.has("empty_page") and number == 2:
            page = replace(page, records="", count=0)
        if self.has("shrinking") and number > 1:
            fewer = await self._page(reader, replace(ask, size=max(0, page.count - 1)))
            page = replace(page, records=fewer.records, count=fewer.count)
        return replace(page, records=self._spoiled(page.records, number), total=page.total + self.has("wrong_total"))

    async def _page(self, reader: Reader, ask: Ask) -> Page:
        return await reader.page(ask.days, ask.size, skip=ask.skip, after=ask.after)

    def _spoiled(self, records: str, page_number: int) -> str:
        """Return records with the faults of fields. No value of a text has an unescaped quote, so the name is sure."""
        field = f'"{self.api.number}":'
        if self.has("renamed_field"):
            records = records.replace(field, '"renamed":')
        if self.has("missing_field") or (self.has("field_gone") and page_number > 1):
            records = re.sub(f",{field}[^,}}]*", "", records)
        if self.has("extra_field"):
            records = records.replace(field, f'"coupon":"WELCOME",{field}')
        if self.has("wrong_type"):
            records = re.sub(f"{field}[^,}}]*", f'{field}"two"', records, count=1)
        return records

    def sent(self, body: str) -> Response:
        """Return the answer that sends a JSON document."""
        content = body.encode()
        if self.has("truncated") or self._occurs("truncated_once") == 1:
            return TornOff(content)
        if self.has("drip"):
            length = {"content-length": str(len(content))}
            return StreamingResponse(
                _pieces(content, self._number("drip")), headers=length, media_type="application/json"
            )
        return Response(content, media_type="application/json")

    def _occurs(self, name: str, *where: object) -> int:
        """Count that a fault might show itself; return how often it might have by now, or 0 without that fault."""
        if name not in self.faults:
            return 0
        key = (self.faults[name][0], *where)
        self.seen[key] += 1
        return self.seen[key]

    def _number(self, name: str) -> float:
        return self.faults[name][1].number or 0


def error(sentence: str, status: int, retry_after: float | None = None) -> Response:
    """Return an error as JSON."""
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return JSONResponse({"error": sentence}, status, headers)


class TornOff(Response):
    """An answer whose connection ends before its body does."""

    def __init__(self, content: bytes):
        super().__init__(content, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body. The server then ends the connection, because the length does not fit."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2]})


async def _pieces(content: bytes, pause: float) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]
        await asyncio.sleep(pause)
