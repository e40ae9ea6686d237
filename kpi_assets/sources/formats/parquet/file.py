"""The bytes of an object as a file that the library reads, and its errors as sentences."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from kpi_assets.sources.formats.base import UnreadableError

BUFFER = 256 << 10  # bytes of a column that are read at once


class _AnyOrder(Protocol):
    """Bytes that can be read in any order."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def head(self, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes from `start` on."""


class _File(RawIOBase):
    """Bytes as a file with a position, which the library asks for."""

    def __init__(self, content: _AnyOrder) -> None:
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

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the position."""
        self._position = offset + (0, self._position, self._content.size)[whence]
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read from the position on."""
        wanted = self._content.size if size is None or size < 0 else size
        found = self._content.head(wanted, self._position)
        self._position += len(found)
        return found


@contextmanager
def opened(content: _AnyOrder) -> Iterator[pq.ParquetFile]:
    """Open the bytes of an object. Raises UnreadableError."""
    with _explained("its footer"), pq.ParquetFile(pa.PythonFile(_File(content), "r"), buffer_size=BUFFER) as file:
        file.schema_arrow.names  # noqa: B018  raises UnicodeDecodeError if a name is not UTF-8
        yield file


def read_batches(file: pq.ParquetFile, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group, with the columns in this order."""
    found = file.iter_batches(rows, [group], list(columns), use_threads=False)
    batches = iter(found)
    while True:
        with _explained(f"its row group {group}"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.select(list(columns))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(".")
        raise UnreadableError(f"{what} cannot be read ({reason}): land it again from its source") from None
