"""An object that may be packed: what all formats of text have in common.

Not here: unpacking (sources/compression.py), and the unpacked bytes (sources/unpacked.py).
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator

from kpi_assets.model.table import Table
from kpi_assets.sources import compression
from kpi_assets.sources.formats.base import NOTHING, Instead, OpenObject
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.unpacked import Unpacked


class PackableObject(OpenObject):
    """An object that is unpacked into a temporary file before its records are read, if it is packed."""

    def __init__(self, content: ObjectBytes, table: Table) -> None:
        super().__init__(content)
        self._dialect = table.dialect
        self._unpacked: Unpacked | None = None

    def _start(self, size: int) -> bytes:
        """Return at most `size` of the first bytes, unpacked. Raises UnreadableError."""
        kind = self._dialect.compression
        return compression.start_of(self.bytes, kind, size) if kind else self.bytes.head(size)

    @property
    def _content(self) -> ObjectBytes | Unpacked:
        """The bytes, unpacked."""
        if not self._dialect.compression:
            return self.bytes
        assert self._unpacked is not None, "prepare() is called first"
        return self._unpacked

    @property
    def size(self) -> int:
        """The number of bytes, unpacked."""
        return self._content.size

    @property
    def text_size(self) -> int:
        """The number of bytes, unpacked."""
        return self.size

    def prepare(self, on_bytes: Callable[[int], None]) -> None:
        """Unpack the object."""
        if self._dialect.compression:
            self._unpacked = Unpacked(compression.unpack(self.bytes, self._dialect.compression, on_bytes))

    def without(self, gone: Collection[int], instead: Instead = NOTHING) -> Iterator[bytes]:
        """Pack what remains as the object was packed."""
        kind, remains = self._dialect.compression, self._without(gone, instead)
        return compression.pack(remains, kind, self.bytes) if kind else remains

    @abstractmethod
    def _without(self, gone: Collection[int], instead: Instead) -> Iterator[bytes]:
        """Do the same with the unpacked bytes."""

    def close(self) -> None:
        """Remove the unpacked bytes."""
        super().close()
        if self._unpacked is not None:
            self._unpacked.close()
