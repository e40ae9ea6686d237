"""Text in any encoding as UTF-8, block by block.

A byte that is not of the encoding becomes a lone surrogate, which is not UTF-8 either: so the record that holds it is
refused by Postgres and by the reader of records, and its neighbors are not.
Belongs here: encodings. Not here: encodings that are recognized without being declared (sources/signatures.py).
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from functools import cache

UTF8 = "utf-8"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8
_MARKED, _UNMARKED = "kpi_assets.marked", "kpi_assets.unmarked"
_MARKS = re.compile("[\ud800-\udfff]")


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


def _unmark(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    marks = [ord(each) - 0xDC00 for each in error.object[error.start : error.end]]
    if not all(0 <= byte <= 0xFF for byte in marks):
        raise error
    return bytes(marks), error.end


codecs.register_error(_MARKED, _mark)
codecs.register_error(_UNMARKED, _unmark)


@cache
def is_bytewise(encoding: str) -> bool:
    """Return whether each byte is a character of its own, and those of ASCII are the same: then parts can be read."""
    ascii_bytes = bytes(range(128))
    try:
        if ascii_bytes.decode(encoding) != ascii_bytes.decode("ascii"):
            return False
    except UnicodeError:
        return False
    pairs = (bytes([first, second]) for first in range(128, 256) for second in (0x41, 0xA1, 0xFE))
    return all(len(pair.decode(encoding, "replace")) == 2 for pair in pairs)


def to_utf8(blocks: Iterable[bytes], encoding: str) -> Iterable[bytes]:
    """Return the blocks as UTF-8."""
    if encoding == UTF8:
        return blocks
    return _bytewise(blocks, encoding) if is_bytewise(encoding) else _incrementally(blocks, encoding)


def to_bytes(text: bytes, encoding: str) -> bytes:
    """Return text of `to_utf8` in its own encoding. Raises UnicodeError."""
    return text.decode("utf-8", "surrogatepass").encode(encoding, _UNMARKED)


def _bytewise(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    for block in blocks:
        yield block if block.isascii() else _encoded(block.decode(encoding, _MARKED))


def _incrementally(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(_MARKED)
    for block in blocks:
        yield _encoded(decoder.decode(block))
    yield _encoded(decoder.decode(b"", final=True))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def line_ends(encoding: str) -> tuple[bytes, ...]:
    """Return the bytes that a line may end with."""
    if encoding in ("utf-16", "utf-32"):
        return ("\n".encode(f"{encoding}-le"), "\n".encode(f"{encoding}-be"))
    return ("\n".encode(encoding),)


def misfit(data: bytes, encoding: str) -> str:
    """Return which byte of a record is not of its encoding, counted from the beginning of the record; empty if none."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if encoding == UTF8:
            return f"byte {error.start} is not UTF-8"
    else:
        return ""
    found = _MARKS.search(data.decode("utf-8", "surrogatepass"))
    assert found, "what is not UTF-8 is marked"
    byte = ord(found[0]) - 0xDC00
    what = f"byte 0x{byte:02x} at" if 0 <= byte <= 0xFF else "half of a pair of surrogates is"
    return f"{what} character {found.start()}: it is not {encoding}"


def shown(data: bytes, encoding: str) -> str:
    """Return a text for people, with the bytes that are not of its encoding as \\xNN."""
    if encoding == UTF8:
        return data.decode(errors="backslashreplace")
    text = data.decode("utf-8", "surrogatepass") if not _is_cut(data) else data.decode(errors="backslashreplace")
    return _MARKS.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00 & 0xFF:02x}", text)


def _is_cut(data: bytes) -> bool:
    """Return whether the last character is not whole."""
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return True
    return False
