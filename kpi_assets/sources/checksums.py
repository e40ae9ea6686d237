"""Checksums: compares the checksums that a store has for an object with those of the bytes that were read.

Belongs here: the algorithms, and combining the checksums of parts. Not here: requests to a store (store.py).
"""

import hashlib
import zlib
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HASHES = ("MD5", "SHA1", "SHA256", "SHA512")
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", *HASHES)  # as in x-amz-checksum-crc32; newer ones are ignored
_SIZES = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8}  # bytes


@dataclass(frozen=True)
class Checksum:
    """A checksum that a store has for an object: of its bytes or, if it was uploaded in blocks, of their checksums."""

    algorithm: str
    value: bytes
    block: int | None = None  # bytes; the last block may be shorter
    is_etag: bool = False

    @classmethod
    def parse(cls, algorithm: str, text: str, block: int | None = None) -> "Checksum | None":
        """Read base64, with the suffix `-N` if it is composed of N blocks; None for anything else."""
        try:
            value = b64decode(text.partition("-")[0], validate=True)
        except (NotBase64Error, ValueError):
            return None
        is_one = len(value) == len(_digest(algorithm, b"")) and (("-" in text) == (block is not None))
        return cls(algorithm, value, block) if is_one else None


@dataclass(frozen=True)
class PartSums:
    """The checksums of one part of a pass over an object.

    `pieces` are (bytes, digest): for a CRC, one for the share of each block in this part; for a hash, one for each
    block that ends in this part, wherever it begins.
    """

    sha256: bytes
    pieces: Mapping[Checksum, Sequence[tuple[int, bytes]]]


@dataclass
class Summing:
    """Computes the checksums of the parts of one pass, in order.

    `is_whole` says that the pass covers the object's whole `size`: only then a hash can continue from part to part.
    """

    checksums: Sequence[Checksum]
    size: int
    is_whole: bool
    _hashes: dict[Checksum, Any] = field(default_factory=dict)

    def add(self, start: int, part: bytes) -> PartSums:
        """Return the checksums of the part that begins at `start`."""
        sha256 = hashlib.sha256(part).digest()
        return PartSums(sha256, {each: self._pieces(each, start, part, sha256) for each in self.checksums})

    def _pieces(self, checksum: Checksum, start: int, part: bytes, sha256: bytes) -> list[tuple[int, bytes]]:
        block, found, at = checksum.block or self.size, [], 0
        while at < len(part):
            end = min((start + at) // block * block + block, self.size) - start  # where the block ends
            piece = part if (at, len(part)) == (0, min(end, len(part))) else memoryview(part)[at:end]
            begins, ends = (start + at) % block == 0, end <= len(part)
            if checksum.algorithm not in HASHES:
                found.append((len(piece), _digest(checksum.algorithm, piece)))
            elif checksum.algorithm == "SHA256" and piece is part and begins and ends:
                found.append((len(piece), sha256))
            elif self.is_whole or (begins and ends):
                hashed = hashlib.new(checksum.algorithm, usedforsecurity=False) if begins else self._hashes[checksum]
                hashed.update(piece)
                self._hashes[checksum] = hashed
                if ends:
                    found.append((end + start - (start + end - 1) // block * block, hashed.digest()))
            at = end
        return found


def sum_of(checksum: Checksum, parts: Sequence[PartSums], size: int) -> bytes | None:
    """Combine the parts of an object into the value to compare with the checksum; None if that is impossible.

    It is impossible for a hash of a block that several passes read, because hashes cannot be combined.
    """
    blocks: list[bytes] = []
    filled = given = 0
    for length, digest in (piece for part in parts for piece in part.pieces[checksum]):
        given += length
        if filled:
            blocks[-1] = _combined(checksum.algorithm, blocks[-1], digest, length)
        else:
            blocks.append(digest)
        filled = (filled + length) % (checksum.block or size)
    if given != size or not blocks:
        return None
    return blocks[0] if checksum.block is None else _digest(checksum.algorithm, b"".join(blocks))


def _digest(algorithm: str, data: bytes | memoryview) -> bytes:
    if algorithm in HASHES:
        return hashlib.new(algorithm, data, usedforsecurity=False).digest()
    summed = zlib.crc32(data) if algorithm == "CRC32" else _aws(algorithm.lower())(data)
    return int(summed).to_bytes(_SIZES[algorithm], "big")


def _combined(algorithm: str, first: bytes, second: bytes, length: int) -> bytes:
    """Return the CRC of some bytes followed by `length` more bytes, from the CRCs of both."""
    both = _aws(f"combine_{algorithm.lower()}")(int.from_bytes(first, "big"), int.from_bytes(second, "big"), length)
    return int(both).to_bytes(len(first), "big")


def _aws(name: str) -> Callable[..., int]:
    """Return a checksum function of AWS' runtime, which is fast; imported only if a store needs it."""
    from awscrt import checksums  # noqa: PLC0415

    function: Callable[..., int] = getattr(checksums, name)
    return function
