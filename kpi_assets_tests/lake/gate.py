"""A door between an engine and its store, which a test can shut: connections break, and new ones are refused.

It passes bytes on as they are, so that signatures of requests hold. Not here: faults of single requests (s3_proxy.py).
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_BLOCK = 1 << 16


class Gate:
    """A server on a port of its own that passes every connection on to another one, while it is open."""

    def __init__(self, endpoint: str) -> None:
        to = urlsplit(endpoint)
        self._to = (to.hostname or "127.0.0.1", to.port or 80)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._is_open = True
        self._ends = set[socket.socket]()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """Break all connections, and refuse new ones."""
        with self._lock:
            self._is_open = False
            for each in self._ends:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._is_open = True

    def close(self) -> None:
        """End the server."""
        self.shut()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                if not self._is_open:
                    one.close()
                    continue
                try:
                    other = socket.create_connection(self._to)
                except OSError:
                    one.close()
                    continue
                self._ends |= {one, other}
            for source, target in ((one, other), (other, one)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                target.sendall(block)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._ends.discard(each)


@contextmanager
def gate(endpoint: str) -> Iterator[Gate]:
    """Yield a gate to a store, which ends with the block."""
    found = Gate(endpoint)
    try:
        yield found
    finally:
        found.close()
