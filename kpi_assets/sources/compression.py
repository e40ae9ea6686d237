"""Unpacks objects: gzip, zip with one file, and zstd, into a temporary file that is then read in parts.

What takes the place of an object is packed as it was.
Belongs here: the kinds of compression, and sentences for packed objects that cannot be unpacked. Not here: the
temporary file (local_copy.py), and recognizing packed objects that are not declared (signatures.py).
"""

import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from typing import Any, Protocol

from kpi_assets.errors import UserError
from kpi_assets.sources.any_order import AnyOrder, AsFile
from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.local_copy import LocalCopy
from kpi_assets.sources.object_bytes import ObjectBytes

_PIECE = 1 << 20  # bytes unpacked at once, whatever the packed bytes become
_START = 256 << 10  # packed bytes that are read for the start of an object
_MAGIC = {"gzip": b"\x1f\x8b", "zip": b"PK", "zstd": b"\x28\xb5\x2f\xfd"}
_AGAIN = "fetch it from its source again, and land that with --replace"
_CUT_OFF = f"it is cut off: it ends before its {{kind}} does: {_AGAIN}"
_CORRUPT = f"it is damaged: it cannot be unpacked as {{kind}}: {_AGAIN}"
_GARBAGE = f"bytes follow the end of its {{kind}}: {_AGAIN}"


class _Decompressor(Protocol):
    """What the decompressors of gzip and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the packed stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """The bytes behind that end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Unpack some bytes."""


class _Gzip:
    """zlib's decompressor of a gzip member, with the interface of the newer ones: it keeps what it has not used."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def zstd_module() -> Any:
    """Return the module that unpacks zstd: Python's own, since 3.14, or its backport."""
    try:
        zstd = import_module("compression.zstd")
    except ModuleNotFoundError:
        try:
            zstd = import_module("backports.zstd")
        except ModuleNotFoundError:
            raise UserError(
                "An object is packed with zstd, and the package backports.zstd is not installed: install kpi_assets "
                "with its extra, as in pip install 'kpi_assets[zstd]'."
            ) from None
    return zstd


def start_of(content: AnyOrder, kind: str, size: int) -> bytes:
    """Return the first bytes of an object unpacked, at most `size`. Raises UnreadableError and LakeError."""
    problem = wrong_kind(content.head(4), kind)
    if problem:
        raise UnreadableError(problem)
    pieces = _zip_pieces(content) if kind == "zip" else _pieces(_heads(content), kind)
    found, given = [], 0
    for piece in pieces:
        found.append(piece)
        given += len(piece)
        if given >= size:
            break
    return b"".join(found)[:size]


def _heads(content: AnyOrder) -> Iterator[bytes]:
    for start in range(0, content.size, _START):
        yield content.head(_START, start)


def unpack(content: ObjectBytes, kind: str, on_bytes: Callable[[int], None]) -> LocalCopy:
    """Unpack an object into a temporary file; every byte of it is read. Raises UnreadableError and LakeError.

    `on_bytes` is called with the packed bytes that were used so far.
    """
    name = f"s3://{content.manifest.bucket}/{content.manifest.key}"
    read = content.read()
    if kind != "zip":
        return LocalCopy.of(_pieces(read, kind), name, lambda _size: on_bytes(read.done))
    # The directory of a zip file is at its end.
    packed = LocalCopy.of(read, name, lambda _size: on_bytes(read.done))
    try:
        return LocalCopy.of(_zip_pieces(packed), name, lambda _size: on_bytes(read.done))
    finally:
        packed.close()


def pack(pieces: Iterable[bytes], kind: str, original: AnyOrder) -> Iterator[bytes]:
    """Pack bytes as an object is packed that they take the place of. Raises UnreadableError."""
    if kind == "zip":
        return _packed_zip(pieces, original)
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if kind == "gzip" else zstd_module().ZstdCompressor()
    return (each for each in chain(map(packer.compress, pieces), _flushed(packer)) if each)


def _flushed(packer: Any) -> Iterator[bytes]:
    yield packer.flush()


def _packed_zip(pieces: Iterable[bytes], original: AnyOrder) -> Iterator[bytes]:
    """Pack the only file of a zip file, under its name."""
    with zipfile.ZipFile(io.BufferedReader(AsFile(original), _START)) as opened:
        [only] = [each for each in opened.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    with tempfile.TemporaryFile(prefix="kpi-") as file:
        member = zipfile.ZipInfo(only.filename, only.date_time)
        member.compress_type = only.compress_type
        with zipfile.ZipFile(file, "w") as packed, packed.open(member, "w", force_zip64=True) as target:
            for piece in pieces:
                target.write(piece)
        file.seek(0)
        while block := file.read(_PIECE):
            yield block


def _pieces(blocks: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """Yield the unpacked bytes of gzip or zstd."""
    unpacker = _Unpacker(kind)
    for block in blocks:
        yield from unpacker.take(block)
    unpacker.finish()


class _Unpacker:
    """Unpacks gzip or zstd block by block. Several packed streams may follow each other, and zeros may fill the end."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._make: Callable[[], _Decompressor] = _Gzip if kind == "gzip" else zstd_module().ZstdDecompressor
        self._failure: type[Exception] = zlib.error if kind == "gzip" else zstd_module().ZstdError
        self._inner = self._make()

    def take(self, data: bytes) -> Iterator[bytes]:
        """Yield what a block unpacks to, in pieces."""
        while True:
            if self._inner.eof:
                data = data.lstrip(b"\0")
                if not data:
                    return
                if not data.startswith(_MAGIC[self._kind][: len(data)]):
                    raise UnreadableError(_GARBAGE.format(kind=self._kind))
                self._inner = self._make()
            try:
                piece = self._inner.decompress(data, _PIECE)
            except self._failure:
                raise UnreadableError(_CORRUPT.format(kind=self._kind)) from None
            if piece:
                yield piece
            if not self._inner.eof and len(piece) < _PIECE:
                return
            data = self._inner.unused_data if self._inner.eof else b""

    def finish(self) -> None:
        """Check that the last stream has its end."""
        if not self._inner.eof:
            raise UnreadableError(_CUT_OFF.format(kind=self._kind))


def _zip_pieces(content: AnyOrder) -> Iterator[bytes]:
    """Yield the bytes of the only file in a zip file."""
    try:
        with zipfile.ZipFile(io.BufferedReader(AsFile(content), _START)) as opened:
            # macOS adds a folder with what only it understands.
            files = [
                each for each in opened.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")
            ]
            if len(files) != 1:
                raise UnreadableError(f"the zip file has {len(files)} files: land one with one file, or each by itself")
            [only] = files
            if only.flag_bits & 1:
                raise UnreadableError("the zip file has a password: land it without one")
            if only.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UnreadableError("the zip file is packed by a method other than deflate: pack it again")
            with opened.open(only) as member:
                while piece := member.read(_PIECE):
                    yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError):
        raise UnreadableError(f"it is damaged or cut off: it cannot be unpacked as zip: {_AGAIN}") from None


def wrong_kind(start: bytes, kind: str) -> str:
    """Return what is wrong with an object that begins with these bytes and is declared as packed; empty if nothing."""
    if not start or start.startswith(_MAGIC[kind]):
        return ""
    other = next((name for name, magic in _MAGIC.items() if start.startswith(magic)), None)
    if other:
        return f"it is a {other} file: write compression: {other}"
    return f"it is no {kind} file: take compression out, or land it packed"
