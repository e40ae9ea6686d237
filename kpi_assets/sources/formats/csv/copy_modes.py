"""The copy modes of CSV: as text, a third faster, if it has no quote and no backslash; else as CSV.

Belongs here: the options of both modes, and the independent count of records. Not here: the proof that the bytes follow
the rules (proof.py).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kpi_assets.sources.formats.base import CopyMode, ModeMismatchError, Types
from kpi_assets.sources.formats.csv.proof import Proof

_SPLIT = 128 << 10  # bytes split at quotes at once; each part takes 90 bytes of memory more


@dataclass(frozen=True)
class CsvCopy(CopyMode):
    """One of the modes: the options of COPY, and a function that prepares the blocks or refuses them."""

    format_options: str
    prepare: Callable[[Iterable[bytes]], Iterable[bytes]]

    def options(self, *, at_start: bool) -> str:
        """Return the options; only the part at the object's start has a header line."""
        return f"{self.format_options}, header match" if at_start else self.format_options

    def stream(self, blocks: Iterable[bytes], types: Types, *, at_start: bool) -> "CsvStream":
        """Return the bytes as they are in the object."""
        return CsvStream(self.prepare(blocks), types, at_start=at_start)


class CsvStream:
    """The bytes of a CSV for COPY; their records are counted and proven on the way."""

    def __init__(self, blocks: Iterable[bytes], types: Types, *, at_start: bool) -> None:
        self._counter = RecordCounter(header=at_start)
        self._proven = Proof(types, header=at_start).watch(self._counter.watch(blocks))

    def __iter__(self) -> Iterator[bytes]:
        return self._proven

    @property
    def records(self) -> int:
        """Records so far."""
        return self._counter.records


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


PLAIN = CsvCopy("format text, delimiter ',', null ''", plain)
QUOTED = CsvCopy("format csv", iter)
