"""JSON without some of its records, every other byte as it was, but the comma or the line end beside them.

Not here: where a record begins (reader.py).
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from kpi_assets.sources.formats.base import Instead, UnreadableError
from kpi_assets.sources.formats.json.reader import JsonRecord
from kpi_assets.sources.formats.json.value import spans
from kpi_assets.sources.local_copy import LocalCopy

_BLANK = b" \t\n\r"
_NEAR = 4096  # bytes that are looked at beside a record at once


class Content(Protocol):
    """The bytes of an object, packed no more."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def read(self, start: int = 0, end: int | None = None) -> Iterable[bytes]:
        """Return a read of the bytes from `start` to `end`."""


class _Place(NamedTuple):
    """Where a record begins and ends, and what takes its place; None if nothing does."""

    start: int
    end: int
    text: bytes | None = None


def without(
    content: Content, records: Iterable[JsonRecord], gone: Collection[int], instead: Instead, name: str
) -> Iterator[bytes]:
    """Yield the bytes without the records of these numbers, and with other values in fields of others.

    Raises UnreadableError.
    """
    copy = LocalCopy.of(content.read(), name, lambda _size: None)
    try:
        at = 0
        for start, end, text in _holes(copy, _places(copy, records, gone, instead)):
            yield from copy.read(at, start)
            yield text or b""
            at = end
        yield from copy.read(at, copy.size)
    finally:
        copy.close()


def _places(
    copy: LocalCopy, records: Iterable[JsonRecord], gone: Collection[int], instead: Instead
) -> Iterator[_Place]:
    """Yield the places of the records of these numbers."""
    for record in records:
        if record.number not in gone and record.number not in instead:
            continue
        text = record.text.encode("utf-8", "surrogateescape")
        if copy.head(len(text), record.offset) != text:
            raise UnreadableError(
                f"its record {record.number} does not stand where it was read, so that it cannot be taken out: land it "
                "again from its source without it"
            )
        new = None if record.number in gone else _with(record.text, instead[record.number]).encode()
        yield _Place(record.offset, record.offset + len(text), new)


def _with(text: str, values: Mapping[str, str | None]) -> str:
    """Return a record with other values in some of its fields."""
    pieces, at = [], 0
    for name, start, end in spans(text):
        if name in values:
            pieces += [text[at:start], json.dumps(values[name])]
            at = end
    return "".join([*pieces, text[at:]])


def _holes(copy: LocalCopy, places: Iterable[_Place]) -> Iterator[_Place]:
    """Yield what is replaced; records that are taken out and follow each other together, with one comma or line end."""
    run: _Place | None = None
    for place in places:
        if run and place.text is None and _only_between(copy, run.end, place.start):
            run = _Place(run.start, place.end)
            continue
        if run:
            yield _Place(*_hole(copy, run.start, run.end))
        run = place if place.text is None else None
        if place.text is not None:
            yield place
    if run:
        yield _Place(*_hole(copy, run.start, run.end))


def _only_between(copy: LocalCopy, start: int, end: int) -> bool:
    """Return whether nothing but blanks and one comma stands between two places."""
    between = copy.head(end - start, start) if end - start <= _NEAR else b"long"
    return between.translate(None, _BLANK) in (b"", b",")


def _hole(copy: LocalCopy, start: int, end: int) -> tuple[int, int]:
    after, letter = _next(copy, end)
    if letter == b",":
        return start, _next(copy, after + 1)[0]
    if letter == b"]":
        comma = _before(copy, start)
        return (comma, end) if comma is not None else (start, end)
    line_end = copy.head(_NEAR, end).find(b"\n")
    blanks_only = line_end >= 0 and end + line_end < after
    return start, (end + line_end + 1 if blanks_only else end)


def _next(copy: LocalCopy, at: int) -> tuple[int, bytes]:
    """Return the place of the next letter that is no blank, and the letter; empty at the end."""
    while near := copy.head(_NEAR, at):
        left = near.lstrip(_BLANK)
        at += len(near) - len(left)
        if left:
            return at, left[:1]
    return at, b""


def _before(copy: LocalCopy, at: int) -> int | None:
    """Return the place of the comma before a record; None if no other record stands before it."""
    while at:
        size = min(_NEAR, at)
        near = copy.head(size, at - size).rstrip(_BLANK)
        at -= size - len(near)
        if near:
            return at - 1 if near.endswith(b",") else None
    return None
