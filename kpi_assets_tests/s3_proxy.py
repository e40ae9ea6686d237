"""A proxy for an S3 store that injects the faults a test asks for, and passes on the rest unchanged."""

import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PATIENCE = 30  # seconds after which a hanging request is an error
BLOCK = 1 << 16
XML = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>scripted by a test</Message></Error>"


@dataclass(frozen=True)
class Cut:
    """The connection breaks after `after` bytes of the body of the answer."""

    after: int


@dataclass(frozen=True)
class Short:
    """The body ends after `size` bytes, and Content-Length agrees with it."""

    size: int


@dataclass(frozen=True)
class Flip:
    """The byte of the body at `at` arrives changed."""

    at: int


@dataclass(frozen=True)
class Rot:
    """The object's bytes from `at` on are `to`, whatever part of it is read."""

    at: int
    to: bytes

    def of(self, body: bytes, start: int) -> bytes:
        """Return the bytes of an object from `start` on as they have become."""
        for at, byte in enumerate(self.to, self.at - start):
            if 0 <= at < len(body):
                body = body[:at] + bytes([byte]) + body[at + 1 :]
        return body


@dataclass(frozen=True)
class FlipSent:
    """The byte of the body of the request at `at` reaches the store changed."""

    at: int


@dataclass(frozen=True)
class SlowTake:
    """The body of the request is read in pieces of `size` bytes, with pauses of `pause` seconds."""

    size: int
    pause: float


@dataclass(frozen=True)
class Says:
    """The answer has these headers instead of its own; headers that are None are removed.

    They may be of another ETag or of parts that the store does not know: it is asked without If-Match and partNumber.
    """

    headers: Mapping[str, str | None]


@dataclass(frozen=True)
class Refuse:
    """The request does not reach the store: the answer is this status and S3 error code."""

    status: int = 503
    code: str = "SlowDown"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drip:
    """The body of the answer comes in pieces of `size` bytes, with pauses of `pause` seconds."""

    size: int
    pause: float


@dataclass(frozen=True)
class HangUp:
    """The connection breaks without an answer, before the request reaches the store."""


Fault = Cut | Short | Flip | Rot | FlipSent | SlowTake | Says | Refuse | Drip | HangUp


@dataclass
class Proxy:
    """The faults to inject next, and every request so far as `METHOD path range`, with the path unquoted."""

    url: str
    requests: list[str] = field(default_factory=list)
    _script: list[tuple[str, Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def breaks(self, fault: Fault, *, on: str = "", times: int = 1) -> None:
        """Inject the fault into the next `times` requests that contain `on`."""
        self._script += [(on, fault)] * times

    def rots(self, bucket: str, key: str, body: bytes, old: bytes, new: bytes) -> None:
        """Change bytes of an object, which are `body`, without a change of its ETag or timestamps."""
        assert body.count(old) == 1
        assert len(old) == len(new)
        self.breaks(Rot(body.index(old), new), on=f"GET /{bucket}/{key}", times=1000)

    def heals(self) -> None:
        """Inject no more faults."""
        with self._lock:
            self._script.clear()

    def meet(self, request: str) -> Fault | None:
        """Record a request; return its fault and remove that from the script."""
        with self._lock:
            self.requests.append(request)
            for number, (on, fault) in enumerate(self._script):
                if on in request:
                    del self._script[number]
                    return fault
        return None

    def asked(self, word: str) -> list[str]:
        """Return the requests that contain a word, in order."""
        return [request for request in self.requests if word in request]


@contextmanager
def faulty(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy on 127.0.0.1 for the store at `endpoint`."""
    server = _Server(urlsplit(endpoint).netloc)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()  # waits for requests in progress


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, store: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store, self.proxy = store, Proxy(f"http://127.0.0.1:{self.server_port}")
        # Otherwise the kernel takes megabytes at once, however slowly they are read.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)


class _Handler(BaseHTTPRequestHandler):
    """Serves one request of one connection; the base class answers Expect: 100-continue."""

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
            return  # the client has given up
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
        path, headers = self.path, [*self.headers.items()]
        if isinstance(fault, Says) and not body:
            path, headers = self._plainly_asked()
        upstream = http.client.HTTPConnection(self.server.store, timeout=PATIENCE)
        try:
            upstream.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() != "expect":
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            self._give(answer.status, dict(answer.getheaders()), answer.read(), fault)
        finally:
            upstream.close()

    def _plainly_asked(self) -> tuple[str, list[tuple[str, str]]]:
        """Return path and headers of the same request without conditions, with a signature of its own."""
        path = re.sub(r"\?partNumber=\d+$", "", self.path)
        kept = {name: value for name in ("Range", "x-amz-checksum-mode") if (value := self.headers.get(name))}
        request = AWSRequest(self.command, f"http://{self.server.store}{path}", headers=kept)
        keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        return path, [("Host", self.server.store), *request.headers.items()]

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
        if isinstance(fault, Rot) and status in {200, 206}:
            body = fault.of(body, int(re.findall(r"\d+", headers.get("content-range", "0"))[0]))
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
