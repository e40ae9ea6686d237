"""What every request passes through before the app, and every answer after it: a pure ASGI wrapper.

On the loopback interface everybody on this machine may read, unless there are keys. On any other, a reader has a key or
comes through a proxy that knows him. A browser sends its key once in the address, and keeps it in a cookie.

Belongs here: who is let in, and the headers that a browser must obey. Not here: how often and how much (limits.py).
"""

import hashlib
import hmac
import logging
import time
import traceback
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kpi_assets.instance import access
from kpi_assets.instance.guard import Request, exchange, offered, parameters
from kpi_assets.scrub import scrub
from kpi_assets.settings import Settings
from kpi_assets.surface.limits import IN_FLIGHT, Buckets, Streams, check_size
from kpi_assets.surface.numbers import REFUSED, Numbers
from kpi_assets.surface.problems import Problem, is_for_programs, problem_response

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

READS = ("GET", "HEAD")
PROBES = {"/healthz", "/readyz"}  # open to all, under any host name: they say yes or no
EMBED = "/embed/"
EVENTS = "/api/v1/events"  # an answer that stays open; it has limits of its own
STATIC = "/static/"  # open to all: the page that asks for a key looks like the others
EMBED_ONLY = "embed-"  # the beginning of the names of keys that open EMBED alone
KEY = "key"  # the parameter with which a browser sends its key once
_ALLOW = {"Allow": ", ".join(READS)}
_EXPOSED = b"ETag, X-Publish-Id, X-Load-Date, X-Gate, X-Waived, X-Final, X-Final-At, X-Final-Through, Link, Retry-After"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_WRONG_HOST = "This server does not answer to the host name in this address: set KPI_SERVE_URL to the address in use."
_WRONG_SITE = "Another site may link to a page, and show /embed/ as an image. Other addresses must be opened here."
_NO_KEY = "Open this page with ?key= and your key once, or send `Authorization: Bearer` and the key."


@dataclass(frozen=True)
class Policy:
    """The settings that decide on requests. `hosts` are the accepted Host headers, in lower case."""

    hosts: frozenset[str]
    cookie: str
    keys: dict[str, str] = field(default_factory=dict)  # the hash of each key, by its name
    proxy_header: str | None = None
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    origins: frozenset[str] = frozenset()
    embed: tuple[str, ...] = ()
    is_https: bool = False

    @property
    def is_open(self) -> bool:
        """Whether everybody who reaches the server may read."""
        return not self.keys and self.proxy_header is None


