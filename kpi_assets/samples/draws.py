"""Random numbers that are the same on every run, machine and numpy release.

Belongs here: uniform draws from a seed, and weighted choices by them. numpy promises a stable stream for its bit
generators (`random_raw`) and for SeedSequence, and none for the methods of Generator (NEP 19): only the former are
used, and what follows them is integer arithmetic and correctly rounded floating point. Not here: what is drawn.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

SLOTS = 1 << 16  # of a table of choices: a weight is exact to 1 part in 65,536

T = TypeVar("T", bound=np.generic)


class Draws:
    """One stream of uniform draws, named by non-negative integers; streams of different names are independent."""

    def __init__(self, *name: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(name))

    def uint64(self, count: int) -> npt.NDArray[np.uint64]:
        """`count` integers of 64 random bits."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def uint32(self, count: int) -> npt.NDArray[np.uint32]:
        """`count` integers of 32 random bits."""
        return self.uint64((count + 1) // 2).astype("<u8", copy=False).view("<u4")[:count]

    def uniform(self, count: int) -> npt.NDArray[np.float64]:
        """`count` numbers in (0, 1], multiples of 2**-24."""
        numbers: npt.NDArray[np.float64] = ((self.uint32(count) >> np.uint32(8)) + 1.0) * 2.0**-24
        return numbers

    def choose(self, table: npt.NDArray[T], count: int) -> npt.NDArray[T]:
        """`count` values out of a table of SLOTS values, which `spread` makes."""
        values: npt.NDArray[T] = table[self.uint32(count) >> np.uint32(16)]
        return values

    def permutation(self, count: int) -> npt.NDArray[np.int32]:
        """The integers 0 to count - 1 in random order."""
        return np.argsort(self.uint64(count), kind="stable").astype(np.int32)


def spread(
    values: npt.NDArray[T], weights: Sequence[float] | npt.NDArray[np.float64], slots: int = SLOTS
) -> npt.NDArray[T]:
    """A table of `slots` entries in which each value, in the given sequence, fills its weight's share."""
    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    ends = np.rint(total / total[-1] * slots).astype(np.int64)
    return np.repeat(values, np.diff(ends, prepend=0))
