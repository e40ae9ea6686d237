"""A copy of bytes in a temporary file: for formats that read an object in any order, or unpack it before they read it.

The file has no name, so that nothing is left of it whatever becomes of the process. Several threads read it at once.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator

from kpi_assets.sources.refusals import LakeError

BLOCK = 1 << 20  # bytes of one read
KEPT_FREE = 1 << 30  # bytes of the disk that no copy takes
_LOOK_EVERY = 64 << 20  # bytes between two looks at the free space


class LocalCopy:
    """The bytes of a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="kpi-")  # noqa: SIM115  closed by close()
        self.size = 0

    @classmethod
    def of(cls, blocks: Iterable[bytes], name: str, on_bytes: Callable[[int], None]) -> "LocalCopy":
        """Copy all blocks. `on_bytes` is called with the bytes so far. Raises LakeError if the disk is almost full."""
        copy = cls()
        try:
            for block in blocks:
                copy._append(block, name)
                on_bytes(copy.size)
        except BaseException:
            copy.close()
            raise
        return copy

    def _append(self, block: bytes, name: str) -> None:
        before, self.size = self.size, self.size + len(block)
        try:
            if before // _LOOK_EVERY != self.size // _LOOK_EVERY:
                self._check_space()
            self._file.write(block)
            self._file.flush()
        except OSError as error:
            raise LakeError(
                f"{name} cannot be copied to {tempfile.gettempdir()} to be read ({error.strerror} after {before:,} "
                "bytes): make space there, or name another folder with TMPDIR."
            ) from None

    def _check_space(self) -> None:
        if shutil.disk_usage(tempfile.gettempdir()).free < KEPT_FREE:
            raise OSError(0, f"less than {KEPT_FREE >> 30} GiB are free")

    def head(self, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes from `start` on."""
        pieces = []
        while size > 0 and (piece := os.pread(self._file.fileno(), size, start)):
            pieces.append(piece)
            start, size = start + len(piece), size - len(piece)
        return b"".join(pieces)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `end`."""
        while start < end:
            block = self.head(min(BLOCK, end - start), start)
            assert block, "nobody else writes into the file"
            yield block
            start += len(block)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
