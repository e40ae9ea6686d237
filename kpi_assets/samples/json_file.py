"""Writes a JSON file whose records are the elements of one array, a record a line, some of which are edited on the way.

Belongs here: what any generator of JSON files needs. Not here: fields and their formats, and which records are edited.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from kpi_assets.samples.csv_file import Edit, edit_records


def write_array(
    path: Path, blocks: Iterable[bytes], edits: Mapping[int, Edit], *, head: bytes = b"[\n", tail: bytes = b"\n]\n"
) -> int:
    """Write blocks of whole records, each ended by a line feed, as elements of an array; return the records written.

    `edits` are applied to single records, numbered from 0 as they come. `head` and `tail` are what stands around them.
    """
    seen = written = 0
    with path.open("wb") as file:
        file.write(head)
        for block in blocks:
            count = block.count(b"\n")
            here = {number - seen: edit for number, edit in edits.items() if seen <= number < seen + count}
            edited = edit_records(block, here) if here else block
            if edited:
                file.write((b",\n" if written else b"") + edited[:-1].replace(b"\n", b",\n"))
            seen += count
            written += edited.count(b"\n")
        file.write(tail)
    return written


def cut_off(path: Path) -> None:
    """Cut a file off in the middle of its last record, as an upload that breaks down does."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        start = max(0, size - 4096)
        file.seek(start)
        last = file.read().rfind(b"{")
        file.truncate(start + last + (size - start - last) // 2)
