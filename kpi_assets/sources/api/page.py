"""Reads a page to its end with the reader of the load: so it has as many records here as the load will find.

Of a page only the fields with its total and its cursor are kept.
Not here: which page follows, and whether the pages add up (rounds.py).
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from kpi_assets.model.api import Call, value_at
from kpi_assets.sources.api.client import Answer
from kpi_assets.sources.api.hidden import Hidden
from kpi_assets.sources.api.problems import FailedError, RefusedError
from kpi_assets.sources.api.spool import Spool
from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.formats.json.reader import JsonReader

_AT_ONCE = 4 << 20  # bytes of a page that is read as one block; with its values it takes some ten times the memory
_HEAD = 4_096  # bytes of an answer of which the first letters are quoted
_MARK = b"\xef\xbb\xbf"  # of UTF-8
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_BLANK = b" \t\n\r"
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_UNICODE = ("utf-8", "utf8", "us-ascii", "ascii")
_COUNT = re.compile(r"[0-9]{1,15}(\.0+)?")
_LOOK = "look at what it answers, and correct records or call"
_PACKED = ("", "identity", "gzip", "x-gzip", "deflate")


class Page(NamedTuple):
    """What a page says of itself."""

    records: int
    total: int | None
    document: dict[str, Any]  # of what is around its list of records, where its total and its cursor are
    digest: bytes  # of its list of records: what is around it may be another time of day


def read_page(answer: Answer, spool: Spool, call: Call, records: str | None, hidden: Hidden) -> Page:
    """Read the last page of the spool. Raises FailedError for a page that was cut off, and RefusedError."""
    _check_letters(answer, spool, hidden)
    _check_start(spool, records, hidden)
    blocks, problem = _Blocks(spool), ""
    try:
        reader = _read(blocks, call, records)
    except UnreadableError as error:
        problem = str(error).rpartition(": ")[0]  # what is behind it is for those who land files
    if problem and blocks.have_ended:
        raise FailedError("its answer was cut off")
    if problem:
        shown = hidden.in_brackets(problem.encode(), is_whole=True)
        raise RefusedError(f"its answer cannot be read {shown}: {_LOOK}")
    if reader.values > 1:
        raise RefusedError(f"its answer is several documents, one after another: {_LOOK}")
    part = range(spool.page_size) if records is None else reader.list_bytes
    return Page(reader.records, _total(call, reader.around), reader.around, spool.digest(part))


class _Blocks:
    """The bytes of a page, which are one block if it is not large."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self.have_ended = spool, False
        self.are_one = spool.page_size <= _AT_ONCE

    def __iter__(self) -> Iterator[bytes]:
        self.have_ended = False
        yield from [b"".join(self._spool.page())] if self.are_one else self._spool.page()
        self.have_ended = True


def _read(blocks: _Blocks, call: Call, records: str | None) -> JsonReader:
    """Return the reader after all records; one with a problem counts too, and the load says which. UnreadableError."""
    places = (call.total, call.pages and call.pages.following)
    kept = {place.partition(".")[0] for place in places if place}
    reader = JsonReader(blocks, records, kept=kept)
    if blocks.are_one:
        reader.count()
        return reader
    if all(batch.is_sound for batch in reader.batches()):
        return reader
    reader = JsonReader(blocks, records, kept=kept)
    for _ in reader:
        continue
    return reader


def _check_letters(answer: Answer, spool: Spool, hidden: Hidden) -> None:
    """Refuse what is not UTF-8. A byte order mark is taken away, since other pages may come before this one."""
    packed = answer.headers.get("Content-Encoding", "").strip().lower()
    if packed not in _PACKED:
        shown = hidden.excerpt(packed.encode(), is_whole=True)
        raise RefusedError(f"its answer is packed as {shown!r}, which was not asked for: have it answer plainly")
    start = next(spool.page(), b"")[:4]
    if start.startswith(_OTHER_MARKS):
        raise RefusedError("its answer is UTF-16 or UTF-32: have it answer in UTF-8, as JSON is sent")
    if start.startswith(_MARK):
        spool.drop_start(len(_MARK))
    found = _CHARSET.search(answer.headers.get("Content-Type", ""))
    if found and found[1].lower() not in _UNICODE and not all(block.isascii() for block in spool.page()):
        shown = hidden.excerpt(found[1].encode(), is_whole=True)
        raise RefusedError(f"its answer is in {shown!r}: have it answer in UTF-8, as JSON is sent")


def _check_start(spool: Spool, records: str | None, hidden: Hidden) -> None:
    """Refuse an answer that is another value of JSON than the words say, which could be read as something else."""
    start = next((block.lstrip(_BLANK) for block in spool.page() if block.strip(_BLANK)), b"")[:1]
    if not start:
        raise FailedError("its answer is empty")
    if start == (b"[" if records is None else b"{"):
        return
    head = next(spool.page())[:_HEAD]
    shown = hidden.in_brackets(head, is_whole=len(head) == spool.page_size)
    if records is None:
        raise RefusedError(f"its answer is no array of records {shown}: name the field of its list in records")
    raise RefusedError(f"its answer is no document with the list {records!r} {shown}: {_LOOK}")


def _total(call: Call, document: dict[str, Any]) -> int | None:
    if call.total is None:
        return None
    said = value_at(document, call.total)
    if not isinstance(said, str) or not _COUNT.fullmatch(said):
        raise RefusedError(f"its answer has no number of records at {call.total!r}: correct total of call")
    return int(said.partition(".")[0])
