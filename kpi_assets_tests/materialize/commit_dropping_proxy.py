"""A proxy to Postgres that can drop a COMMIT or the answer to it. It runs in threads of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMIT = b"COMMIT\x00"  # the bytes of a message of the protocol


class CommitDroppingProxy:
    """A proxy on 127.0.0.1 that passes bytes on.

    Once `lose` is set, the next COMMIT breaks its connection: before the server receives it if `lose` is "commit",
    after that if `lose` is "answer".
    """

    def __init__(self, port: int) -> None:
        self.lose: str | None = None  # "commit" or "answer"
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            answers = threading.Thread(target=self._pass_on, args=[server, client], daemon=True)
            answers.start()
            with suppress(OSError):
                while data := client.recv(1 << 16):
                    if COMMIT in data and self.lose:
                        what, self.lose = self.lose, None
                        # From here on no answer reaches the client.
                        client.shutdown(socket.SHUT_RDWR)
                        if what == "answer":
                            server.sendall(data)
                        break
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)
            answers.join()

    @staticmethod
    def _pass_on(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)


@contextmanager
def commit_dropping_proxy(port: int) -> Iterator[CommitDroppingProxy]:
    """Open a proxy to the server on `port`, and close it at the end of the block."""
    opened = CommitDroppingProxy(port)
    try:
        yield opened
    finally:
        opened.close()
