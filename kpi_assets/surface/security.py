"""What every request passes through before the app, and every answer after it.

Belongs here: who is let in, and the headers that a browser must obey. Not here: how often and how much (limits.py).
"""

import logging
import traceback
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kpi_assets.scrub import scrub
from kpi_assets.settings import Settings
from kpi_assets.surface.numbers import Numbers
from kpi_assets.surface.problems import Problem, problem_response

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Policy:
    """The settings that decide on requests."""

    embed: tuple[str, ...] = ()


def policy_of(settings: Settings, port: int) -> Policy:  # noqa: ARG001  used next
    """Return the policy of the settings, for a server on `port`."""
    return Policy(tuple(filter(None, settings.serve_embed.split(","))))


def security_headers(path: str, policy: Policy) -> Headers:
    """Return the headers that are added to every answer."""
    if path.startswith("/embed/"):
        frames = " ".join(policy.embed) or "'none'"
        csp = f"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors {frames}"
        shown_by = b"cross-origin"  # as an image only, which the page that shows it cannot read
    else:
        csp = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        shown_by = b"same-origin"
    return [
        (b"content-security-policy", csp.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", shown_by),
    ]


class Shield:
    """Plain ASGI around the app: it refuses what may not come in, and adds the headers to what goes out."""

    def __init__(self, app: ASGIApp, policy: Policy, numbers: Numbers) -> None:
        self._app, self._policy, self._numbers = app, policy, numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours, begun = security_headers(scope["path"], self._policy), False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message.get("headers", ()), *ours]}
            await send(message)

        self._numbers.in_flight += 1
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            logger.error("%s failed: %s", scope["path"], scrub("".join(traceback.format_exception(error))))
            if not begun:
                refused = Problem(500, detail="The log of `kpi serve` says why.")
                await problem_response(scope["path"], refused)(scope, receive, send_with_headers)
        finally:
            self._numbers.in_flight -= 1
