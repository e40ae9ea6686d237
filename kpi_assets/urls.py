"""URLs in settings: one strict grammar, so that no library mistakes a part of a password for another part.

Belongs here: whether a URL is unambiguous, and which of its parts are secret. Not here: the meaning of a setting
(settings.py), and connecting to a URL.

A `/`, `?`, `#` or `@` that is not percent-encoded ends a part of a URL: in `kpi:12/word@host` a library would take
`kpi` for the host and show the rest. So only one `@` is allowed, before the host.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

_ENCODED = r"%[0-9A-Fa-f]{2}"
_LETTER = r"[A-Za-z0-9._~!$&'()*+,;=-]"
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._-]|{_ENCODED})*)(?::[0-9]{{1,5}})?"
_URL = re.compile(
    rf"(?P<scheme>[a-z0-9+]+)://"
    rf"(?:(?P<user>(?:{_LETTER}|{_ENCODED})*)(?::(?P<password>(?:{_LETTER}|{_ENCODED}|:)*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    rf"(?P<path>(?:/(?:{_LETTER}|{_ENCODED}|[:/])*)?)"
    rf"(?:\?(?P<query>(?:{_LETTER}|{_ENCODED}|[:/])*))?"
)
_SECRET_OPTIONS = {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}  # of libpq


@dataclass(frozen=True)
class Url:
    """The parts of a URL as they are written; `user`, `password` and `query` are None if the URL has none."""

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    path: str
    query: str | None

    def secrets(self) -> Iterator[str]:
        """Yield the passwords of the URL and its query, as written and decoded, unless a shown part is the same."""
        options = [option.partition("=") for option in (self.query or "").split("&")]
        for word in [self.password or "", *(value for name, _, value in options if name in _SECRET_OPTIONS)]:
            if unquote(word) not in {unquote(self.user or ""), unquote(self.path).lstrip("/"), self.hosts}:
                yield from (word, unquote(word))

    def capability(self) -> Iterator[str]:
        """Yield the secret parts of a webhook's URL: its path and query, and each part of them that has a digit."""
        rest = f"{self.path}?{self.query}" if self.query else self.path
        yield from (word for word in (rest, *re.split(r"[/?&=]", rest)) if re.search(r"\d", word))


def parse(text: str, *schemes: str) -> Url | None:
    """Return the parts of a URL of one of these schemes, or None if it is ambiguous or not a URL."""
    match = _URL.fullmatch(text)
    if match is None or match["scheme"] not in schemes:
        return None
    ports = re.findall(r":(\d+)(?=,|$)", match["hosts"])
    if not all(0 < int(port) < 65536 for port in ports):
        return None
    return Url(match["scheme"], match["user"], match["password"], match["hosts"], match["path"], match["query"])
