"""A word below `checks`: the type of its value, the columns that it names, and the checks that it declares.

Belongs here: what a word is. Not here: the words (the families of checks), their registry (words.py), and the severity
and the dimension that a header gives them (options.py).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.field_types import Value
from kpi_assets.model.names import Relation
from kpi_assets.model.quality import Dimension
from kpi_assets.model.sentences import Loc
from kpi_assets.model.strict_yaml import Lines


@dataclass(frozen=True)
class TableDeclaration:
    """What a word gets to know about the table whose header contains it."""

    path: Path
    lines: Lines  # of the header's words
    types: Mapping[str, str]  # column -> type
    grain: tuple[str, ...]
    has_lookback: bool = False
    grows: bool = False
    has_repeats: bool = False  # whether rows whose key came before are left out
    histories: Collection[Relation] = ()  # of the pipeline
    must_have_rows: bool = False  # a raw table or a KPI: it may be empty only if its file says so
    minimum_rows: int | None = None  # from the environment, instead of the header's
    place: tuple[str, ...] = ("checks",)  # of the words in the header
    defaults: Mapping[str, Any] = field(default_factory=dict)  # word -> its value in pipeline.yaml

    def line_of(self, *loc: str) -> int:
        """Return the line of a word, or of a part of its value."""
        return self.lines.of(*self.place, *loc)


def _names_none(_value: Any) -> Iterable[Any]:
    return ()


@dataclass(frozen=True)
class CheckWord:
    """One word below `checks`.

    `expand` yields a function for each check that makes it. Each may raise ModelError, and an error in one check does
    not hide the errors in the next.
    """

    name: str
    type: Any  # of its value, for pydantic; parts that are models classify their fields (affects.py)
    description: str  # one sentence
    example: str  # as it is written below `checks:`
    expand: Callable[[Any, TableDeclaration], Iterator[Callable[[], TableCheck]]]
    default: Any = None  # the value if the header does not contain the word
    dimension: Dimension | None = None  # of its checks in the quality score, unless the header says another
    is_rule: bool = False  # whether its checks say which rows are bad, so that it may set rows aside
    # From its value: (place, column) of each column that it names, and (place, column, constant) of each constant that
    # a column is compared with.
    columns: Callable[[Any], Iterable[tuple[Loc, str]]] = _names_none
    constants: Callable[[Any], Iterable[tuple[Loc, str, Value]]] = _names_none
