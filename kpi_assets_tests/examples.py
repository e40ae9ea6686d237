"""How many examples, or cases of one kind, a test makes: a part of them, and all of them in `make nightly`."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

ALL = os.environ.get("KPI_TEST_EXAMPLES") == "all"  # `make nightly` sets it
_OF_ONE = type(pytest.param())


def examples(most: int) -> int:
    """Return how many of at most `most` examples this session makes: a fifth, or all."""
    return most if ALL else max(10, most // 5)


def few(count: int, cases: Iterable[Any]) -> list[Any]:
    """Return cases that take the same way through the code, for `parametrize`.

    The tests of `count` of them, spread over all, stay as they are; the others are `nightly`.
    """
    known = [case if isinstance(case, _OF_ONE) else pytest.param(*_values(case)) for case in cases]
    kept = {number * len(known) // count for number in range(count)}
    return [
        case if number in kept else pytest.param(*case.values, id=case.id, marks=(*case.marks, pytest.mark.nightly))
        for number, case in enumerate(known)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
