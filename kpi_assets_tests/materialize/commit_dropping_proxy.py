"""A wire to Postgres that can lose a COMMIT, or the answer to it: a proxy on 127.0.0.1 in threads of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMIT = b"COMMIT\x00"  # as it stands in a message of the protocol


class Wire:
    """Passes bytes on. Once `lose` is set, the next COMMIT breaks its connection: before or after the server has it."""

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
                        # What comes back from here on goes nowhere.
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
def wire(port: int) -> Iterator[Wire]:
    """A wire to the server on that port."""
    opened = Wire(port)
    try:
        yield opened
    finally:
        opened.close()
