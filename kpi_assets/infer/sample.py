"""Samples: some megabytes of a local file, unpacked, and what cannot be a sample.

Belongs here: which bytes are read. Not here: their text (encoding.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kpi_assets.errors import UsageError
from kpi_assets.sources.compression import start_of
from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.signatures import identify

START = 2 << 20  # bytes that are read from the beginning of a file, unpacked
BLOCK = 256 << 10  # bytes of each block behind it
BLOCKS = 4  # blocks of a larger file that is not packed
PARQUET = b"PAR1"
_PACKED = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_READABLE = ("a gzip file", "a zip file", "a zstd file", "a Parquet file", "JSON")  # and text in any encoding


@dataclass(frozen=True)
class Sample:
    """Bytes of one file: its start, and blocks from the middle, which begin anywhere in a line."""

    path: Path
    size: int
    compression: str  # a value of the word, or empty
    start: bytes
    is_whole: bool  # whether the start is all of it
    blocks: tuple[bytes, ...] = ()

    @property
    def read(self) -> int:
        """The number of bytes that were read."""
        return len(self.start) + sum(map(len, self.blocks))


def read_sample(path: Path) -> Sample:
    """Read some megabytes of a file. Raises UsageError if it cannot be a sample."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name the files in it, as in {path}/*.csv.")
        size = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(4096)
            _refuse_others(path, magic)
            compression = next((name for sign, name in _PACKED if magic.startswith(sign)), "")
            start = _start(path, file, size, compression)
            is_whole = len(start) <= START
            blocks = () if is_whole or compression else tuple(_blocks(file, size))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name another file.") from None
    if not start.strip():
        raise UsageError(f"{path} is empty: name a file that has records.")
    if compression:
        _refuse_others(path, start[:4096])
    return Sample(path, size, compression, start[:START], is_whole, blocks)


def _refuse_others(path: Path, magic: bytes) -> None:
    found = identify(magic)
    if found is not None and found[0] not in _READABLE and not found[0].startswith("text in "):
        what, remedy = found
        raise UsageError(f"{path} is {what}, not CSV, JSON or Parquet: {remedy.format(expected='CSV')}.")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield blocks that lie evenly behind the start, at even places, as UTF-16 needs it."""
    step = (size - START) // BLOCKS
    for number in range(1, BLOCKS + 1):
        file.seek(max(START, START + step * number - BLOCK) & ~1)
        yield file.read(BLOCK)


@dataclass(frozen=True)
class _LocalFile:
    """An open file as bytes in any order, as the loader's unpacking reads them."""

    file: BinaryIO
    size: int

    def head(self, size: int, start: int = 0) -> bytes:
        """Return at most `size` bytes from `start` on."""
        self.file.seek(start)
        return self.file.read(size)


def _start(path: Path, file: BinaryIO, size: int, compression: str) -> bytes:
    """Return the start of a file, unpacked, and one byte more if there is more."""
    content = _LocalFile(file, size)
    if not compression:
        return content.head(START + 1)
    try:
        return start_of(content, compression, START + 1)
    except UnreadableError as error:
        raise UsageError(f"{path} cannot be unpacked: {error}.") from None
