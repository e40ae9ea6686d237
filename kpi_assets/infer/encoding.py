"""The encoding of a sample, and its text."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kpi_assets.infer.sample import Sample

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_WIDE = ((re.compile(rb"(?:[^\0]\0){4}"), "utf-16-le"), (re.compile(rb"(?:\0[^\0]){4}"), "utf-16-be"))


@dataclass(frozen=True)
class Encoding:
    """An encoding, and whether it is a guess: bytes that are no UTF-8 do not say which other one they are."""

    name: str
    is_guess: bool = False


def find_encoding(samples: Sequence[Sample]) -> Encoding:
    """Find the encoding of files that are written by one program."""
    found = [_encoding_of(sample) for sample in samples]
    return next((each for each in found if each.is_guess or each.name != "utf-8"), found[0])


def _encoding_of(sample: Sample) -> Encoding:
    for mark, name in _MARKS:
        if sample.start.startswith(mark):
            return Encoding(name)
    for pattern, name in _WIDE:
        if pattern.match(sample.start):
            return Encoding(name)
    # A block begins and ends anywhere, but no other character of UTF-8 has the byte of a line end.
    parts = [sample.start, *(block[block.find(b"\n") + 1 : block.rfind(b"\n") + 1] for block in sample.blocks)]
    try:
        for part in parts:
            codecs.getincrementaldecoder("utf-8")("strict").decode(part)
    except UnicodeDecodeError:
        return Encoding("latin-1" if any(map(_NOT_CP1252.search, parts)) else "cp1252", is_guess=True)
    return Encoding("utf-8")


def texts_of(sample: Sample, encoding: Encoding) -> tuple[str, list[str]]:
    """Return the text of the start, up to its last line end, and those of the whole lines of each block."""
    start = _decoded(sample.start, "utf-8-sig" if encoding.name == "utf-8" else encoding.name)
    if not sample.is_whole:
        start = start[: start.rfind("\n") + 1] or start
    # A byte order mark stands at the start only, so a block needs the byte order by its name.
    name = encoding.name
    if name in ("utf-16", "utf-32"):
        name += "-be" if sample.start.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else "-le"
    blocks = [_decoded(block, name) for block in sample.blocks]
    return start, [block[block.find("\n") + 1 : block.rfind("\n") + 1] for block in blocks]


def _decoded(data: bytes, name: str) -> str:
    return codecs.getincrementaldecoder(name)("replace").decode(data)


def example_line(text: str) -> str:
    """Return the first line with a letter that is not ASCII, by which a person sees whether the encoding is right."""
    return next((line for line in text.splitlines() if not line.isascii()), "")
