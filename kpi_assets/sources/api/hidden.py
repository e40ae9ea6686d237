"""Takes the secrets of an API out of what its server answered, in every form in which a server may write them.

Not here: the secrets of the settings, which leave every sentence in their own letters (scrub.py).
"""

import base64
import binascii
import html
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote_plus

from kpi_assets.model import excerpt
from kpi_assets.model.pii import MASKED
from kpi_assets.printable import printable

QUOTED = 200  # letters of an answer
_SHOWN = "***"
_LEAST = 4  # letters of a part of a secret that is looked for by itself


class Hidden:
    """The secrets that a text may hold. With `is_personal`, an answer has values about persons, and none is quoted."""

    def __init__(self, secrets: Iterable[str], *, is_personal: bool = False) -> None:
        self._is_personal = is_personal
        self._secrets: set[str] = set()
        self._forms: tuple[str, ...] = ()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Hide a further secret."""
        self._secrets.update(_parts(secret))
        forms = {form for each in self._secrets for form in _forms(each)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def excerpt(self, start: bytes, *, is_whole: bool) -> str:
        """Return the first letters of an answer without the secrets; `is_whole` says whether `start` is all of it."""
        if self._is_personal and start:
            return MASKED
        text = self.out_of(start.decode(errors="replace"))
        if not is_whole:  # a secret may have been cut at its end
            text = text[: max(0, len(text) - max(map(len, self._forms), default=0))]
        return printable(excerpt.cut(" ".join(text.split()), QUOTED))

    def in_brackets(self, start: bytes, *, is_whole: bool) -> str:
        """Return an excerpt in brackets, which a masked one has already."""
        text = self.excerpt(start, is_whole=is_whole)
        return text if text == MASKED else f"({text})"

    def out_of(self, text: str) -> str:
        """Return the text without the secrets; nothing of it if they are there in a form of another kind."""
        for form in self._forms:
            text = text.replace(form, _SHOWN)
        bare = _bare(text)
        return "" if any(_bare(secret) in bare for secret in self._secrets) else text


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret, and what it holds if it is base64, as that of `Authorization: Basic` is."""
    yield secret
    with_padding = secret + "=" * (-len(secret) % 4)
    try:
        inner = base64.b64decode(with_padding, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    if inner.isprintable():
        yield from (each for each in (inner, inner.partition(":")[2]) if len(each) >= _LEAST)


def _forms(secret: str) -> Iterator[str]:
    for each in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
        yield from (each, each.replace("%", "%25"))
    yield secret.encode("unicode_escape").decode()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/")
    yield html.escape(secret)
    raw = secret.encode()
    for before in range(3):  # where a secret begins within a text of base64, its letters are others
        whole = base64.b64encode(b"\0" * before + raw).decode()
        start, end = (before * 8 + 5) // 6, (before + len(raw)) * 8 // 6
        if end - start >= _LEAST:
            yield whole[start:end]
            yield whole[start:end].replace("+", "-").replace("/", "_")


def _bare(text: str) -> str:
    """Return the letters and digits of a text alone, in lower case, with escapes resolved."""
    return "".join(filter(str.isalnum, html.unescape(unquote_plus(text)).lower())) or text
