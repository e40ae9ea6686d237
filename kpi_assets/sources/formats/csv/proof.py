"""The proof, at COPY's speed, that the quotes and values of a CSV follow the rules.

COPY accepts more than the rules do: it toggles on any quote, rounds numbers, and reads `today` as a date. So every byte
on its way to COPY must match a regular expression of a whole record, made from the columns' types (model/written.py).
Not here: the problem of a record that is not proven, which is found by reading the records one by one (records.py).
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from kpi_assets.model import written
from kpi_assets.sources.formats.base import UnprovenError
from kpi_assets.sources.formats.csv.header import BYTE_ORDER_MARK, HEADER_LIMIT
from kpi_assets.sources.formats.csv.records import RECORD_LIMIT

PIECE = 128 << 10  # bytes proven at once, while the server reads the piece before
# Possessive repetitions do not backtrack, which saves 60 bytes for each doubled quote; they are correct since 3.11.5.
_POSSESSIVE = sys.version_info >= (3, 11, 5)
_MORE, _RECORDS = (b"*+", b"++") if _POSSESSIVE else (b"*", b"{1,200}")
LONGEST = RECORD_LIMIT if _POSSESSIVE else 1 << 20  # the most bytes of a record here; records.py handles longer ones
_FREE = b'(?:"[^"]*(?:""[^"]*)%b"|[^",\r\n]*)' % _MORE


class Proof:
    """Proves the records of a CSV with these columns (name -> type) block by block.

    The proof is valid only together with COPY, which gets the same bytes and enforces the number of fields of a line.
    """

    def __init__(self, columns: Mapping[str, str], *, header: bool = True) -> None:
        forms = [written.form(type_) for type_ in columns.values()]
        inside = [written.form_in_quotes(type_) or "" for type_ in columns.values()]
        bare = ",".join([*(form or "[^,]*" for form in forms[:-1]), forms[-1] or "[^\n]*"]).encode()
        quoted = b",".join(
            b'(?:"%b"|%b)' % (quoted.encode(), form.encode()) if form else _FREE
            for form, quoted in zip(forms, inside, strict=True)
        )
        names = b",".join(b'(?:"%b"|%b)' % (name, name) for name in (re.escape(name).encode() for name in columns))
        self._header = re.compile(b"(?:%b)?%b\r?\n" % (BYTE_ORDER_MARK, names))
        self._header_inside = re.compile(b"\n" + self._header.pattern)
        # Usually a repeated header is not proven, because one of its names is not a value of its column.
        self._may_be_header = all(
            not form or re.fullmatch(form, name) for form, name in zip(forms, columns, strict=True)
        )
        self._bare, self._bare_one = _records(bare)
        self._quoted, self._quoted_one = _records(quoted)
        self._all_integers = all(type_ in written.INTEGERS for type_ in columns.values())
        self._all_free = not any(forms)
        self._wants_header = header
        self._waiting: list[bytes] = []
        self._size = self._enough = 0

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the bytes in pieces. Raises UnprovenError before the end, so that COPY does not commit.

        It does so if a record breaks the rules of quoting, repeats the header, or has a value that is not written in a
        form of its type.
        """
        for block in filter(None, blocks):
            quick = b'"' not in block and (self._all_integers or self._all_free)
            for piece in [block] if quick else _pieces(block):
                yield piece
                self._take(piece)
        if self._size:
            ends = not self._waiting[-1].endswith(b"\n")
            self._enough = 0
            self._take(b"\n" * ends)
        if self._size or self._wants_header:
            raise UnprovenError

    def _take(self, piece: bytes) -> None:
        """Prove the complete records; the rest may only be the beginning of a record."""
        self._waiting.append(piece)
        self._size += len(piece)
        if self._size < self._enough:
            return
        data = b"".join(self._waiting)
        rest = data[self._proven(data) :]
        if len(rest) > LONGEST or (b"\n" in rest and b'"' not in rest):
            raise UnprovenError
        # A long record is tried again when twice as many bytes are there, so that it is not matched over and over.
        self._waiting, self._size, self._enough = [rest] if rest else [], len(rest), 2 * len(rest)

    def _proven(self, data: bytes) -> int:
        """Return where the first record begins that is not proven, or is not complete."""
        start = 0
        if self._wants_header:
            found = self._header.match(data)
            if not found:
                if b"\n" in data or len(data) > HEADER_LIMIT:
                    raise UnprovenError
                return 0
            start, self._wants_header = found.end(), False
        if self._may_be_header and (
            self._header.match(data, start) or self._header_inside.search(data, max(start - 1, 0))
        ):
            raise UnprovenError
        if b'"' in data:
            return self._matched(self._quoted, self._quoted_one, data, start)
        if self._all_free or self._all_integers:
            return self._proven_quickly(data, start)
        return self._matched(self._bare, self._bare_one, data, start)

    def _proven_quickly(self, data: bytes, start: int) -> int:
        """Prove data without quotes: any text is valid, and for whole numbers it is enough to check the characters."""
        if data.find(b"\n", start) - start > LONGEST:
            raise UnprovenError
        if self._all_integers and data[start:].translate(None, b"0123456789-,\r\n"):
            raise UnprovenError
        return max(data.rfind(b"\n") + 1, start)

    def _matched(self, many: re.Pattern[bytes], one: re.Pattern[bytes], data: bytes, start: int) -> int:
        pattern = many if len(data) <= LONGEST else one
        while found := pattern.match(data, start):
            if len(data) > LONGEST and found.end() - start > LONGEST:
                raise UnprovenError
            start = found.end()
        return start


def _records(pattern: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return the patterns for many records at once, and for one record."""
    return re.compile(b"(?:%b\r?\n)%b" % (pattern, _RECORDS)), re.compile(b"%b\r?\n" % pattern)


def _pieces(block: bytes) -> Iterator[bytes]:
    """Cut a block into pieces of about PIECE bytes, at line ends if they are near."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start + PIECE, start + 2 * PIECE) + 1 or min(start + 2 * PIECE, len(block))
        yield block[start:end]
        start = end
