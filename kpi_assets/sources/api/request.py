"""The requests to an API: the words of server and call with their holes filled, and the parameters of a page.

Not here: sending them (client.py).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlencode

from kpi_assets.model.api import Call, NextPage, filled
from kpi_assets.model.field_types import Value
from kpi_assets.sources.api.server import Server

_OURS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "kpi_assets"}
_WRITABLE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")  # as the value of a header


@dataclass(frozen=True)
class Request:
    """One request. What may hold a secret is not shown."""

    method: str
    place: str  # the address without its query
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)

    @property
    def unwritable(self) -> str | None:
        """The first header whose value has a character that no header can have, such as a line end."""
        return next((name for name, value in self.headers.items() if not _WRITABLE.fullmatch(value)), None)

    @property
    def address(self) -> str:
        """The whole address."""
        return f"{self.place}?{self.query}" if self.query else self.place


def place_of(server: Server, call: Call, load_date: date) -> str:
    """Return the address of a call without its query. It holds no secret."""
    return f"{server.url}{filled(call.path, load_date=load_date)}"


def page_request(server: Server, call: Call, load_date: date, page: NextPage, token: str | None) -> Request:
    """Return the request for a page."""
    secrets = server.open_secrets | ({} if token is None else {"token": token})

    def values(of_server: Mapping[str, Value], of_call: Mapping[str, Value]) -> dict[str, Value]:
        ours = {name: filled(value, secrets=secrets) for name, value in of_server.items()}
        return ours | {name: filled(value, load_date=load_date) for name, value in of_call.items()}

    query, body = values(server.api.query, call.query), values(server.api.body, call.body)
    (body if call.method == "POST" else query).update(page)
    headers = {name: str(filled(value, secrets=secrets)) for name, value in server.api.headers.items()}
    kind = {"Content-Type": "application/json"} if call.method == "POST" else {}
    return Request(
        call.method,
        place_of(server, call, load_date),
        urlencode({name: _in_address(value) for name, value in query.items()}),
        _headers(kind, headers),
        json.dumps(body).encode() if call.method == "POST" else None,
    )


def login_request(server: Server) -> Request:
    """Return the request for a token; the API has a login."""
    login, secrets = server.api.login, server.open_secrets
    assert login is not None
    headers = {name: str(filled(value, secrets=secrets)) for name, value in login.headers.items()}
    form = {name: str(filled(value, secrets=secrets)) for name, value in login.form.items()}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    place = login.url or f"{server.url}{login.path}"
    return Request("POST", place, "", _headers(kind, headers), urlencode(form).encode())


def _headers(kind: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request; those of the words take the place of ours."""
    names = {name.lower() for name in theirs}
    return {name: value for name, value in (_OURS | dict(kind)).items() if name.lower() not in names} | dict(theirs)


def _in_address(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
