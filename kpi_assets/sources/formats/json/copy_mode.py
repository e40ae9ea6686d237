"""The copy mode of JSON: batches of records, written as COPY's text format.

Not here: the values of a column (columns.py).
"""

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Protocol

from kpi_assets.sources.formats.base import NO_SETTINGS, CopyMode, UnprovenError
from kpi_assets.sources.formats.json.columns import NULL, Texts, escaped, writer_of
from kpi_assets.sources.formats.json.layout import Filled, Layout, own_letters
from kpi_assets.sources.formats.json.reader import Batch, JsonReader

BLOCK = 256 << 10  # characters that are written at once: the server reads what was written before meanwhile


class Blocks(Protocol):
    """One pass over the bytes of an object."""

    done: int  # bytes so far

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes."""

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""


class JsonCopy(CopyMode):
    """The only mode; an object is not cut."""

    def __init__(self, begin: Callable[[], tuple[Blocks, JsonReader]], layout: Layout) -> None:
        """`begin` begins a pass over the object."""
        self._begin, self._layout = begin, layout

    def stream(self, start: int, end: int) -> "JsonStream":  # noqa: ARG002
        """Return the records of the object."""
        return JsonStream(*self._begin(), self._layout)


class JsonStream:
    """Records on their way to COPY."""

    options = "format text"
    settings = NO_SETTINGS

    def __init__(self, blocks: Blocks, reader: JsonReader, layout: Layout) -> None:
        self._blocks, self._reader, self._layout = blocks, reader, layout
        self.columns = layout.columns
        self._writers = [None if each.is_json else writer_of(each) for each in layout.filled]

    @property
    def records(self) -> int:
        """Records so far."""
        return self._reader.records

    @property
    def done(self) -> int:
        """Bytes of the object so far."""
        return self._blocks.done

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""
        return self._blocks.waited

    def __iter__(self) -> Iterator[bytes]:
        lines, size = [], 0
        for batch in self._reader.batches():
            if not batch.is_sound:
                raise UnprovenError
            lines.append(self._written(batch))
            size += len(lines[-1])
            if size >= BLOCK:
                yield "".join(lines).encode()
                lines, size = [], 0
        yield "".join(lines).encode()

    def _written(self, batch: Batch) -> str:
        columns = [
            _json_column(batch, filled) if write is None else write(_values(batch, filled.name))
            for filled, write in zip(self._layout.filled, self._writers, strict=True)
        ]
        if self._layout.has_whole:
            columns.append(escaped(batch.texts))
        if self._layout.keeps_extra:
            columns.append(self._extra(batch))
        return "\n".join([*map("\t".join, zip(*columns, strict=True)), ""])

    def _extra(self, batch: Batch) -> Texts:
        kept = [self._layout.other_fields(text, fields) for text, fields in zip(batch.texts, batch.fields, strict=True)]
        return [NULL if text is None else escaped([text])[0] for text in kept]


def _values(batch: Batch, name: str) -> list[Any]:
    """Return the values of one field; None where a record lacks it."""
    try:
        return list(map(itemgetter(name), batch.fields))
    except KeyError:
        return [fields.get(name) for fields in batch.fields]


def _json_column(batch: Batch, filled: Filled) -> Texts:
    null = filled.form.null
    found = [
        None if value is None or value in null else own_letters(text)[filled.name]
        for value, text in zip(_values(batch, filled.name), batch.texts, strict=True)
    ]
    return [NULL if text is None else escaped([text])[0] for text in found]
