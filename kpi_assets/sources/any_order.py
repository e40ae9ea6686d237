"""Bytes that can be read in any order, and their view as a file for libraries that ask for one.

Not here: where the bytes are (object_bytes.py, local_copy.py), and what they mean (compression.py, formats/).
"""

import io
from typing import Any, Protocol


class AnyOrder(Protocol):
    """Bytes that can be read in any order."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def head(self, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes from `start` on."""


class AsFile(io.RawIOBase):
    """The bytes as a file with a position; they are fetched when they are read."""

    def __init__(self, content: AnyOrder) -> None:
        self._content, self._position = content, 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it has a position."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position; never to one before the beginning."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read from the position on."""
        wanted = min(len(buffer), max(self._content.size - self._position, 0))
        found = self._content.head(wanted, self._position) if wanted else b""
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)
