"""Stand-ins for the services of Dagster: `python stand_in.py KIND [PORT]`.

A service (web, daemon) starts a code server (grpc), which starts a run worker; none of them ends by itself. The pages
start nothing.
"""

import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

UNGUARDED = "STAND_IN_UNGUARDED"  # an environment variable: answer under every host name


def start(kind: str) -> None:
    subprocess.Popen([sys.executable, __file__, kind])


class Answer(BaseHTTPRequestHandler):
    """Answers every request with success, except under a foreign host name. A POST reloads the code locations."""

    def do_GET(self) -> None:
        is_ours = self.headers["Host"].startswith("127.0.0.1:") or UNGUARDED in os.environ
        self.send_response(200 if is_ours else 421)
        self.end_headers()

    def do_POST(self) -> None:
        start("grpc")
        self.do_GET()


def main(kind: str, port: str = "0") -> None:
    child = {"web": "grpc", "daemon": "grpc", "grpc": "worker"}.get(kind)
    if child:
        start(child)
    if kind in {"web", "pages"}:
        HTTPServer(("127.0.0.1", int(port) or int(os.environ["KPI_SERVE_PORT"])), Answer).serve_forever()
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
