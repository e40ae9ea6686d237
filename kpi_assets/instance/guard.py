"""The guard in front of the web UI: it decides which requests reach Dagster's app, and answers all others itself.

A pure ASGI wrapper for HTTP and websockets. Belongs here: the rules and the messages of refusals. Not here: the hosts
and the token (access.py), how the app is wrapped (web.py), the test from outside (probe.py).

Any page that a browser shows can send requests to this machine, and the UI can launch runs and delete history. So a
request is accepted only if the browser says that it comes from the UI itself, and if it has the token.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

GRAPHQL = "/graphql"
READS = {"GET", "HEAD"}
# They reveal nothing that needs protection, and a browser requests the icon and the manifest without cookies.
OPEN_PATHS = {"/server_info", "/manifest.json", "/robots.txt", "/favicon.ico", "/favicon.png", "/favicon.svg"}
SECURITY: Headers = [
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
]
COOKIE_SECONDS = 365 * 24 * 3600
_IN_URL = "/%:@!$&'()*+,;=~?"  # not quoted; the backslash is quoted, because browsers treat it as a slash

_WRONG_HOST = (
    "This server does not answer to the host name in this address: open the address that `kpi url` prints, or add the "
    "name to the setting KPI_UI_HOSTS."
)
_WRONG_ORIGIN = "A page of another origin may not send requests here: open the web UI in a window of its own."
_WRONG_SITE = "Another site may link to a page of the web UI and nothing else: open the page in a window of its own."
_NOT_POST = "GraphQL is answered by POST only: send the query as JSON in the body of a POST."
_NOT_JSON = "GraphQL is answered as JSON only: send the one header `Content-Type: application/json`."
_NOT_READ = "Only GET is allowed here: changes are made by POST to /graphql."
_LOCKED = (
    "This page needs the token of the web UI: open the address that `kpi up` or `kpi url` prints on the machine where "
    "it runs, then follow your link again."
)
_ARRIVING = "Opening the web UI. If nothing happens, load this page again."


@dataclass(frozen=True)
class _Refusal:
    """The response that is sent instead of the app's. `refresh` makes the browser load the page again from this one."""

    status: int
    sentence: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    refresh: bool = False

    def page(self) -> bytes:
        again = '<meta http-equiv="refresh" content="0">' if self.refresh else ""
        return (
            f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">{again}'
            f"<title>kpi_assets</title><style>body{{font:16px sans-serif;max-width:40em;margin:3em auto;padding:0 1em}}"
            f"</style><p>{escape(self.sentence)}</p>\n"
        ).encode()


@dataclass(frozen=True)
class Request:
    """The parts of a request that the rules use. Headers are text; their names are in lower case."""

    is_socket: bool
    method: str
    path: str
    raw_path: bytes
    query: bytes
    scheme: str
    headers: dict[str, list[str]]

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        """Return those of an ASGI request."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        is_socket = scope["type"] == "websocket"
        method = "GET" if is_socket else scope["method"]
        path = scope["path"]
        raw = scope.get("raw_path") or path.encode()
        return cls(is_socket, method, path, raw, scope.get("query_string", b""), scope.get("scheme", "http"), headers)

    def all(self, name: str) -> list[str]:
        """Return the values of a header."""
        return self.headers.get(name, [])

    def only(self, name: str) -> str | None:
        """Return the value of a header that was sent exactly once, else None."""
        return self.all(name)[0] if len(self.all(name)) == 1 else None

    @property
    def is_graphql(self) -> bool:
        """Whether it is one for Dagster's GraphQL."""
        return self.path.rstrip("/") == GRAPHQL

    @property
    def is_page(self) -> bool:
        """Whether the request only reads: a page, an image, a script."""
        return self.method in READS and not self.is_socket and not self.is_graphql

    @property
    def comes_from_elsewhere(self) -> bool:
        """Whether the browser says that another origin made the request. Another port here counts as `same-site`."""
        return self.only("sec-fetch-site") in {"cross-site", "same-site"}


