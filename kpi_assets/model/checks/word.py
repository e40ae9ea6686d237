"""A word below `checks`: the type of its value, the columns that it names, and the checks that it asks for.

Belongs here: what a word is. Not here: the words (the families of checks) and the list of them (words.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.field_types import Value
from kpi_assets.model.sentences import Loc
from kpi_assets.model.strict_yaml import Lines


@dataclass(frozen=True)
class TableDeclaration:
    """What a word is told of the table whose header holds it."""

    path: Path
    lines: Lines  # where the header's words stand
    types: Mapping[str, str]  # column -> type
    grain: tuple[str, ...]
    has_lookback: bool = False
    must_have_rows: bool = False  # a raw table or a KPI, which is never empty unless its file says that it may be
    minimum_rows: int | None = None  # this environment's, instead of the header's
    defaults: Mapping[str, Any] = field(default_factory=dict)  # word -> its value in pipeline.yaml


def _names_none(_value: Any) -> Iterable[Any]:
    return ()


@dataclass(frozen=True)
class CheckWord:
    """One word below `checks`.

    `expand` gives what makes each check; each may raise ModelError, and what is wrong with one does not hide the next.
    """

    name: str
    type: Any  # of its value, as pydantic knows it; the parts that are models classify their fields (affects.py)
    description: str  # one sentence
    example: str  # as it stands below `checks:`
    expand: Callable[[Any, TableDeclaration], Iterator[Callable[[], TableCheck]]]
    default: Any = None  # where the header does not hold the word
    # From its value: (place in it, column) of each column that it names, and (place, column, constant) of each constant
    # that a column is compared with.
    columns: Callable[[Any], Iterable[tuple[Loc, str]]] = _names_none
    constants: Callable[[Any], Iterable[tuple[Loc, str, Value]]] = _names_none
