"""The copy modes of CSV: as text, a third faster, if it has no quote and no backslash; else as CSV.

Belongs here: the options of both modes, and the independent count of records. Not here: the proof that the bytes follow
the rules (proof.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from kpi_assets.sources.formats.base import NO_SETTINGS, CopyMode, ModeMismatchError
from kpi_assets.sources.formats.csv.proof import Proof
from kpi_assets.sources.object_bytes import ByteRead, ObjectBytes

Types = Mapping[str, str]  # the columns of a table in order: name -> type

AS_TEXT = "format text, delimiter ',', null ''"
AS_CSV = "format csv"
_SPLIT = 128 << 10  # bytes split at quotes at once; each part takes 90 bytes of memory more


class CsvCopy(CopyMode):
    """One of the modes: the options of COPY, and a function that prepares the blocks or refuses them."""

    def __init__(
        self, content: ObjectBytes, types: Types, options: str, prepare: Callable[[Iterable[bytes]], Iterable[bytes]]
    ) -> None:
        self._content, self._types, self._options, self._prepare = content, types, options, prepare

    def stream(self, start: int, end: int) -> "CsvStream":
        """Return the bytes as they are in the object; only the part at its start has a header line."""
        options = self._options if start else f"{self._options}, header match"
        return CsvStream(self._content.read(start, end), self._prepare, self._types, options, at_start=not start)


class CsvStream:
    """The bytes of a CSV for COPY; their records are counted and proven on the way."""

    settings = NO_SETTINGS

    def __init__(
        self,
        read: ByteRead,
        prepare: Callable[[Iterable[bytes]], Iterable[bytes]],
        types: Types,
        options: str,
        *,
        at_start: bool,
    ) -> None:
        self._read, self.options, self.columns = read, options, list(types)
        self._counter = RecordCounter(header=at_start)
        self._proven = Proof(types, header=at_start).watch(self._counter.watch(prepare(read)))

    def __iter__(self) -> Iterator[bytes]:
        return self._proven

    @property
    def records(self) -> int:
        """Records so far."""
        return self._counter.records

    @property
    def done(self) -> int:
        """Bytes of the object so far."""
        return self._read.done

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""
        return self._read.waited


def plain(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks unchanged. Raises ModeMismatchError at the first block with a quote or a backslash.

    With quotes, a line may not be a record; a backslash has another meaning in COPY's text format.
    """
    for block in blocks:
        if b'"' in block or b"\\" in block:
            raise ModeMismatchError
        yield block


class RecordCounter:
    """Counts the records of a CSV block by block: line ends outside quotes, and a last line without line end.

    The header line is not counted.
    """

    def __init__(self, *, header: bool = True) -> None:
        self._header = header
        self._ends = 0
        self._quoted = False
        self._open = False  # whether bytes follow the last line end

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged, and count their records."""
        for block in blocks:
            if b'"' in block:
                for start in range(0, len(block), _SPLIT):
                    parts = block[start : start + _SPLIT].split(b'"')  # alternately outside and inside quotes
                    self._ends += b"".join(parts[self._quoted :: 2]).count(b"\n")
                    self._quoted ^= len(parts) % 2 == 0
            elif not self._quoted:
                self._ends += block.count(b"\n")
            if block:
                self._open = not block.endswith(b"\n") or self._quoted
            yield block

    @property
    def records(self) -> int:
        """Records so far."""
        return max(self._ends + self._open - self._header, 0)


def modes(content: ObjectBytes, types: Types) -> tuple[CsvCopy, CsvCopy]:
    """Return the modes for an object of a table with these columns, the fastest first."""
    return (CsvCopy(content, types, AS_TEXT, plain), CsvCopy(content, types, AS_CSV, iter))
