"""The token of an API with a login: asked for once, and again when it has expired or was refused.

Not here: the request (request.py), and when a token was refused (ask.py).
"""

import json
import re
from typing import Any

from kpi_assets.model.api import Login, value_at
from kpi_assets.sources.api.ask import Asking, Subject
from kpi_assets.sources.api.problems import ApiError, FailedError
from kpi_assets.sources.api.request import login_request
from kpi_assets.sources.api.server import Server
from kpi_assets.sources.api.spool import Spool

MOST_BYTES = 1 << 20  # of an answer with a token
EARLY = 30.0  # seconds before a token expires at which it is renewed; at most a tenth of its time
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]*)?")


class Tokens:
    """The tokens of one fetch."""

    def __init__(self, server: Server, asking: Asking) -> None:
        self._server, self._asking, self._clock = server, asking, asking.deadline.clock
        self._token: str | None = None
        self._good_until: float | None = None

    def current(self) -> str | None:
        """Return a token that has not expired; None if the API has no login. Raises ApiError."""
        if self._server.api.login is None:
            return None
        if self._token is None or (self._good_until is not None and self._clock.now() >= self._good_until):
            self.renew()
        return self._token

    def renew(self) -> None:
        """Ask for a new token. Raises ApiError."""
        login = self._server.api.login
        assert login is not None
        subject = Subject(
            f"The login of {self._server}, {login.url or self._server.url + str(login.path)}",
            f"login under apis.{self._server.name} of pipeline.yaml, or the secrets ({self._server.secret_settings})",
            takes_turn=login.url is None,
        )
        asked_at, spool = self._clock.now(), Spool(subject.name)
        try:
            token, seconds = self._asking.ask(
                lambda: login_request(self._server), spool, lambda _answer: _read(spool, login), subject
            )
        finally:
            spool.close()
        if token is None:
            raise ApiError(f"{subject.name}: its answer has no token at {login.token!r}: correct token of login.")
        self._asking.hidden.add(token)
        self._token = token
        self._good_until = None if seconds is None else asked_at + seconds - min(EARLY, seconds / 10)


def _read(spool: Spool, login: Login) -> tuple[str | None, float | None]:
    """Return the token of an answer, and for how many seconds it is good. No variable of a caller has the rest."""
    document = _document(spool)
    token = value_at(document, login.token)
    return token if isinstance(token, str) and token else None, _seconds(value_at(document, login.expires))


def _document(spool: Spool) -> Any:
    """Return the JSON of an answer. Nothing of it is quoted, since it may hold a token."""
    problem = f"its answer is longer than {MOST_BYTES >> 20} MiB"
    if spool.page_size <= MOST_BYTES:
        try:
            return json.loads(b"".join(spool.page()))
        except (ValueError, RecursionError):
            problem = "its answer is no JSON, or was cut off"
    raise FailedError(problem)


def _seconds(value: Any) -> float | None:
    """Return for how many seconds a token is good; None if it says no such thing."""
    found = _SECONDS.fullmatch(str(value))
    return float(found[0]) if found and float(found[0]) > 0 else None
