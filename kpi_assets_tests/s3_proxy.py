"""A proxy before an S3 store that breaks what a test tells it to break, and passes on the rest byte for byte."""

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PATIENCE = 30  # seconds after which anything that hangs is an error
BLOCK = 1 << 16
XML = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>scripted by a test</Message></Error>"


@dataclass(frozen=True)
class Cut:
    """The connection breaks after that many bytes of the answer's body."""

    after: int


@dataclass(frozen=True)
class Short:
    """The body ends after that many bytes, and the answer says that this is all."""

    size: int


@dataclass(frozen=True)
class Flip:
    """One byte of the body, at that place, comes as another."""

    at: int


@dataclass(frozen=True)
class FlipSent:
    """One byte of the request's body, at that place, reaches the store as another."""

    at: int


@dataclass(frozen=True)
class SlowTake:
    """The request's body is taken in pieces of that many bytes, with pauses of that many seconds."""

    size: int
    pause: float


@dataclass(frozen=True)
class Says:
    """The answer has these headers instead; those that are None are left out."""

    headers: Mapping[str, str | None]


@dataclass(frozen=True)
class Refuse:
    """The store is not asked: the answer is this status and S3 error code."""

    status: int = 503
    code: str = "SlowDown"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drip:
    """The body comes in pieces of that many bytes, with pauses of that many seconds."""

    size: int
    pause: float


@dataclass(frozen=True)
class HangUp:
    """The connection breaks without an answer, before the store has heard of the request."""


Fault = Cut | Short | Flip | FlipSent | SlowTake | Says | Refuse | Drip | HangUp


@dataclass
class Proxy:
    """What is to break next, and every request so far, as `METHOD path range` with its signs unquoted."""

    url: str
    requests: list[str] = field(default_factory=list)
    _script: list[tuple[str, Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def breaks(self, fault: Fault, *, on: str = "", times: int = 1) -> None:
        """Let the next `times` requests that contain `on` meet the fault."""
        self._script += [(on, fault)] * times

    def meet(self, request: str) -> Fault | None:
        """Note a request down, and take the fault that it meets off the script."""
        with self._lock:
            self.requests.append(request)
            for number, (on, fault) in enumerate(self._script):
                if on in request:
                    del self._script[number]
                    return fault
        return None

    def asked(self, word: str) -> list[str]:
        """The requests that contain a word, in order."""
        return [request for request in self.requests if word in request]


@contextmanager
def faulty(endpoint: str) -> Iterator[Proxy]:
    """A proxy on 127.0.0.1 before the store at `endpoint`."""
    server = _Server(urlsplit(endpoint).netloc)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()  # waits for the answers under way


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, store: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store, self.proxy = store, Proxy(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    """One connection, for one request; Expect: 100-continue is answered by the base class."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(BLOCK)
        if self.raw_requestline and self.parse_request():
            self._serve()
        self.close_connection = True

    def _serve(self) -> None:
        fault = self.server.proxy.meet(f"{self.command} {unquote(self.path)} {self.headers.get('Range', '')}")
        size = int(self.headers.get("Content-Length") or 0)
        body = self._taken(size, fault)
        if len(body) < size:
            return  # whoever sent it has given up
        if isinstance(fault, HangUp):
            return
        if isinstance(fault, Refuse):
            self._give(
                fault.status,
                {"Content-Type": "application/xml", **fault.headers},
                XML.format(code=fault.code).encode(),
                None,
            )
            return
        upstream = http.client.HTTPConnection(self.server.store, timeout=PATIENCE)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            self._give(answer.status, dict(answer.getheaders()), answer.read(), fault)
        finally:
            upstream.close()

    def _taken(self, size: int, fault: Fault | None) -> bytes:
        body = b""
        while isinstance(fault, SlowTake) and len(body) < size:
            piece = self.rfile.read(min(fault.size, size - len(body)))
            if not piece:
                return body
            body += piece
            time.sleep(fault.pause)
        body += self.rfile.read(size - len(body))
        if isinstance(fault, FlipSent):
            body = body[: fault.at] + bytes([body[fault.at] ^ 1]) + body[fault.at + 1 :]
        return body

    def _give(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        headers = {name.lower(): value for name, value in headers.items() if name.lower() != "transfer-encoding"}
        if isinstance(fault, Short):
            body = body[: fault.size]
        if isinstance(fault, Flip):
            body = body[: fault.at] + bytes([body[fault.at] ^ 1]) + body[fault.at + 1 :]
        if self.command != "HEAD":
            headers["content-length"] = str(len(body))
        said = {**headers, "connection": "close", **(fault.headers if isinstance(fault, Says) else {})}
        self.send_response_only(status)
        for name, value in said.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if isinstance(fault, Cut):
            body = body[: fault.after]
        step, pause = (fault.size, fault.pause) if isinstance(fault, Drip) else (BLOCK, 0)
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            time.sleep(pause)
