"""A CSV without some of its records, every other byte as it was.

That is proven on the way: all records together, with those that are taken out, give the bytes of the object again.
Not here: where a record begins and ends (records.py).
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator

from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.formats.csv.encoding import UTF8, to_bytes, to_utf8
from kpi_assets.sources.formats.csv.layout import Layout
from kpi_assets.sources.formats.csv.records import spans

_TOGETHER = 1 << 20  # bytes that are yielded at once
_NOT_AGAIN = (
    "its records do not give its bytes again, so that none can be taken out: land it again from its source without it"
)


def without(blocks: Iterable[bytes], layout: Layout, gone: Collection[int]) -> Iterator[bytes]:
    """Yield the bytes without the records of these numbers. Raises UnreadableError, at the latest at the end."""
    encoding = layout.dialect.encoding
    before, after, kept = hashlib.sha256(), hashlib.sha256(), bytearray()
    for number, piece in _pieces(to_utf8(_seen(blocks, before.update), encoding), layout):
        try:
            own = piece if encoding == UTF8 else to_bytes(piece, encoding)
        except UnicodeError:
            raise UnreadableError(_NOT_AGAIN) from None
        after.update(own)
        if number not in gone:
            kept += own
            if len(kept) >= _TOGETHER:
                yield bytes(kept)
                kept.clear()
    if before.digest() != after.digest():
        raise UnreadableError(_NOT_AGAIN)
    yield bytes(kept)


def _seen(blocks: Iterable[bytes], see: Callable[[bytes], object]) -> Iterator[bytes]:
    for block in blocks:
        see(block)
        yield block


def _pieces(blocks: Iterable[bytes], layout: Layout) -> Iterator[tuple[int, bytes]]:
    """Yield what stands before the first record as number 0, and then the records."""
    coming, start = iter(blocks), b""
    while len(start) < layout.skipped and (block := next(coming, None)) is not None:
        start += block
    yield 0, start[: layout.skipped]

    def rest() -> Iterator[bytes]:
        yield start[layout.skipped :]
        yield from coming

    yield from spans(rest(), layout.grammar)
