"""One request, and its answer: over a connection that is kept, within a deadline, and without redirects.

Whatever fails becomes one of our errors, outside of the handler of the library's error: that one may hold the address
with its query, and a traceback or a log would show it.
Not here: which answers are asked for again (ask.py).
"""

import http.client
import logging
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from kpi_assets.sources.api.clock import Deadline
from kpi_assets.sources.api.problems import FailedError, RefusedError
from kpi_assets.sources.api.request import Request

CONNECT = 10.0  # seconds
BLOCK = 1 << 16  # bytes of one read
EXCERPT = 4_096  # bytes that are read of an answer that is no success
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")  # as OpenSSL names it
_asking = threading.local()


class _WhileAsking(logging.Filter):
    """Drops what urllib3 logs of our requests: it quotes addresses with their queries."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not getattr(_asking, "now", False)


for _module in ("connection", "connectionpool", "util.retry"):
    logging.getLogger(f"urllib3.{_module}").addFilter(_WhileAsking())


@contextmanager
def _unlogged() -> Iterator[None]:
    _asking.now = True
    try:
        yield
    finally:
        _asking.now = False


@dataclass(frozen=True)
class Answer:
    """The head of an answer; `start` has the first bytes of one that is no success."""

    status: int
    headers: urllib3.HTTPHeaderDict = field(repr=False)
    start: bytes = field(default=b"", repr=False)
    is_whole: bool = True  # whether `start` is all of the body


class Client:
    """Sends requests, one after another. It is a context manager."""

    def __init__(self, timeout: float, deadline: Deadline) -> None:
        """`timeout` is how many seconds may pass without a byte."""
        self._timeout, self._deadline = timeout, deadline
        self._sockets: list[Any] = []
        self._managers: dict[str, urllib3.PoolManager] = {}
        # A server that sends a byte now and then is stopped from outside, wherever the client waits for it.
        self._watch = threading.Timer(max(0.0, deadline.left()), self._shut)
        self._watch.daemon = True

    def __enter__(self) -> "Client":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        for manager in self._managers.values():
            manager.clear()

    def _shut(self) -> None:
        for each in self._sockets:
            try:
                # Not that of SSLSocket, which takes the layer of TLS away from the thread that reads.
                socket.socket.shutdown(each, socket.SHUT_RDWR)
            except (OSError, TypeError):  # it is closed, or TLS within TLS
                continue

    def send(self, request: Request, take: Callable[[bytes], None]) -> Answer:
        """Send a request; `take` gets the body of an answer with status 200. Raises FailedError and RefusedError."""
        problem: FailedError | RefusedError
        with _unlogged():
            try:
                return self._send(request, take)
            except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                problem = self._problem(error)
        if self._deadline.left() <= 0:
            problem = FailedError("its answer had not ended")
        raise problem

    def _send(self, request: Request, take: Callable[[bytes], None]) -> Answer:
        left = max(0.001, self._deadline.left())
        answer = self._manager(request.place).request(
            request.method,
            request.address,
            body=request.body,
            headers=request.headers,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(CONNECT, self._timeout, left), read=min(self._timeout, left)),
        )
        try:
            start, is_whole = b"", True
            while block := answer.read1(BLOCK):
                if answer.status == 200:
                    take(block)
                else:
                    start += block
                    if len(start) >= EXCERPT:
                        is_whole = False
                        break
            if is_whole:
                answer.release_conn()
            return Answer(answer.status, answer.headers, start, is_whole)
        finally:
            answer.close()

    def _manager(self, place: str) -> urllib3.PoolManager:
        parts = urlsplit(place)
        server = f"{parts.scheme}://{parts.netloc}"
        if server not in self._managers:
            is_direct = urllib.request.proxy_bypass(parts.hostname or "")
            proxy = None if is_direct else urllib.request.getproxies().get(parts.scheme)
            manager = _through(proxy if "://" in proxy else f"http://{proxy}") if proxy else urllib3.PoolManager()
            manager.pool_classes_by_scheme = _pools(self._sockets)
            self._managers[server] = manager
        return self._managers[server]

    def _problem(self, error: Exception) -> FailedError | RefusedError:
        """Return our error for one of the library or the system, of which nothing is quoted but names of causes."""
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return RefusedError(
                    f"its certificate cannot be trusted ({cause.verify_message}): correct the host in url, or name the "
                    "file of the authority that signed it with SSL_CERT_FILE"
                )
            if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
                return RefusedError("it does not speak TLS: correct url, which may have to begin with http://")
        for kinds, sentence in self._sentences():
            if any(isinstance(cause, kinds) for cause in causes):
                return FailedError(sentence)
        number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), None)
        return FailedError(f"the request failed ({os.strerror(number) if number else type(error).__name__})")

    def _sentences(self) -> list[tuple[tuple[type[BaseException], ...], str]]:
        return [
            (
                (ProxyError,),
                "the proxy that HTTPS_PROXY or HTTP_PROXY names cannot be used (NO_PROXY leaves a host out)",
            ),
            ((NameResolutionError,), "the name of its host is not known here"),
            ((ConnectionRefusedError,), "nobody listens there"),
            ((NewConnectionError,), "it cannot be connected to"),
            ((ConnectTimeoutError,), "it could not be connected to in time"),
            ((ssl.SSLError, urllib3.exceptions.SSLError), "no connection by TLS came about"),
            ((ReadTimeoutError, TimeoutError), f"no byte of its answer came for {self._timeout:g} s (timeout_seconds)"),
            ((http.client.IncompleteRead,), "its answer was cut off"),
            ((DecodeError,), "its answer cannot be unpacked"),
            ((ProtocolError, ConnectionError, http.client.HTTPException), "the connection broke"),
        ]


def _through(proxy: str) -> urllib3.PoolManager:
    """Return a manager of connections through a proxy, whose address may have a user and a password."""
    user = urllib3.util.parse_url(proxy).auth
    headers = urllib3.util.make_headers(proxy_basic_auth=unquote(user)) if user else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, those that it was made of, and those that came before it."""
    waiting, known = [error], set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) in known:
            continue
        known.add(id(found))
        yield found
        others = [found.__cause__, found.__context__, *found.args, getattr(found, "original_error", None)]
        waiting += [each for each in others if isinstance(each, BaseException)]


def _pools(sockets: list[Any]) -> dict[str, Any]:
    """Return the pool of each scheme, with connections that add the sockets which they open to a list."""
    kinds: dict[str, Any] = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
    return {
        scheme: type(kind.__name__, (kind,), {"ConnectionCls": _watched(kind.ConnectionCls, sockets)})
        for scheme, kind in kinds.items()
    }


def _watched(kind: Any, sockets: list[Any]) -> Any:
    def connect(self: Any) -> None:
        kind.connect(self)
        sockets.append(self.sock)

    # Whatever debuglevel is set for all: http.client would print headers.
    return type(kind.__name__, (kind,), {"connect": connect, "debuglevel": 0})
