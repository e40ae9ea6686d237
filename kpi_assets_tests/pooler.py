"""A connection pooler between clients and PostgreSQL, as small as the protocol allows, in the modes of PgBouncer.

It accepts any password, gives sessions process numbers of its own, and resets no state of a session, like
PgBouncer in its mode `transaction`. In the mode `session` a client keeps its session until it disconnects.
"""

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import psycopg

Mode = Literal["transaction", "session", "statement"]
STATUS = {"server_version": "18.0", "client_encoding": "UTF8", "standard_conforming_strings": "on"}
_keys = itertools.count(-1, -1)  # no process of the server has a negative number


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise ConnectionError
        found += piece
    return found


def _next(connection: socket.socket) -> tuple[bytes, bytes]:
    kind, size = _read(connection, 1), _read(connection, 4)
    return kind, kind + size + _read(connection, struct.unpack("!i", size)[0] - 4)


class Pooler:
    """The sessions of one database and user; the session that was returned last is lent first."""

    def __init__(self, url: str, mode: Mode, turns: int) -> None:
        self.url, self.mode, self.turns = url, mode, turns
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connected = 0  # clients so far
        self._sessions: list[psycopg.Connection] = []
        self._free: list[psycopg.Connection] = []
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Serve clients until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for session in self._sessions:
            session.close()

    def _lend(self) -> psycopg.Connection:
        with self._lock:
            if self._free:
                return self._free.pop(0 if self.turns else -1)
        made = psycopg.connect(self.url, autocommit=True, sslmode="disable")
        self._sessions.append(made)
        return made

    def _client(self, client: socket.socket) -> None:
        session: psycopg.Connection | None = None
        with suppress(OSError, ConnectionError), client:
            self._greet(client)
            self.connected += 1
            while True:
                kind, message = _next(client)
                if kind == b"X":
                    break
                if self.mode == "statement" and message[5:].lower().startswith(b"begin"):
                    client.sendall(_message(b"E", b"SFATAL\0C08P01\0Mtransaction blocks not allowed\0\0"))
                    break
                session = session or self._lend()
                with socket.fromfd(session.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as server:
                    server.setblocking(True)
                    server.sendall(message)
                    if kind in b"QScf":  # until the answer is complete, or the server waits for the data of a COPY
                        while True:
                            kind, message = _next(server)
                            client.sendall(message)
                            if kind in b"ZG":
                                break
                        if (kind, message[-1:]) == (b"Z", b"I") and self.mode != "session":
                            self._free.append(session)
                            session = None
        if session is not None:  # in mode `session`, or after a disconnect in a transaction
            session.close()

    def _greet(self, client: socket.socket) -> None:
        while True:
            size = struct.unpack("!i", _read(client, 4))[0]
            body = _read(client, size - 4)
            if struct.unpack("!i", body[:4])[0] in {80877103, 80877104}:  # TLS, GSS
                client.sendall(b"N")
                continue
            break
        said = b"".join(_message(b"S", f"{name}\0{value}\0".encode()) for name, value in STATUS.items())
        key = _message(b"K", struct.pack("!ii", next(_keys), 1))
        client.sendall(_message(b"R", struct.pack("!i", 0)) + said + key + _message(b"Z", b"I"))


@contextmanager
def pooler(url: str, mode: Mode, *, turns: bool = False) -> Iterator[Pooler]:
    """Run a pooler for the server at `url`; with `turns` it lends the session that was returned first."""
    opened = Pooler(url, mode, turns)
    thread = threading.Thread(target=opened.serve)
    thread.start()
    try:
        yield opened
    finally:
        opened.close()
        thread.join(20)