def hash_of(key: str) -> str:
    """Return the hash under which a key is kept. A key is long and random, so a fast hash is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def policy_of(settings: Settings, port: int) -> Policy:
    """Return the policy of the settings, for a server on `port`. Raises UsageError if it would let anybody in."""
    host = ip_address(settings.serve_host)
    access.check_readers(settings)
    public = urlsplit(settings.serve_url or "").netloc.lower()
    hosts = {f"{name}:{port}" for name in (access.LOOPBACK, "localhost", "[::1]")}
    if not host.is_unspecified:
        hosts.add(f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}")
    return Policy(
        hosts=frozenset({*hosts, public} - {""}),
        cookie=f"kpi_serve_{port}",  # browsers share cookies among the ports of a host
        keys=settings.serve_key_hashes,
        proxy_header=settings.serve_proxy_header.lower() if settings.serve_proxy_header else None,
        proxies=tuple(map(ip_network, filter(None, settings.serve_proxy_addresses.split(",")))),
        origins=frozenset(filter(None, settings.serve_origins.split(","))),
        embed=tuple(filter(None, settings.serve_embed.split(","))),
        is_https=(settings.serve_url or "").startswith("https:"),
    )


def security_headers(path: str, policy: Policy) -> Headers:
    """Return the headers that are added to every answer."""
    csp, shown_by = _PAGE, b"same-origin"
    if path.startswith(EMBED):
        frames = " ".join(policy.embed) or "'none'"
        csp = f"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors {frames}"
        shown_by = b"cross-origin"  # as an image, which the page that shows it cannot read
    return [
        (b"content-security-policy", csp.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", shown_by),
    ]


class _Detour(Exception):  # noqa: N818  no error
    """The request is answered before the app: `headers` lead the browser on, or it loads the page again."""

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b"") -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


_AGAIN = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>KPIs</title>'
)


class Shield:
    """Refuses what may not come in, and adds the headers to what goes out."""

    def __init__(self, app: ASGIApp, policy: Policy, numbers: Numbers) -> None:
        self._app, self._policy, self._numbers = app, policy, numbers
        self._buckets, self._streams = Buckets(), Streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            if scope["path"] == EVENTS:
                await self._http(scope, receive, send)
                return
            self._numbers.in_flight += 1
            try:
                await self._http(scope, receive, send)
            finally:
                self._numbers.in_flight -= 1

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, status, since = scope["path"], 0, time.perf_counter()
        request = Request.of(scope)
        ours = [*security_headers(path, self._policy), *self._cors(request)]

        async def send_ours(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"server"]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        inner: Scope = {}
        try:
            reader = self._check(request, scope)
            inner = _for_app(request, scope)
            if path == EVENTS:
                with self._streams.one_more(reader):
                    self._numbers.streams = self._streams.open
                    await self._app(inner, receive, send_ours)
            else:
                await self._app(inner, receive, send_ours)
        except _Detour as found:
            headers = [*found.headers, (b"cache-control", b"no-store"), (b"content-type", b"text/html; charset=utf-8")]
            await send_ours({"type": "http.response.start", "status": found.status, "headers": headers})
            await send_ours({"type": "http.response.body", "body": found.body})
        except Problem as problem:
            await problem_response(path, problem)(scope, receive, send_ours)
        except Exception as error:
            logger.error("%s failed: %s", path, scrub("".join(traceback.format_exception(error))))
            if not status:
                refused = Problem(500, detail="The log of `kpi serve` says why.")
                await problem_response(path, refused)(scope, receive, send_ours)
        finally:
            self._numbers.streams = self._streams.open
            route = getattr(inner.get("route"), "path", None) or REFUSED
            self._numbers.count(route, status, time.perf_counter() - since)

    def _check(self, request: Request, scope: Scope) -> str:
        """Return who reads. Raise Problem or _Detour unless the request may reach the app."""
        if request.method not in READS and not (request.method == "OPTIONS" and self._allowed_origin(request)):
            raise Problem(405, detail="Nothing is changed here.", headers=_ALLOW)
        if request.path in PROBES:
            check_size(scope)
            return ""
        if self._numbers.in_flight > IN_FLIGHT:
            raise Problem(503, detail="Too many requests are being answered.", headers={"Retry-After": "1"})
        check_size(scope)
        key = self._key_of(request)
        if (request.only("host") or "").lower() not in self._policy.hosts and not (
            key and request.all("authorization")
        ):
            raise Problem(421, detail=_WRONG_HOST)  # an attacker can point a name of his own at this machine
        if request.method == "OPTIONS":
            raise _Detour(204)
        self._check_site(request)
        return self._let_in(request, key, str((scope.get("client") or ("", 0))[0]))

    def _check_site(self, request: Request) -> None:
        """Let another site link to a page and show embeds; let the origins of KPI_SERVE_ORIGINS read."""
        if not request.comes_from_elsewhere or self._allowed_origin(request):
            return
        mode, shown_in = request.only("sec-fetch-mode"), request.only("sec-fetch-dest")
        if mode == "navigate" and shown_in == "document":
            return
        if request.path.startswith(EMBED) and shown_in in {"image", "iframe", "embed", "object"}:
            return
        raise Problem(403, detail=_WRONG_SITE)

    def _let_in(self, request: Request, key: str | None, address: str) -> str:
        policy = self._policy
        if policy.is_open:
            return f"address {address}"  # whoever is on this machine could read the databases just as well
        if (person := self._person_of(request, address)) is not None:
            self._buckets.take(f"person {person}")
            return f"person {person}"
        if key is None and request.path.startswith(STATIC):
            return f"address {address}"
        if key is None:
            self._buckets.take(f"address {address}")
            if request.comes_from_elsewhere and request.only("sec-fetch-dest") == "document":
                # A browser sends no SameSite=Strict cookie after a link on another site. A reload sends it.
                raise _Detour(200, body=_AGAIN)
            raise Problem(401, detail=_NO_KEY if policy.keys else _WRONG_SITE, headers={"WWW-Authenticate": "Bearer"})
        self._buckets.take(f"key {key}")
        if key.startswith(EMBED_ONLY) and not request.path.startswith(EMBED):
            raise Problem(403, detail="This key opens /embed/ alone.")
        given = [value for _, name, value in parameters(request.query) if name == KEY]
        if given and not is_for_programs(request.path) and not request.path.startswith(EMBED):
            secure = policy.is_https or request.scheme == "https"
            raise _Detour(303, exchange(request, KEY, policy.cookie, given[0], secure=secure))
        return f"key {key}"

    def _person_of(self, request: Request, address: str) -> str | None:
        """Return whom a trusted proxy has let in."""
        if self._policy.proxy_header is None or not address:
            return None
        peer = ip_address(address)
        if not any(peer in network for network in self._policy.proxies):
            return None
        return request.only(self._policy.proxy_header) or None

    def _key_of(self, request: Request) -> str | None:
        """Return the name of the key that the request has; None without one that is known."""
        if not self._policy.keys:
            return None
        given = [value for _, name, value in parameters(request.query) if name == KEY]
        for one in (*given, *offered(request, self._policy.cookie)):
            hashed = hash_of(one)
            for name, known in self._policy.keys.items():
                if hmac.compare_digest(hashed, known):
                    return name
        return None

    def _allowed_origin(self, request: Request) -> str | None:
        origin = (request.only("origin") or "").lower()
        return origin if origin in self._policy.origins and request.path.startswith("/api/") else None

    def _cors(self, request: Request) -> Headers:
        if not self._policy.origins:
            return []
        found: Headers = [(b"vary", b"Origin")]
        if origin := self._allowed_origin(request):
            found.append((b"access-control-allow-origin", origin.encode()))
            if request.method == "OPTIONS":
                found.append((b"access-control-allow-methods", b"GET"))
                found.append((b"access-control-allow-headers", b"Authorization, If-None-Match"))
                found.append((b"access-control-max-age", b"600"))
            else:
                found.append((b"access-control-expose-headers", _EXPOSED))
        return found


def _for_app(request: Request, scope: Scope) -> Scope:
    """Return the request as the app sees it: without a key, and HEAD as GET, whose body the server then leaves out."""
    kept = b"&".join(part for part, name, _ in parameters(request.query) if name != KEY)
    return {**scope, "method": "GET", "query_string": kept}
