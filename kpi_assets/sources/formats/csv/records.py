"""Reads the records of a CSV one by one, each with its fields or with its problem.

Belongs here: RFC 4180, strictly: quotes enclose a whole value, and quotes within it are doubled.
Not here: the forms of values (model/written.py), and the proof of the same rules at COPY's speed (proof.py).
"""

from collections.abc import Iterable, Iterator, Sequence

from kpi_assets.model import excerpt
from kpi_assets.model.records import Record

RECORD_LIMIT = 16 << 20  # bytes; a longer record is not read, to bound the memory
HEADER_AGAIN = "it is the header again: remove it where files were joined"
TOO_LONG = f"it is longer than {RECORD_LIMIT >> 20} MiB"
STRAY = "a quote is inside a value or is followed by more of it: quote the whole value, and double the quotes in it"
OPEN = "a quote is not closed"
CARRIAGE_RETURN = "a carriage return is outside quotes"


class GrammarError(Exception):
    """A record breaks the rules of CSV."""


class OpenQuoteError(GrammarError):
    """A quote is not closed within the bytes given."""


def cut_record(data: bytes, start: int = 0) -> tuple[list[bytes | None], int]:
    """Return the fields of the record that begins at `start`, and its end: after its line end, or the end of the data.

    A field is None if it is empty, and b"" for `""`. Raises GrammarError, or OpenQuoteError if more data might close a
    quote.
    """
    fields: list[bytes | None] = []
    while True:
        end = data.find(b"\n", start) + 1 or len(data)
        quote = data.find(b'"', start, end)
        bare = data[start:quote] if quote >= 0 else data[start:end].removesuffix(b"\n").removesuffix(b"\r")
        if b"\r" in bare:
            raise GrammarError(CARRIAGE_RETURN)
        found = [field or None for field in bare.split(b",")]
        if quote < 0:
            return fields + found, end
        if found.pop() is not None:
            raise GrammarError(STRAY)
        close = _closing_quote(data, quote + 1)
        fields += found
        fields.append(data[quote + 1 : close].replace(b'""', b'"'))
        start = close + 1
        if data.startswith((b"\n", b"\r\n"), start):
            return fields, data.index(b"\n", start) + 1
        if start >= len(data) - data.endswith(b"\r"):
            return fields, len(data)
        if not data.startswith(b",", start):
            raise GrammarError(CARRIAGE_RETURN if data.startswith(b"\r", start) else STRAY)
        start += 1


def _closing_quote(data: bytes, start: int) -> int:
    """Return the place of the quote that closes the field whose text begins at `start`."""
    end = data.find(b'"', start)
    while end >= 0 and data.startswith(b'"', end + 1):
        end = data.find(b'"', end + 2)
    if end < 0:
        raise OpenQuoteError(OPEN)
    return end


def read_records(blocks: Iterable[bytes], columns: Sequence[str]) -> Iterator[Record]:
    """Cut a CSV into its records, without the header, and each into the fields of its `columns`.

    A record that cannot be read is yielded with its problem, as one line; reading continues with the next line.
    RECORD_LIMIT and the size of a block bound the memory.
    """
    cut, header = _cut(_bounded(blocks)), list(columns)
    next(cut, None)
    for line, data, fields, broken in cut:
        values, problem = _values(data, fields, header) if not broken else ([], broken)
        yield Record(line, _shown(data), None if problem else values, problem or None)


def _values(data: bytes, fields: Sequence[bytes | None], header: Sequence[str]) -> tuple[list[str | None], str]:
    """Return the values of a record, and its problem in a file with that header; empty if there is none."""
    try:
        values = [None if field is None else field.decode() for field in fields]
    except UnicodeDecodeError:
        return [], _not_utf8(data)
    if b"\x00" in data:
        return [], "it contains a NUL byte"
    if len(values) != len(header):
        return [], f"it has {len(values)} fields, not {len(header)}"
    is_header = [(values[0] or "").removeprefix("\ufeff"), *values[1:]] == header
    return values, HEADER_AGAIN if is_header else ""


def _not_utf8(data: bytes) -> str:
    """Return which byte is not UTF-8, counted from the beginning of the record."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    raise AssertionError("a field of the record is not UTF-8")


def _shown(data: bytes) -> str:
    """Return the excerpt of a record that is kept, as text that Postgres can store."""
    # A character has at most 4 bytes: whatever is left out here would be cut below anyway.
    text = data[: 4 * excerpt.RECORD + 4].decode(errors="backslashreplace")
    return excerpt.cut(text.replace("\x00", "\\x00"), excerpt.RECORD)


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


_Cut = tuple[int, bytes, list[bytes | None], str]


def _cut(blocks: Iterator[bytes]) -> Iterator[_Cut]:
    """Yield (first line, bytes without the line end, fields, problem or "") for each record, including the header."""
    data, start, line, more = b"", 0, 1, True
    while more or start < len(data):
        found = _next(data, start, is_all=not more)
        if found is None:
            block = next(blocks, None)
            more = block is not None
            data, start = data[start:] + (block or b""), 0
            continue
        fields, problem, end = found
        record = data[start:end]
        yield line, record.removesuffix(b"\n").removesuffix(b"\r"), fields, problem
        line += record.count(b"\n")
        start = end


def _next(data: bytes, start: int, *, is_all: bool) -> tuple[list[bytes | None], str, int] | None:
    """Return (fields, problem or "", end) of the record at `start`, or None if more data is needed.

    A record that breaks the rules ends with its first line.
    """
    line_end = data.find(b"\n", start) + 1 or len(data)
    if not is_all and not data.endswith(b"\n", start, line_end):
        return None
    try:
        fields, end = cut_record(data, start)
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
            return fields, "", end
    return [], _problem(data[start:line_end], is_long=is_long), line_end


def _problem(line: bytes, *, is_long: bool) -> str:
    """Return the problem of a record by its first line alone: it may open a quote that a later line closes."""
    if len(line) > RECORD_LIMIT:
        return TOO_LONG
    try:
        cut_record(line)
    except OpenQuoteError:
        return f"{OPEN}, or {TOO_LONG}" if is_long else OPEN
    except GrammarError as error:
        return str(error)
    return TOO_LONG
