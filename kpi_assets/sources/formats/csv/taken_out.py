"""A CSV without some of its records, every other byte as it was.

That is proven on the way: all records together, with those that are taken out, give the bytes of the object again.
Not here: where a record begins and ends (records.py).
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from kpi_assets.sources.formats.base import Instead, UnreadableError
from kpi_assets.sources.formats.csv.encoding import UTF8, to_bytes, to_utf8
from kpi_assets.sources.formats.csv.layout import Layout
from kpi_assets.sources.formats.csv.records import cut_record, spans

_TOGETHER = 1 << 20  # bytes that are yielded at once
_NOT_AGAIN = (
    "its records do not give its bytes again, so that none can be taken out: land it again from its source without it"
)


def without(blocks: Iterable[bytes], layout: Layout, gone: Collection[int], instead: Instead) -> Iterator[bytes]:
    """Yield the bytes without the records of these numbers, and with other values in those of others.

    Raises UnreadableError, at the latest at the end.
    """
    encoding = layout.dialect.encoding
    before, after, kept = hashlib.sha256(), hashlib.sha256(), bytearray()
    for number, piece in _pieces(to_utf8(_seen(blocks, before.update), encoding), layout):
        try:
            own = piece if encoding == UTF8 else to_bytes(piece, encoding)
        except UnicodeError:
            raise UnreadableError(_NOT_AGAIN) from None
        after.update(own)
        if number in instead:
            own = to_bytes(_with(piece, layout, instead[number]), encoding)
        if number not in gone:
            kept += own
            if len(kept) >= _TOGETHER:
                yield bytes(kept)
                kept.clear()
    if before.digest() != after.digest():
        raise UnreadableError(_NOT_AGAIN)
    yield bytes(kept)


def _with(record: bytes, layout: Layout, values: Mapping[str, str | None]) -> bytes:
    """Return a record with other values in some columns."""
    grammar, fields = layout.grammar, []
    cells, _ = cut_record(record, 0, grammar)
    for (text, is_quoted), each in zip(cells, layout.fields, strict=True):
        value: str | None = text.decode()
        if each is not None and each.column in values:
            value = values[each.column]
            if value is None:
                if not each.form.null:
                    raise UnreadableError(
                        f"no text stands for NULL in the field {each.name!r}: write null in its header"
                    )
                fields.append(each.form.null[0].encode())
                continue
        assert value is not None
        quoted = grammar.quote + grammar.in_quotes(value.encode()) + grammar.quote
        fields.append(quoted if is_quoted else value.encode())
    end = b"\r\n" if record.endswith(b"\r\n") else b"\n" if record.endswith(b"\n") else b""
    return grammar.delimiter.join(fields) + end


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