@dataclass(frozen=True)
class Guard:
    """An ASGI app that applies the rules before it calls `app`.

    `hosts` are the accepted values of the Host header, in lower case and with the port. `token` is None if a proxy in
    front of the UI identifies people. `cookie` is the name of the cookie that holds the token.
    """

    app: ASGIApp
    hosts: frozenset[str]
    token: str | None
    cookie: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the app, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            return
        request = Request.of(scope)
        refusal = self._refusal(request)
        if request.is_socket:
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await receive()  # the request to connect
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence[:120]})
        elif refusal is None:
            await self.app(scope, receive, _add_security_headers(send))
        else:
            page = (b"content-type", b"text/html; charset=utf-8")
            fixed = [page, (b"cache-control", b"no-store"), (b"content-security-policy", _PAGE_POLICY), *SECURITY]
            start = {"type": "http.response.start", "status": refusal.status, "headers": [*refusal.headers, *fixed]}
            await send(start)
            await send({"type": "http.response.body", "body": refusal.page()})

    def _refusal(self, request: Request) -> _Refusal | None:
        """Return the refusal of the first rule that the request breaks, or None if it may reach the app."""
        rules = (self._check_host, self._check_origin, _check_site, _check_socket, _check_method, self._check_token)
        for rule in rules:
            if refusal := rule(request):
                return refusal
        return None

    def _check_host(self, request: Request) -> _Refusal | None:
        """Refuse unknown host names, which an attacker can point at this machine (DNS rebinding)."""
        known = (request.only("host") or "").lower() in self.hosts
        return None if known else _Refusal(421, _WRONG_HOST)

    def _check_origin(self, request: Request) -> _Refusal | None:
        if not request.all("origin"):
            return None
        scheme, _, host = (request.only("origin") or "").partition("://")
        known = scheme in {"http", "https"} and host in self.hosts
        return None if known else _Refusal(403, _WRONG_ORIGIN)

    def _check_token(self, request: Request) -> _Refusal | None:
        if self.token is None or request.path in OPEN_PATHS:
            return None
        given = [value for _, name, value in parameters(request.query) if name == "token"]
        if request.is_page and any(same(value, self.token) for value in given):
            headers = exchange(request, "token", self.cookie, self.token, secure=request.scheme == "https")
            return _Refusal(303, _ARRIVING, headers)
        if any(same(each, self.token) for each in offered(request, self.cookie)):
            return None
        if request.is_page and request.comes_from_elsewhere:
            # A browser sends no SameSite=Strict cookie after a link on another site. A reload by our own page sends it.
            return _Refusal(200, _ARRIVING, refresh=True)
        return _Refusal(401, _LOCKED)


_PAGE_POLICY = b"default-src 'none'; style-src 'unsafe-inline'"


def _check_site(request: Request) -> _Refusal | None:
    """Let another site link to a page, but not embed, fetch or post anything."""
    if not request.all("sec-fetch-site") or request.only("sec-fetch-site") in {"none", "same-origin"}:
        return None
    is_link = (request.only("sec-fetch-mode"), request.only("sec-fetch-dest")) == ("navigate", "document")
    if request.comes_from_elsewhere and is_link and request.is_page:
        return None
    return _Refusal(403, _WRONG_SITE)


def _check_socket(request: Request) -> _Refusal | None:
    """Accept a websocket only for GraphQL and with an origin, which every browser sends."""
    if not request.is_socket or (request.path == GRAPHQL and request.all("origin")):
        return None
    return _Refusal(403, _WRONG_ORIGIN)


def _check_method(request: Request) -> _Refusal | None:
    if request.is_socket or request.is_page:
        return None
    if not request.is_graphql:
        return _Refusal(405, _NOT_READ, ((b"allow", b"GET, HEAD"),))
    if request.method != "POST":
        return _Refusal(405, _NOT_POST, ((b"allow", b"POST"),))
    # Compare exactly. Dagster also accepts `text/plain; application/json`, which any page may send without a preflight.
    kind = (request.only("content-type") or "").partition(";")[0].strip().lower()
    return None if kind == "application/json" else _Refusal(415, _NOT_JSON)


def offered(request: Request, cookie: str) -> Iterator[str]:
    """Yield the tokens in a request's headers, right or wrong."""
    scheme, _, value = (request.only("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip()
    for line in request.all("cookie"):
        for part in line.split(";"):
            name, _, value = part.strip().partition("=")
            if name == cookie:
                yield value


def exchange(
    request: Request, parameter: str, cookie: str, token: str, *, secure: bool
) -> tuple[tuple[bytes, bytes], ...]:
    """Return headers that set the cookie, and redirect to the same page without the token in its address."""
    query = quote(b"&".join(part for part, name, _ in parameters(request.query) if name != parameter), _IN_URL)
    # Exactly one slash, because a browser takes what follows two slashes for a host name.
    target = "/" + quote(request.raw_path.partition(b"?")[0].lstrip(b"/"), _IN_URL) + (f"?{query}" if query else "")
    words = f"{cookie}={token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{'; Secure' * secure}"
    return (b"location", target.encode()), (b"set-cookie", words.encode())


def parameters(query: bytes) -> Iterator[tuple[bytes, str, str]]:
    """Yield the parameters of a query: each as it was sent, and its decoded name and value."""
    for part in query.split(b"&"):
        for name, value in parse_qsl(part.decode("latin-1"), keep_blank_values=True):
            yield part, name, value


def same(offered: str, token: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), token.encode())


def _add_security_headers(send: Send) -> Send:
    """Return a `send` that replaces the app's security headers by ours."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = {name for name, _ in SECURITY}
            kept = [(name, value) for name, value in message.get("headers", ()) if bytes(name).lower() not in ours]
            message = {**message, "headers": [*kept, *SECURITY]}
        await send(message)

    return send_with_headers
