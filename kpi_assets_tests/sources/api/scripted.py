"""A server on loopback that answers each request as a test has it, with any fault."""

import gzip
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from kpi_assets.model.api import Api, Call
from kpi_assets.sources.api.clock import Clock
from kpi_assets.sources.api.fetch import fetch
from kpi_assets.sources.api.server import Server
from kpi_assets.sources.formats.json.reader import JsonReader

DAY = date(2025, 7, 1)
SECRET = "s3cr+t/Canary&né-key=42"
ASKED_AT = datetime(2025, 7, 2, 2, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    number: int  # from 1
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object or the form that it sent."""
        if self.headers.get("content-type", "").startswith("application/json"):
            found: dict[str, Any] = json.loads(self.body)
            return found
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Answer:
    """An answer, with what goes wrong on its way."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)  # None takes one of the server's own away
    cut_after: int | None = None  # bytes of the body after which the connection breaks
    is_chunked: bool = False
    hangs: bool = False  # before the first byte, until the client goes away
    drips: str = ""  # body or headers: a byte now and then
    hangs_up: bool = False  # without an answer
    closes: bool = False  # the connection, after the answer

    @property
    def breaks(self) -> bool:
        """Whether the connection is of no use afterwards."""
        return self.hangs or self.hangs_up or self.closes or bool(self.drips) or self.cut_after is not None


def document(*records: Any, **around: Any) -> Answer:
    """A page with the list `data`."""
    return Answer(json.dumps({"data": list(records), **around}).encode())


def packed(answer: Answer) -> Answer:
    """The same answer, packed."""
    return Answer(gzip.compress(answer.body), headers={"Content-Encoding": "gzip"})


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Threads"

    def setup(self) -> None:
        super().setup()
        self.server.scripted.connections += 1
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        scripted = self.server.scripted
        asked = Asked(len(scripted.asked) + 1, self.command, parts.path, query, headers, body)
        scripted.asked.append(asked)
        try:
            answer = scripted.script(asked)
        except BaseException as error:
            scripted.problems.append(error)
            raise
        try:
            self._give(answer)
        except OSError:
            self.close_connection = True

    def _give(self, answer: Answer) -> None:
        self.close_connection = self.close_connection or answer.breaks
        if answer.hangs:
            self.server.scripted.over.wait(5)
        elif answer.drips == "headers":
            self._drip(b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 90)
        elif not answer.hangs_up:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        chunked = {"Transfer-Encoding": "chunked"}
        length = chunked if answer.is_chunked else {"Content-Length": str(len(answer.body))}
        for name, value in {**length, **answer.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        sent = answer.body[: answer.cut_after]
        if answer.drips == "body":
            self._drip(sent)
        elif answer.is_chunked:
            end = b"\r\n0\r\n\r\n" if answer.cut_after is None else b""
            self.wfile.write(f"{len(answer.body):x}\r\n".encode() + sent + end)
        else:
            self.wfile.write(sent)

    def _drip(self, body: bytes) -> None:
        for each in body:
            self.wfile.write(bytes([each]))
            if self.server.scripted.over.wait(0.02):
                break

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


class _Threads(http.server.ThreadingHTTPServer):
    daemon_threads = True
    scripted: "Scripted"


class Scripted:
    """The server: `script` answers a request."""

    def __init__(self, script: Callable[[Asked], Answer]) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self.problems: list[BaseException] = []
        self.over = threading.Event()
        self.server = _Threads(("127.0.0.1", 0), _Handler)
        self.server.scripted = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def pages(self) -> list[str]:
        """The parameter `page` of each request."""
        return [each.query.get("page", "") for each in self.asked]


@contextmanager
def scripted(script: Callable[[Asked], Answer]) -> Iterator[Scripted]:
    """Run a server within the context."""
    found = Scripted(script)
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        found.server.shutdown()
        found.server.server_close()
        thread.join(5)
    assert not found.problems, found.problems


class Waits(Clock):
    """A clock whose waits take no time: it notes them, and goes on by so much."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def now(self) -> float:
        return time.monotonic() + sum(self.waited)

    def date(self) -> datetime:
        return ASKED_AT + timedelta(seconds=sum(self.waited))

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)


class OnlyWaits(Waits):
    """The same, and no time passes but that which is waited: what it shows does not depend on the machine's speed."""

    def now(self) -> float:
        return float(sum(self.waited))


@dataclass
class Got:
    """What a fetch gave."""

    body: bytes
    pages: int
    records: int
    total: int | None
    asked_at: datetime
    waited: list[float]
    on_page: list[tuple[int, int | None]]
    turns: int
    retry_after: list[float]

    def read(self, field: str | None = "data") -> list[dict[str, Any]]:
        """The records as the load reads them."""
        return [each.fields or {} for each in JsonReader([self.body], field)]


def server_of(url: str, api: Mapping[str, Any], secrets: Mapping[str, str] = {}) -> Server:
    """The server of a test; words that a file could not have, such as a short time, may be among those of its API."""
    words = {name: api[name] for name in api if name not in ("timeout_seconds", "deadline_minutes")}
    short = {name: api[name] for name in api if name not in words}
    found = Api.model_validate({"url": url, **words}).model_copy(update=short)
    return Server("retail", "shop", found, url, {name: SecretStr(value) for name, value in secrets.items()})


def get(
    url: str,
    call: Mapping[str, Any],
    api: Mapping[str, Any] = {},
    secrets: Mapping[str, str] = {},
    records: str | None = "data",
    clock: Waits | None = None,
    take_turn: Callable[[], None] = lambda: None,
    on_retry_after: Callable[[float], None] = lambda _seconds: None,
) -> Got:
    """Fetch, and return all that came."""
    waits = clock or Waits()
    turns: list[None] = []

    def take() -> None:
        turns.append(None)
        take_turn()

    on_page: list[tuple[int, int | None]] = []
    told: list[float] = []

    def tell(seconds: float) -> None:
        told.append(seconds)
        on_retry_after(seconds)

    begun = waits.now()
    with fetch(
        server_of(url, api, secrets),
        Call.model_validate({"path": "/sales", **call}),
        records,
        DAY,
        take_turn=take,
        on_page=lambda records, total: on_page.append((records, total)),
        on_retry_after=tell,
        clock=waits,
    ) as found:
        body = found.body.read()
        assert found.size_bytes == len(body)
        assert sum(waits.waited) <= found.seconds <= waits.now() - begun
        got = Got(
            body,
            found.pages,
            found.records,
            found.total,
            found.asked_at,
            waits.waited,
            on_page,
            len(turns),
            told,
        )
    assert found.body.closed
    return got
