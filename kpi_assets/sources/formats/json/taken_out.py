"""JSON without some of its records, every other byte as it was, but the comma or the line end beside them.

Not here: where a record begins (reader.py).
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.formats.json.reader import JsonRecord
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


def without(content: Content, records: Iterable[JsonRecord], gone: Collection[int], name: str) -> Iterator[bytes]:
    """Yield the bytes without the records of these numbers. Raises UnreadableError."""
    copy = LocalCopy.of(content.read(), name, lambda _size: None)
    try:
        at = 0
        for start, end in _holes(copy, _places(copy, records, gone)):
            yield from copy.read(at, start)
            at = end
        yield from copy.read(at, copy.size)
    finally:
        copy.close()


def _places(copy: LocalCopy, records: Iterable[JsonRecord], gone: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield where the records of these numbers begin and end."""
    for record in records:
        if record.number in gone:
            text = record.text.encode("utf-8", "surrogateescape")
            if copy.head(len(text), record.offset) != text:
                raise UnreadableError(
                    f"its record {record.number} does not stand where it was read, so that it cannot be taken out: "
                    "land it again from its source without it"
                )
            yield record.offset, record.offset + len(text)


def _holes(copy: LocalCopy, places: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what is taken out: records that follow each other together, with one comma or line end beside them."""
    run: tuple[int, int] | None = None
    for start, end in places:
        if run and _only_between(copy, run[1], start):
            run = run[0], end
            continue
        if run:
            yield _hole(copy, *run)
        run = start, end
    if run:
        yield _hole(copy, *run)


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
