"""The records of a CSV, one by one, each with its fields or with what is wrong with it.

Belongs here: RFC 4180, strictly: a quote stands at the beginning and the end of a value, and doubled inside it.
Not here: what the values mean (model/written.py), and the same rules proven at COPY's speed (proof.py).
"""

from collections.abc import Iterable, Iterator, Sequence

from kpi_assets.model import excerpt
from kpi_assets.model.records import Record

RECORD_LIMIT = 16 << 20  # bytes; a longer record is not read, so that none can take the memory
HEADER_AGAIN = "it is the header again: remove it where files were joined"
TOO_LONG = f"it is longer than {RECORD_LIMIT >> 20} MiB"
STRAY = "a quote stands inside a value or is followed by more of it: quote the whole value, and double the quotes in it"
OPEN = "a quote is not closed"
CARRIAGE_RETURN = "a carriage return stands outside quotes"


class GrammarError(Exception):
    """A record breaks the rules of CSV."""


class OpenQuoteError(GrammarError):
    """A quote is not closed: in the bytes that are there, at least."""


def cut_record(data: bytes, start: int = 0) -> tuple[list[bytes | None], int]:
    """The fields of the record that begins at `start`, and where it ends: behind its line end, or with the data.

    A field is None where nothing stands, b"" where `""` stands. Raises GrammarError, and OpenQuoteError where more data
    might close a quote.
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
    """Where the quote stands that closes the field whose text begins at `start`."""
    end = data.find(b'"', start)
    while end >= 0 and data.startswith(b'"', end + 1):
        end = data.find(b'"', end + 2)
    if end < 0:
        raise OpenQuoteError(OPEN)
    return end


def read_records(blocks: Iterable[bytes], columns: Sequence[str]) -> Iterator[Record]:
    """Cut a CSV into its records, without the header, and each into the fields of its `columns`.

    A record that cannot be read comes with its problem, as one line; reading goes on with the next line. What is held
    in memory is bounded by RECORD_LIMIT and the size of a block, whatever the records are.
    """
    cut, header = _cut(_bounded(blocks)), list(columns)
    next(cut, None)
    for line, data, fields, broken in cut:
        values, problem = _values(data, fields, header) if not broken else ([], broken)
        yield Record(line, _shown(data), None if problem else values, problem or None)


def _values(data: bytes, fields: Sequence[bytes | None], header: Sequence[str]) -> tuple[list[str | None], str]:
    """The values of a record, and why it is none of a file with that header, if it is not."""
    try:
        values = [None if field is None else field.decode() for field in fields]
    except UnicodeDecodeError:
        return [], _not_utf8(data)
    if b"\x00" in data:
        return [], "it holds a NUL byte"
    if len(values) != len(header):
        return [], f"it has {len(values)} fields, not {len(header)}"
    is_header = [(values[0] or "").removeprefix("\ufeff"), *values[1:]] == header
    return values, HEADER_AGAIN if is_header else ""


def _not_utf8(data: bytes) -> str:
    """Where it is not, counted from the begin of the record."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    raise AssertionError("a field of it is not")


def _shown(data: bytes) -> str:
    """What is kept of a record, as a text that Postgres stores."""
    # A character has 4 bytes at most: what is left out here is cut below in any case, and says so.
    text = data[: 4 * excerpt.RECORD + 4].decode(errors="backslashreplace")
    return excerpt.cut(text.replace("\x00", "\\x00"), excerpt.RECORD)


def _bounded(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the blocks on, without what goes beyond RECORD_LIMIT in a line."""
    length = 0  # of the line that goes on
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
    """(number of its first line, bytes without the line end, fields, problem or "") of each record, the header too."""
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
    """(fields, problem or "", end) of the record at `start`; None where the data goes on and is needed to tell.

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
    """What is wrong with a record, told by its first line: where that opens a quote, whatever stands behind it."""
    if len(line) > RECORD_LIMIT:
        return TOO_LONG
    try:
        cut_record(line)
    except OpenQuoteError:
        return f"{OPEN}, or {TOO_LONG}" if is_long else OPEN
    except GrammarError as error:
        return str(error)
    return TOO_LONG
