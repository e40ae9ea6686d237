"""CSV as bytes: its header, how many records it holds, and its records one by one.

Belongs here: RFC 4180 as Postgres reads it. Not here: what the values mean.
The count is ours and independent of COPY, so that rows which COPY loses in silence are noticed.
"""

from collections.abc import Iterable, Iterator, Sequence

from kpi_assets.model.records import Record

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEADER_LIMIT = 1 << 20  # bytes; a header line longer than that is no header
RECORD_LIMIT = 16 << 20  # bytes; a longer record is an open quote


def header_problem(start: bytes, columns: Sequence[str]) -> str:
    """What is wrong with the first line of a CSV, compared with the contract's columns; empty if nothing is."""
    if start.startswith(BYTE_ORDER_MARK):
        return "it begins with a byte order mark: save it as plain UTF-8"
    line = start.split(b"\n", 1)[0].removesuffix(b"\r")
    if len(line) >= HEADER_LIMIT:
        return "its first line does not end: it is no CSV with a header"
    try:
        found = parse_fields(line.decode())
    except UnicodeDecodeError:
        return "its first line is not UTF-8: save it as UTF-8"
    except ValueError as error:
        return f"its first line cannot be read: {error}"
    if found == list(columns):
        return ""
    names = [name or "" for name in found]
    missing = [name for name in columns if name not in names]
    extra = [name for name in names if name not in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    parts = [
        f"{what} {', '.join(map(repr, which))}"
        for what, which in (("missing", missing), ("unknown", extra), ("twice", twice))
        if which
    ]
    difference = "; ".join(parts) or "the same columns in another order"
    return f"its header is {','.join(names)!r}, not {','.join(columns)!r} ({difference})"


class NotPlainError(Exception):
    """A quote or a backslash: lines may not be records, or COPY's quicker text format would read them otherwise."""


def plain(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the blocks on. Raises NotPlainError at the first one that holds a quote or a backslash."""
    for block in blocks:
        if b'"' in block or b"\\" in block:
            raise NotPlainError
        yield block


class RecordCounter:
    """Counts the records of a CSV while its blocks pass by: line ends outside quotes, and a last line without one.

    A header that comes first is none of them.
    """

    def __init__(self, *, header: bool = True) -> None:
        self._header = header
        self._ends = 0
        self._quoted = False
        self._open = False  # whether bytes follow the last line end

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Give the blocks on, counting."""
        for block in blocks:
            if b'"' in block:
                for number, piece in enumerate(block.split(b'"')):
                    self._quoted ^= number > 0
                    if not self._quoted:
                        self._ends += piece.count(b"\n")
            elif not self._quoted:
                self._ends += block.count(b"\n")
            if block:
                self._open = not block.endswith(b"\n") or self._quoted
            yield block

    @property
    def records(self) -> int:
        """Records so far."""
        return max(self._ends + self._open - self._header, 0)


class UnreadableError(Exception):
    """The file cannot be cut into records beyond a line."""


def read_records(blocks: Iterable[bytes], width: int) -> Iterator[Record]:
    """Cut a CSV into its records, without the header, and each into `width` fields.

    A record that cannot be read comes with its problem. Raises UnreadableError for a quote that is never closed, and
    for a line that never ends.
    """
    for line, data in _split(blocks):
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            yield Record(line, data.decode(errors="backslashreplace"), None, f"byte {error.start} is not UTF-8")
            continue
        if "\x00" in text:
            yield Record(line, text.replace("\x00", "\\x00"), None, "it holds a NUL byte")
            continue
        try:
            fields = parse_fields(text)
        except ValueError as error:
            yield Record(line, text, None, str(error))
            continue
        if len(fields) != width:
            yield Record(line, text, None, f"it has {len(fields)} fields, not {width}")
        else:
            yield Record(line, text, fields)


def _split(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(first line, bytes without the line end) of each record after the header."""
    begin = 1
    pending: list[bytes] = []
    size = quotes = 0
    for line, physical in enumerate(_lines(blocks), 1):
        pending.append(physical)
        size += len(physical)
        quotes += physical.count(b'"')
        if quotes % 2:
            if size > RECORD_LIMIT:
                break
            continue
        if begin > 1:
            yield begin, b"".join(pending).removesuffix(b"\n").removesuffix(b"\r")
        pending, size, quotes, begin = [], 0, 0, line + 1
    if pending:
        raise UnreadableError(f"the record on line {begin} opens a quote that is never closed: the rest is unread")


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Physical lines with their line ends."""
    number, rest = 1, b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
        number += len(lines)
        if len(rest) > RECORD_LIMIT:
            raise UnreadableError(f"line {number} does not end within {RECORD_LIMIT >> 20} MiB: the rest is unread")
    if rest:
        yield rest


def parse_fields(text: str) -> list[str | None]:
    """The fields of one record as COPY reads them: None where nothing stands, '' where `""` stands.

    Raises ValueError for a quote that is not closed and for a bare carriage return.
    """
    if '"' not in text:
        if "\r" in text:
            raise ValueError("a carriage return stands outside quotes")
        return [field or None for field in text.split(",")]
    fields: list[str | None] = []
    value, quoted, saw_quote = "", False, False
    pieces = text.split('"')
    for number, piece in enumerate(pieces):
        if number:
            # Two quotes in a row inside a quoted field are one quote; any other one opens or closes.
            if not quoted and number > 1 and pieces[number - 1] == "":
                value += '"'
            quoted, saw_quote = not quoted, True
        if quoted:
            value += piece
            continue
        if "\r" in piece:
            raise ValueError("a carriage return stands outside quotes")
        first, *more = piece.split(",")
        value += first
        for following in more:
            fields.append(value if value or saw_quote else None)
            value, saw_quote = following, False
    if quoted:
        raise ValueError("a quote is not closed")
    fields.append(value if value or saw_quote else None)
    return fields
