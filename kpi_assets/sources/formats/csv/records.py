"""Reads the records of a CSV one by one, each with its fields or with its problem.

Belongs here: RFC 4180 with the characters of a dialect, strictly: quotes enclose a whole value, and quotes within it
are doubled or escaped. Not here: the forms of values (model/written.py), and the proof of the same rules at COPY's
speed (proof.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kpi_assets.model import excerpt
from kpi_assets.model.records import Record
from kpi_assets.sources.extra_fields import extra_json
from kpi_assets.sources.formats.csv import encoding
from kpi_assets.sources.formats.csv.grammar import USUAL, Grammar

if TYPE_CHECKING:
    from kpi_assets.sources.formats.csv.layout import Layout

RECORD_LIMIT = 16 << 20  # bytes; a longer record is not read, to bound the memory
HEADER_AGAIN = "it is the header again: remove it where files were joined"
TOO_LONG = f"it is longer than {RECORD_LIMIT >> 20} MiB"
STRAY = "a quote is inside a value or is followed by more of it: quote the whole value, and double the quotes in it"
STRAY_ESCAPED = (
    "a quote is inside a value or is followed by more of it: quote the whole value, and escape the quotes in it"
)
OPEN = "a quote is not closed"
CARRIAGE_RETURN = "a carriage return is outside quotes"
NUL = "it contains a NUL byte"

Cell = tuple[bytes, bool]  # the text of a field, and whether it stands in quotes


class GrammarError(Exception):
    """A record breaks the rules of CSV."""


class OpenQuoteError(GrammarError):
    """A quote is not closed within the bytes given."""


def cut_record(data: bytes, start: int = 0, grammar: Grammar = USUAL) -> tuple[list[Cell], int]:
    """Return the fields of the record that begins at `start`, and its end: after its line end, or the end of the data.

    Raises GrammarError, or OpenQuoteError if more data might close a quote.
    """
    cells: list[Cell] = []
    delimiter = grammar.delimiter
    stray = STRAY_ESCAPED if grammar.escape else STRAY
    while True:
        end = data.find(b"\n", start) + 1 or len(data)
        quote = data.find(grammar.quote, start, end) if grammar.quote else -1
        bare = data[start:quote] if quote >= 0 else data[start:end].removesuffix(b"\n").removesuffix(b"\r")
        if b"\r" in bare:
            raise GrammarError(CARRIAGE_RETURN)
        found = [(text, False) for text in bare.split(delimiter)]
        if quote < 0:
            return cells + found, end
        if found.pop() != (b"", False):
            raise GrammarError(stray)
        close = _closing_quote(data, quote + 1, grammar)
        cells += found
        cells.append((grammar.without_quotes(data[quote + 1 : close]), True))
        start = close + 1
        if data.startswith((b"\n", b"\r\n"), start):
            return cells, data.index(b"\n", start) + 1
        if start >= len(data) - data.endswith(b"\r"):
            return cells, len(data)
        if not data.startswith(delimiter, start):
            raise GrammarError(CARRIAGE_RETURN if data.startswith(b"\r", start) else stray)
        start += 1


def _closing_quote(data: bytes, start: int, grammar: Grammar) -> int:
    """Return the place of the quote that closes the field whose text begins at `start`."""
    quote, escape = grammar.quote, grammar.escape
    end = data.find(quote, start)
    while end >= 0:
        if escape:
            escapes = end - len(data[start:end].rstrip(escape)) - start
            if escapes % 2 == 0:
                return end
            start = end = end + 1  # the characters up to here are read
        elif data.startswith(quote, end + 1):
            end += 2
        else:
            return end
        end = data.find(quote, end)
    raise OpenQuoteError(OPEN)


def spans(blocks: Iterable[bytes], grammar: Grammar) -> Iterator[tuple[int, bytes]]:
    """Cut the blocks of UTF-8 behind the header into records with their line ends, each with its number from 1.

    What lies between records, such as a comment, has the number 0.
    """
    number = 0
    for record, is_comment, _, _ in _raw(iter(blocks), grammar):
        number += not is_comment
        yield (0 if is_comment else number), record


def read_records(blocks: Iterable[bytes], layout: "Layout") -> Iterator[Record]:
    """Cut the blocks of UTF-8 behind the header into records, and each into the fields of the dialect's columns.

    A record that cannot be read is yielded with its problem, as one line; reading continues with the next line.
    RECORD_LIMIT and the size of a block bound the memory.
    """
    reader = _Reader(layout)
    for line, data, cells, broken in _cut(_bounded(blocks), layout.line, layout.grammar):
        values, problem = reader.values(data, cells) if not broken else ([], broken)
        yield Record(line, reader.shown(data), None if problem else values, problem or None)


class _Reader:
    """Makes the values of records: NULL or a text for each column of the dialect, and the extra fields if kept."""

    def __init__(self, layout: "Layout") -> None:
        self._layout, self._encoding = layout, layout.dialect.encoding
        numbers = {each.column: number for number, each in enumerate(layout.fields) if each is not None}
        self._sources = [
            (numbers.get(each.column), {text.encode() for text in each.form.null}) for each in layout.dialect.fields
        ]
        self._keeps = layout.dialect.extra == "keep"

    def values(self, data: bytes, cells: Sequence[Cell]) -> tuple[list[str | None], str]:
        """Return the values of a record, and its problem; empty if there is none."""
        if problem := encoding.misfit(data, self._encoding):
            return [], problem
        if b"\x00" in data:
            return [], NUL
        count = len(self._layout.fields)
        if len(cells) != count:
            return [], f"it has {len(cells)} field{'s' * (len(cells) != 1)}, not {count}"
        if self._layout.is_header([text.decode() for text, _ in cells]):
            return [], HEADER_AGAIN
        values = [_value(cells, number, null) for number, null in self._sources]
        return ([*values, self._extra(cells)] if self._keeps else values), ""

    def _extra(self, cells: Sequence[Cell]) -> str | None:
        """Return the fields that are no column as JSON; None if the file has none."""
        if not self._layout.extra:
            return None
        null = {text.encode() for text in self._layout.dialect.null}
        return extra_json((self._layout.names[number], _value(cells, number, null)) for number in self._layout.extra)

    def shown(self, data: bytes) -> str:
        """Return the excerpt of a record that is kept, as text that Postgres can store."""
        # A character has at most 4 bytes: whatever is left out here would be cut below anyway.
        text = encoding.shown(data[: 4 * excerpt.RECORD + 4], self._encoding)
        return excerpt.cut(text.replace("\x00", "\\x00"), excerpt.RECORD)


def _value(cells: Sequence[Cell], number: int | None, null: set[bytes]) -> str | None:
    if number is None:
        return None
    text, quoted = cells[number]
    return None if not quoted and text in null else text.decode()


def _bounded(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks without the bytes of a line beyond RECORD_LIMIT."""
    length = 0  # of the unfinished line
    for block in blocks:
        end = block.find(b"\n")
        if end < 0:
            end = len(block)
        kept = max(RECORD_LIMIT + 1 - length, 0)
        last = block.rfind(b"\n")
        length = len(block) - last - 1 if last >= 0 else length + len(block)
        yield block if end <= kept else block[:kept] + block[end:]


