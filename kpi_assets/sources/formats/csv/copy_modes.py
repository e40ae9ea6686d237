"""How COPY loads a CSV: as text, a third faster, where no quote and no backslash is in it; else as CSV.

Belongs here: what both modes say to COPY, and the independent count of records. Not here: the proof that what passes is
by the rules (proof.py).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kpi_assets.sources.formats.base import CopyMode, ModeMismatchError, Types
from kpi_assets.sources.formats.csv.proof import Proof

_SPLIT = 128 << 10  # bytes cut at quotes at once: each part takes 90 bytes more


@dataclass(frozen=True)
class CsvCopy(CopyMode):
    """One of the modes: COPY's own name of the format, and what the blocks must be for it."""

    format_options: str
    prepare: Callable[[Iterable[bytes]], Iterable[bytes]]

    def options(self, *, at_start: bool) -> str:
        """The header line lies in the part at the object's start, and in no other."""
        return f"{self.format_options}, header match" if at_start else self.format_options

    def stream(self, blocks: Iterable[bytes], types: Types, *, at_start: bool) -> "CsvStream":
        """The bytes as the object has them."""
        return CsvStream(self.prepare(blocks), types, at_start=at_start)


class CsvStream:
    """The bytes of a CSV, counted and proven while they pass."""

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
    """Give the blocks on. Raises ModeMismatchError at the first one that holds a quote or a backslash.

    With a quote in it, lines may not be records; a backslash means something else in COPY's text format.
    """
    for block in blocks:
        if b'"' in block or b"\\" in block:
            raise ModeMismatchError
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
                for start in range(0, len(block), _SPLIT):
                    parts = block[start : start + _SPLIT].split(b'"')  # by turns outside quotes and inside
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
