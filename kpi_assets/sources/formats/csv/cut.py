"""Finds places to cut a CSV between two records with different keys, so that several COPYs load it at once.

Only a few of the object's bytes are read. That no quoted field has a line end, and that the keys are in ascending
order, is proven later, when every byte is loaded.
"""

import re
from collections.abc import Callable
from itertools import pairwise

from kpi_assets.sources.formats.base import Cut
from kpi_assets.sources.formats.csv.grammar import USUAL, Grammar

PROBE = 64 << 10  # bytes read for each cut; the records of one key must be shorter
_INTEGER = re.compile(rb"-?\d{1,18}")
Head = Callable[[int, int], bytes]  # (size, start) -> at most so many bytes from there on


def find_cuts(head: Head, size: int, column: int, count: int, grammar: Grammar = USUAL) -> list[Cut] | None:
    """Return the `count - 1` cuts of an object of this size, in order, or None if they are not found.

    `column` is the number of the key's field, from 0.
    """
    found = [_cut_after(head, column, size * number // count, grammar) for number in range(1, count)]
    cuts = [cut for cut in found if cut]
    rising = all(one < other for (_, one), (_, other) in pairwise(cuts))
    return cuts if cuts and len(cuts) == len(found) and rising else None


def _cut_after(head: Head, column: int, place: int, grammar: Grammar) -> Cut | None:
    """Return the first record after `place` with a greater key than the record before, or None if there is none."""
    lines = head(PROBE, place).split(b"\n")
    offset, before = place + len(lines[0]) + 1, None
    for line in lines[1:-1]:
        fields = line.split(grammar.delimiter)
        has_quote = grammar.quote and grammar.quote in line
        if has_quote or len(fields) <= column or not _INTEGER.fullmatch(fields[column].strip(b"\r")):
            return None
        key = int(fields[column])
        if before is not None and key != before:
            return (offset, key) if key > before else None
        offset, before = offset + len(line) + 1, key
    return None
