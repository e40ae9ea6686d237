"""The answers of an API, one page after another: in memory, or in a temporary file once they are large.

Not here: what an answer holds (page.py).
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from kpi_assets.sources.api.problems import ApiError
from kpi_assets.sources.local_copy import BLOCK, KEPT_FREE

IN_MEMORY = 64 << 20  # bytes
MOST_BYTES = 1 << 30  # of one answer
_LOOK_EVERY = 64 << 20  # bytes between two looks at the free space


class Spool:
    """The bytes of all pages so far; the last page may be written anew."""

    def __init__(self, name: str) -> None:
        """`name` is that of the API, for errors."""
        self._name = name
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="kpi-"))  # noqa: SIM115
        self._start, self.size = 0, 0  # where the last page begins, and ends
        self.forget_page()

    @property
    def file(self) -> BinaryIO:
        """The bytes, from the first one on."""
        self._file.seek(0)
        return self._file

    @property
    def page_size(self) -> int:
        """The bytes of the last page."""
        return self.size - self._start

    def clear(self) -> None:
        """Forget all pages."""
        self._start = 0
        self.forget_page()

    def begin_page(self) -> None:
        """Keep the last page, and begin another one."""
        self._start = self.size

    def forget_page(self) -> None:
        """Forget the bytes of the last page."""
        self.size = self._start
        self._file.seek(self.size)
        self._file.truncate()

    def write(self, block: bytes) -> None:
        """Append bytes to the last page. Raises ApiError if there is no room for them."""
        before, self.size = self.size, self.size + len(block)
        if self.page_size > MOST_BYTES:
            raise ApiError(
                f"{self._name}: an answer has more than {MOST_BYTES >> 30} GiB, which is not read: ask for smaller "
                "pages with the word size of pages."
            )
        problem = ""
        try:
            if before // _LOOK_EVERY != self.size // _LOOK_EVERY:
                free = shutil.disk_usage(tempfile.gettempdir()).free
                problem = f"less than {KEPT_FREE >> 30} GiB are free" if free < KEPT_FREE else ""
            self._file.write(block)
        except OSError as error:
            problem = error.strerror or type(error).__name__
        if problem:
            raise ApiError(
                f"{self._name}: its answers cannot be kept in {tempfile.gettempdir()} ({problem} after {before:,} "
                "bytes): make space there, or name another folder with TMPDIR."
            )

    def digest(self, part: range) -> bytes:
        """Return a digest of some bytes of the last page."""
        found, left = hashlib.sha256(), len(part)
        self._file.seek(self._start + part.start)
        while left > 0 and (block := self._file.read(min(BLOCK, left))):
            left -= len(block)
            found.update(block)
        return found.digest()

    def drop_start(self, count: int) -> None:
        """Take the first bytes of the last page away."""
        at = self._start
        self._file.seek(at + count)
        while block := self._file.read(BLOCK):
            self._file.seek(at)
            self._file.write(block)
            at += len(block)
            self._file.seek(at + count)
        self.size = at
        self._file.seek(at)
        self._file.truncate()

    def page(self) -> Iterator[bytes]:
        """Yield the bytes of the last page."""
        self._file.seek(self._start)
        left = self.page_size
        while left > 0 and (block := self._file.read(min(BLOCK, left))):
            left -= len(block)
            yield block

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
