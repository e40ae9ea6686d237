"""Slices: the parts of a large load_date, by ranges of its first grain column, which several writers build at once.

Belongs here: what a slice is. Not here: where an object is cut (sources/formats), and the tables (warehouse/slices.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

KEY_TYPES = ("smallint", "integer", "bigint")  # of the key of slices: its values are written the same in a file


@dataclass(frozen=True)
class Slice:
    """The rows with low <= key < high; the first slice has no lower end, the last no upper one."""

    number: int
    low: int | None
    high: int | None


def slices_at(cuts: Sequence[int]) -> list[Slice]:
    """Return the slices between the given keys, which must be in ascending order."""
    ends = [None, *cuts, None]
    return [Slice(number, ends[number], ends[number + 1]) for number in range(len(cuts) + 1)]
