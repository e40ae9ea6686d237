"""Faults as a person names them for a sample: `null-user`, or with the number of its records `null-user=30`.

Not here: the faults of each sample.
"""

import re
from collections.abc import Callable, Collection, Sequence

from kpi_assets.errors import UsageError


def counted(
    shop: str, names: Sequence[str], known: Collection[str], may_be_counted: Callable[[str], bool]
) -> dict[str, int]:
    """Return the number of records of each named fault, 1 without a number.

    Raises UsageError for one that is unknown, and for a number of one that has none.
    """
    counts: dict[str, int] = {}
    for each in names:
        name, equals, number = each.partition("=")
        if name not in known:
            raise UsageError(f"{shop} has no fault {name!r}: choose from {', '.join(known)}.")
        if equals and (not may_be_counted(name) or not re.fullmatch("[1-9][0-9]{0,6}", number)):
            raise UsageError(
                f"The fault {each!r} cannot be planted: give a whole number from 1 behind the name of a fault of "
                "records, such as negative-price=30."
            )
        counts[name] = int(number or 1)
    return counts
