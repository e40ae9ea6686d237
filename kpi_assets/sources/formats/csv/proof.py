"""The proof, at COPY's speed, that the quotes and values of a CSV follow the rules.

COPY accepts more than the rules do: it toggles on any quote, rounds numbers, and reads `today` as a date. So every byte
on its way to COPY must match a regular expression of a whole record, made from the forms of the columns
(model/written.py).
Not here: the problem of a record that is not proven, which is found by reading the records one by one (records.py).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kpi_assets.model.written import EDGES, Form
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.csv.encoding import BYTE_ORDER_MARK
from kpi_assets.sources.formats.csv.grammar import POSSESSIVE, USUAL, Grammar
from kpi_assets.sources.formats.csv.records import RECORD_LIMIT

PIECE = 128 << 10  # bytes proven at once, while the server reads the piece before
_RECORDS = b"++" if POSSESSIVE else b"{1,200}"
LONGEST = RECORD_LIMIT if POSSESSIVE else 1 << 20  # the most bytes of a record here; records.py handles longer ones


@dataclass(frozen=True)
class FieldProof:
    """What a field may hold: texts of a pattern, or any text, with edges of its own if it has any."""

    pattern: bytes | None = None
    null: tuple[bytes, ...] = ()  # texts that are allowed without quotes too
    edges: tuple[bytes, bytes] = (b"", b"")
    is_plain_integer: bool = False

    @classmethod
    def of(cls, form: Form, grammar: Grammar, *, native: bool) -> "FieldProof":
        """Return the proof of a form: of all its texts, or only of those that Postgres reads itself.

        The values of a form with special characters cannot be told by a pattern of a whole record. They must be read.
        """
        if form.is_text:
            return cls(edges=(EDGES[0].encode(), EDGES[1].encode()) if form.pattern else (b"", b""))
        if any(map(grammar.is_special, form.alphabet or "")):
            return cls()
        pattern = form.native if native and form.native is not None else form.pattern
        assert pattern is not None
        null = tuple(re.escape(text.encode()) for text in form.null if text)
        return cls(pattern.encode(), null, is_plain_integer=form.is_plain_integer)

    def allows(self, text: bytes) -> bool:
        """Return whether the field may hold a text, as far as its pattern says."""
        return self.pattern is None or re.fullmatch(b"|".join([*self.null, self.pattern]), text) is not None


ANY = FieldProof()


class Proof:
    """Proves the records of a CSV with these fields block by block.

    `names` are those of the header, which no record may repeat; None if the file has none. Unless it is `exact`, the
    proof is valid only together with COPY, which gets the same bytes and enforces the number of fields of a line.
    """

    def __init__(
        self,
        fields: Sequence[FieldProof],
        names: Sequence[str] | None,
        grammar: Grammar = USUAL,
        *,
        exact: bool = False,
    ) -> None:
        self._grammar, self._comment = grammar, re.escape(grammar.comment)
        delimiter, quote = re.escape(grammar.delimiter), re.escape(grammar.quote)
        loose = [b"[^%b]*" % delimiter] * (len(fields) - 1) + [b"[^\n]*"]
        bare = [
            _bare(each, grammar.bare if exact or each.edges[0] else free)
            for each, free in zip(fields, loose, strict=True)
        ]
        self._bare, self._bare_one = self._records(delimiter.join(bare))
        quoted = bare
        if grammar.quote:
            quoted = [
                b"(?:%b%b%b|%b)" % (quote, _inside(each, grammar), quote, _bare(each, grammar.bare)) for each in fields
            ]
        self._quoted, self._quoted_one = self._records(delimiter.join(quoted))
        self._header = self._header_inside = None
        # Usually a repeated header is not proven, because one of its names is not a value of its column.
        if names is not None and all(each.allows(name.encode()) for each, name in zip(fields, names, strict=True)):
            line = delimiter.join(_name(name.encode(), grammar) for name in names)
            self._header = re.compile(b"(?:%b)?%b\r?\n" % (BYTE_ORDER_MARK, line))
            self._header_inside = re.compile(b"\n" + self._header.pattern)
        self._integers = b"0123456789-\r\n" + grammar.delimiter
        quick = not exact and not grammar.comment
        self._all_integers = quick and all(each.is_plain_integer for each in fields)
        self._all_free = quick and all(each == ANY for each in fields)
        self._waiting: list[bytes] = []
        self._size = self._enough = 0

    def _records(self, pattern: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
        """Return the patterns for many records at once, and for one record."""
        one = b"%b\r?\n" % pattern
        if self._comment:
            one = b"(?:%b[^\n]*\n|(?!%b)%b)" % (self._comment, self._comment, one)
        return re.compile(b"(?:%b)%b" % (one, _RECORDS)), re.compile(one)

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the bytes in pieces. Raises UnprovenError before the end, so that COPY does not commit.

        It does so if a record breaks the rules of quoting, repeats the header, or has a value that is not written in a
        form of its column.
        """
        for block in filter(None, blocks):
            quick = not self._has_quote(block) and (self._all_integers or self._all_free)
            for piece in [block] if quick else _pieces(block):
                yield piece
                self._take(piece)
        self._finish()

    def records(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield whole records after they were proven, each with its line end. Raises UnprovenError as `watch` does."""
        for block in filter(None, blocks):
            for piece in _pieces(block):
                if proven := self._take(piece):
                    yield proven
        if proven := self._finish():
            yield proven

    def _finish(self) -> bytes:
        proven = b""
        if self._size:
            ends = not self._waiting[-1].endswith(b"\n")
            self._enough = 0
            proven = self._take(b"\n" * ends)
        if self._size:
            raise UnprovenError
        return proven

    def _has_quote(self, data: bytes) -> bool:
        return bool(self._grammar.quote) and self._grammar.quote in data

    def _take(self, piece: bytes) -> bytes:
        """Prove the complete records, and return them; the rest may only be the beginning of a record."""
        self._waiting.append(piece)
        self._size += len(piece)
        if self._size < self._enough:
            return b""
        data = b"".join(self._waiting)
        end = self._proven(data)
        rest = data[end:]
        if len(rest) > LONGEST or (b"\n" in rest and not self._has_quote(rest)):
            raise UnprovenError
        # A long record is tried again when twice as many bytes are there, so that it is not matched over and over.
        self._waiting, self._size, self._enough = [rest] if rest else [], len(rest), 2 * len(rest)
        return data[:end]

    def _proven(self, data: bytes) -> int:
        """Return where the first record begins that is not proven, or is not complete."""
        if self._header and (self._header.match(data) or (self._header_inside and self._header_inside.search(data))):
            raise UnprovenError
        if self._has_quote(data):
            return self._matched(self._quoted, self._quoted_one, data)
        if self._all_free or self._all_integers:
            return self._proven_quickly(data)
        return self._matched(self._bare, self._bare_one, data)

    def _proven_quickly(self, data: bytes) -> int:
        """Prove data without quotes: any text is valid, and for whole numbers it is enough to check the characters."""
        if data.find(b"\n") > LONGEST:
            raise UnprovenError
        if self._all_integers and data.translate(None, self._integers):
            raise UnprovenError
        return data.rfind(b"\n") + 1

    def _matched(self, many: re.Pattern[bytes], one: re.Pattern[bytes], data: bytes) -> int:
        start, pattern = 0, many if len(data) <= LONGEST else one
        while found := pattern.match(data, start):
            if len(data) > LONGEST and found.end() - start > LONGEST:
                raise UnprovenError
            start = found.end()
        return start


def _bare(field: FieldProof, free: bytes) -> bytes:
    if field.pattern is None:
        return field.edges[0] + free + field.edges[1]
    return b"(?:%b)" % b"|".join([*field.null, field.pattern]) if field.null else field.pattern


def _inside(field: FieldProof, grammar: Grammar) -> bytes:
    return field.edges[0] + grammar.body + field.edges[1] if field.pattern is None else field.pattern


def _name(name: bytes, grammar: Grammar) -> bytes:
    """Return the pattern of a name in the header, in quotes or without them."""
    if not grammar.quote:
        return re.escape(name)
    return b"(?:%b|%b)" % (re.escape(grammar.quote + grammar.in_quotes(name) + grammar.quote), re.escape(name))


def _pieces(block: bytes) -> Iterator[bytes]:
    """Cut a block into pieces of about PIECE bytes, at line ends if they are near."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start + PIECE, start + 2 * PIECE) + 1 or min(start + 2 * PIECE, len(block))
        yield block[start:end]
        start = end
