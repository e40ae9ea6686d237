"""URLs of settings: one strict grammar, so that nobody, and no library, takes a part of a password for something else.

Belongs here: whether a URL can be read in one way only, and which of its parts are secret. Not here: what a setting is
for (settings.py), and reaching it.

A `/`, `?`, `#` or `@` that is not percent-encoded ends the part of a URL that it stands in: of `kpi:12/word@host` a
library would take `kpi` for the host and show the rest. So there may be one `@`, and it stands before the host.
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
    """The parts of a URL as they are written; `user`, `password` and `query` are None where there are none."""

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    path: str
    query: str | None

    def secrets(self) -> Iterator[str]:
        """The password and those of the query, as written and decoded, unless they are also a part that is shown."""
        options = [option.partition("=") for option in (self.query or "").split("&")]
        for word in [self.password or "", *(value for name, _, value in options if name in _SECRET_OPTIONS)]:
            if unquote(word) not in {unquote(self.user or ""), unquote(self.path).lstrip("/"), self.hosts}:
                yield from (word, unquote(word))

    def capability(self) -> Iterator[str]:
        """What makes a webhook's URL a secret: its path and query, and each part of them that is no plain word."""
        rest = f"{self.path}?{self.query}" if self.query else self.path
        yield from (word for word in (rest, *re.split(r"[/?&=]", rest)) if re.search(r"\d", word))


def parse(text: str, *schemes: str) -> Url | None:
    """The parts of a URL of one of these schemes; None where it could be read in more than one way, or in none."""
    match = _URL.fullmatch(text)
    if match is None or match["scheme"] not in schemes:
        return None
    ports = re.findall(r":(\d+)(?=,|$)", match["hosts"])
    if not all(0 < int(port) < 65536 for port in ports):
        return None
    return Url(match["scheme"], match["user"], match["password"], match["hosts"], match["path"], match["query"])