_Cut = tuple[int, bytes, list[Cell], str]


def _cut(blocks: Iterator[bytes], line: int, grammar: Grammar) -> Iterator[_Cut]:
    """Yield (first line, bytes without the line end, fields, problem or "") for each record."""
    for record, is_comment, cells, problem in _raw(blocks, grammar):
        if not is_comment:
            yield line, record.removesuffix(b"\n").removesuffix(b"\r"), cells, problem
        line += record.count(b"\n")


def _raw(blocks: Iterator[bytes], grammar: Grammar) -> Iterator[tuple[bytes, bool, list[Cell], str]]:
    """Yield (bytes, whether it is a comment, fields, problem or "") for each record and comment."""
    data, start, more = b"", 0, True
    while more or start < len(data):
        found = _next(data, start, grammar, is_all=not more)
        if found is None:
            block = next(blocks, None)
            more = block is not None
            data, start = data[start:] + (block or b""), 0
            continue
        cells, problem, end = found
        record = data[start:end]
        yield record, bool(grammar.comment and record.startswith(grammar.comment)), cells, problem
        start = end


def _next(data: bytes, start: int, grammar: Grammar, *, is_all: bool) -> tuple[list[Cell], str, int] | None:
    """Return (fields, problem or "", end) of the record at `start`, or None if more data is needed.

    A record that breaks the rules ends with its first line.
    """
    line_end = data.find(b"\n", start) + 1 or len(data)
    if not is_all and not data.endswith(b"\n", start, line_end):
        return None
    if grammar.comment and data.startswith(grammar.comment, start):
        return [], "", line_end
    try:
        cells, end = cut_record(data, start, grammar)
    except GrammarError as error:
        is_open = isinstance(error, OpenQuoteError)
        is_long = is_open and len(data) - start > RECORD_LIMIT
        if is_open and not is_long and not is_all:
            return None
    else:
        if end == len(data) and not is_all and not data.endswith(b"\n"):
            return None
        is_long = end - start > RECORD_LIMIT
        if not is_long:
            return cells, "", end
    return [], _problem(data[start:line_end], grammar, is_long=is_long), line_end


def _problem(line: bytes, grammar: Grammar, *, is_long: bool) -> str:
    """Return the problem of a record by its first line alone: it may open a quote that a later line closes."""
    if len(line) > RECORD_LIMIT:
        return TOO_LONG
    try:
        cut_record(line, 0, grammar)
    except OpenQuoteError:
        return f"{OPEN}, or {TOO_LONG}" if is_long else OPEN
    except GrammarError as error:
        return str(error)
    return TOO_LONG
