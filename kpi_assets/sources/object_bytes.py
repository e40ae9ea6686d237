"""The bytes of one object, read in parts by one or several readers, and proven to be those of its manifest.

Belongs here: what the formats need of an object's bytes. Not here: requests to S3 (store.py), and the meaning of the
bytes (formats/).
"""

from collections.abc import Iterator

from kpi_assets.model.manifest import Manifest
from kpi_assets.sources.checksums import PartSums
from kpi_assets.sources.store import Store


class ObjectBytes:
    """The bytes of an object as they are on S3."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store, self.manifest = store, manifest
        self._digests: dict[int, PartSums] = {}

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.manifest.size_bytes

    def head(self, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes from `start` on."""
        return self._store.head(self.manifest, size, start)

    def read(self, start: int = 0, end: int | None = None) -> "ByteRead":
        """Return a read of the bytes from `start` to `end`, or to the end of the object."""
        return ByteRead(self._store, self.manifest, start, self.size if end is None else end, self._digests)

    def close(self) -> None:
        """Give back what the object uses: nothing, for bytes on S3."""

    def sha256(self) -> str:
        """Return the sha256 of an object of which every part was read to its end; the last read of a part counts.

        Raises LakeError if a checksum that the store has for the object differs from that of the bytes read.
        """
        return self._store.proven(self.manifest, self._digests)


class ByteRead:
    """One pass over bytes of an object. Raises LakeError as PinnedRead does."""

    def __init__(self, store: Store, manifest: Manifest, start: int, end: int, digests: dict[int, PartSums]) -> None:
        self._read = store.read(manifest, start, end)
        self._digests = digests
        self.done = 0  # bytes so far

    def __iter__(self) -> Iterator[bytes]:
        for block in self._read:
            self.done += len(block)
            yield block
        self._digests.update(self._read.digests)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""
        return self._read.waited
