"""How many examples a test makes, or cases of one kind: a fifth of what it names, and all of them in `make nightly`."""

import os

ALL = os.environ.get("KPI_TEST_EXAMPLES") == "all"  # as `make nightly` sets it


def examples(most: int) -> int:
    """Of `most` examples those that this session makes."""
    return most if ALL else max(10, most // 5)
