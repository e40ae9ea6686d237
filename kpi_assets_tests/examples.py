"""How many examples, or cases of one kind, a test makes: a fifth of its number, and all of them in `make nightly`."""

import os

ALL = os.environ.get("KPI_TEST_EXAMPLES") == "all"  # `make nightly` sets it


def examples(most: int) -> int:
    """Return how many of at most `most` examples this session makes."""
    return most if ALL else max(10, most // 5)
