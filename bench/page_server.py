"""A server in front of an API: it asks the API for each page once, keeps the answer in a folder, and repeats it.

A simulated retailer makes a page more slowly than a client reads it, so a client's own time would be lost in the time
of the simulator. Clients ask this server, which answers with the same bytes in well below a millisecond.
`python -m bench.page_server FOLDER URL` prints its own address, and ends when its standard input does.
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread

import urllib3

HEADERS = ("Authorization", "X-API-Key", "Content-Type")  # that the API needs


class PageServer(ThreadingHTTPServer):
    """Repeats the answers of the API at `url`, which lie in `folder`."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.url, self.pool = folder, url, urllib3.PoolManager()

    def page(self, request: BaseHTTPRequestHandler, body: bytes) -> bytes:
        """Return the answer to a request. Raises RuntimeError if the API refuses it."""
        asked = b" ".join([request.command.encode(), request.path.encode(), body])
        path = self.folder / hashlib.sha256(asked).hexdigest()
        if not path.exists():
            headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
            answer = self.pool.request(request.command, self.url + request.path, body=body or None, headers=headers)
            if answer.status != 200:
                raise RuntimeError(f"{self.url} answered {answer.status}: {answer.data[:200]!r}")
            aside = path.with_suffix(".aside")
            aside.write_bytes(answer.data)
            aside.rename(path)
        return path.read_bytes()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, which stays open for its next request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: PageServer

    def do_GET(self) -> None:
        """Answer a request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = self.server.page(self, body)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_words: object) -> None:
        """Write nothing."""


@contextmanager
def in_front_of(url: str, folder: Path) -> Iterator[str]:
    """Run such a server in a process of its own; yield its address."""
    command = [sys.executable, "-m", "bench.page_server", str(folder), url]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as served:
        assert served.stdin is not None and served.stdout is not None
        try:
            yield served.stdout.readline().strip()
        finally:
            served.stdin.close()


def main() -> None:
    """Serve until the standard input ends."""
    server = PageServer(Path(sys.argv[1]), sys.argv[2])
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
