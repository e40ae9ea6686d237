"""Writes a CSV file from blocks of finished records, some of which are edited on the way.

Belongs here: what any generator of CSV files needs. Not here: columns and their formats, and which records are edited.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Edit = Callable[[bytes], list[bytes]]  # a record without its line feed -> the records that replace it


def write_csv(path: Path, header: bytes, blocks: Iterable[bytes], edits: Mapping[int, Edit]) -> int:
    """Write the header and blocks of whole records, no record with a line feed inside; return the records written.

    `edits` are applied to single records, numbered from 0 as they come.
    """
    seen = written = 0
    with path.open("wb") as file:
        file.write(header)
        for block in blocks:
            count = block.count(b"\n")
            here = {number - seen: edit for number, edit in edits.items() if seen <= number < seen + count}
            edited = edit_records(block, here) if here else block
            file.write(edited)
            seen += count
            written += edited.count(b"\n")
    return written


def edit_records(block: bytes, edits: Mapping[int, Edit]) -> bytes:
    """Return a block in which the records of these numbers are replaced."""
    lines: list[bytes] = []
    for number, line in enumerate(block.split(b"\n")[:-1]):
        lines += edits[number](line) if number in edits else [line]
    return b"".join(line + b"\n" for line in lines)
