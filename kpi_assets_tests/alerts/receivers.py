"""Local servers that alerts are sent to: a web server and a mail server that keep what they receive."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from kpi_assets_tests.machine import free_port


@dataclass
class Web:
    """A web server that keeps what it receives; `answers` are its next status codes, one a request, then 200."""

    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @classmethod
    @contextmanager
    def open(cls) -> Iterator["Web"]:
        kept = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kept.paths.append(f"GET {self.path}")
                self.send_response(200)
                self.end_headers()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kept.paths.append(f"POST {self.path}")
                code = kept.answers.pop(0) if kept.answers else 200
                if code == 200:
                    kept.bodies.append(body)
                self.send_response(code)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"you said: " + json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            kept.port = server.server_port
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield kept
            finally:
                server.shutdown()
                thread.join()


@dataclass
class Mail:
    """A mail server that keeps the mails it accepts; `refused` are the recipients that it refuses."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refused: Sequence[str] = ()

    async def handle_RCPT(  # noqa: N802  the name is the protocol's
        self, server: object, session: object, envelope: Envelope, address: str, options: object
    ) -> str:
        if address in self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"

    @classmethod
    @contextmanager
    def open(
        cls, password: str | None = None, certificate: ssl.SSLContext | None = None, *, from_the_start: bool = False
    ) -> Iterator["Mail"]:
        """Start a mail server. With a certificate it speaks TLS, by STARTTLS or from the start."""
        kept = cls()

        def authenticate(server: object, session: object, envelope: object, mechanism: str, data: object) -> AuthResult:
            assert isinstance(data, LoginPassword)
            kept.logins.append((data.login.decode(), data.password.decode()))
            return AuthResult(success=data.password.decode() == password, handled=False)

        controller = Controller(
            kept,
            hostname="127.0.0.1",
            port=free_port(),
            ssl_context=certificate if from_the_start else None,
            tls_context=None if from_the_start else certificate,
            authenticator=authenticate,
            auth_require_tls=False,  # the tests are about what the client does without being forced to
        )
        controller.start()
        try:
            kept.port = controller.port
            yield kept
        finally:
            controller.stop()


@contextmanager
def silent(trickle: bytes = b"") -> Iterator[str]:
    """Yield the address of a server that accepts connections and never answers; it sends `trickle` again and again."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            listening.settimeout(0.02)
            taken: list[socket.socket] = []
            while not ended.wait(0.02):
                with suppress(TimeoutError):
                    taken.append(listening.accept()[0])
                for connection in taken:
                    with suppress(OSError):
                        connection.sendall(trickle)
            for connection in taken:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
