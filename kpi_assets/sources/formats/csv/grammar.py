"""The characters of a dialect as bytes of UTF-8, and the patterns that follow from them.

Belongs here: what is the same for the proof, the count and the reading of records. Not here: the forms of values
(model/written.py), and encodings (encoding.py).
"""

import re
import sys
from dataclasses import dataclass
from functools import cached_property

from kpi_assets.model.dialect import Dialect

# Possessive repetitions do not backtrack, which saves 60 bytes for each doubled quote; they are correct since 3.11.5.
POSSESSIVE = sys.version_info >= (3, 11, 5)
_MORE = b"*+" if POSSESSIVE else b"*"


@dataclass(frozen=True)
class Grammar:
    """The special characters; each is one byte, or empty if the dialect has none."""

    delimiter: bytes = b","
    quote: bytes = b'"'
    escape: bytes = b""  # empty: a quote within a value is doubled
    comment: bytes = b""

    @classmethod
    def of(cls, dialect: Dialect) -> "Grammar":
        """Return the grammar of a dialect."""
        letters = (dialect.delimiter, dialect.quote, dialect.escape, dialect.comment)
        return cls(*(letter.encode() for letter in letters))

    @cached_property
    def body(self) -> bytes:
        """The pattern of a text between quotes."""
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        if escape:
            return b"[^%b%b]*(?:%b(?s:.)[^%b%b]*)%b" % (quote, escape, escape, quote, escape, _MORE)
        return b"[^%b]*(?:%b%b[^%b]*)%b" % (quote, quote, quote, quote, _MORE)

    @cached_property
    def bare(self) -> bytes:
        """The pattern of a text without quotes."""
        return b"[^%b%b\r\n]*" % (re.escape(self.delimiter), re.escape(self.quote))

    def is_special(self, letter: str) -> bool:
        """Return whether a character has a meaning between or around values."""
        return letter.encode() in (self.delimiter, self.quote, self.escape, self.comment) or letter in "\r\n"

    def in_quotes(self, text: bytes) -> bytes:
        """Return a text as it stands between quotes."""
        if not self.escape:
            return text.replace(self.quote, self.quote * 2)
        return text.replace(self.escape, self.escape * 2).replace(self.quote, self.escape + self.quote)

    def without_quotes(self, text: bytes) -> bytes:
        """Return the value of a text that stands between quotes."""
        if not self.escape:
            return text.replace(self.quote * 2, self.quote)
        return self._escaped.sub(rb"\1", text)

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        return re.compile(b"%b([%b%b])" % tuple(map(re.escape, (self.escape, self.escape, self.quote))))


USUAL = Grammar()
