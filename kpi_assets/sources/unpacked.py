"""The unpacked bytes of an object, in a temporary file, with the interface of an object's bytes.

Not here: unpacking (compression.py), and the temporary file (local_copy.py).
"""

from collections.abc import Iterator

from kpi_assets.sources.local_copy import LocalCopy


class Unpacked:
    """The unpacked bytes of an object."""

    def __init__(self, copy: LocalCopy) -> None:
        self._copy = copy

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._copy.size

    def head(self, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes from `start` on."""
        return self._copy.head(size, start)

    def read(self, start: int = 0, end: int | None = None) -> "UnpackedRead":
        """Return a read of the bytes from `start` to `end`."""
        return UnpackedRead(self._copy, start, self.size if end is None else end)

    def close(self) -> None:
        """Remove the file."""
        self._copy.close()


class UnpackedRead:
    """One pass over unpacked bytes."""

    waited = 0.0  # seconds spent waiting for S3: none

    def __init__(self, copy: LocalCopy, start: int, end: int) -> None:
        self._blocks = copy.read(start, end)
        self.done = 0  # bytes so far

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.done += len(block)
            yield block
