"""Two check words that exist only in tests, registered without a change to any file of the product.

`python -m kpi_assets_tests.new_check_words recheck …` is the `kpi` command with these words.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import Field
from pydantic.fields import FieldInfo

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.bad_rows import named_by_key
from kpi_assets.model.checks.base import AuditFacts, EarlierRows, Measured, Need, TableCheck
from kpi_assets.model.checks.declared import Checks
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.header import Header
from kpi_assets.model.names import quoted
from kpi_assets.model.results import CheckResult
from kpi_assets.model.strict_yaml import Strict


class MaxRowsSpec(Strict):
    """The most rows that a build may have: absolute, and as a multiple of the rows of the load_date before."""

    at_most: Annotated[int, Field(ge=1), Affects.CHECKS]
    of_previous: Annotated[float | None, Affects.CHECKS] = None


@dataclass(frozen=True, kw_only=True)
class MaxRows(TableCheck):
    """A check that needs the ledger, and only the number of rows from the scan."""

    at_most: int
    of_previous: float | None

    @property
    def needs(self) -> Collection[Need]:
        return [EarlierRows()] if self.of_previous else []

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        before = facts.looked_up.get(EarlierRows(), ())
        most = min([self.at_most, *(rows * (self.of_previous or 0) for rows in before)])
        message = "" if measured.rows <= most else f"{measured.rows} rows, at most {most:g} are wanted"
        return self.judged(passed=not message, metric=measured.rows, threshold=most, message=message)


def _max_rows(spec: MaxRowsSpec | None, table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    if spec:
        yield partial(
            MaxRows,
            "max_rows",
            f"At most {spec.at_most} rows.",
            line=table.lines.of("checks", "max_rows"),
            at_most=spec.at_most,
            of_previous=spec.of_previous,
        )


@dataclass(frozen=True, kw_only=True)
class Spread(TableCheck):
    """A check that measures two aggregates in the scan that all checks share."""

    column: str
    most: float

    def measures(self, facts: AuditFacts) -> Mapping[str, str]:
        return {"lowest": f"min({quoted(self.column)})", "highest": f"max({quoted(self.column)})"}

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        if measured["lowest"] is None:
            return self.judged(passed=True, metric=None, threshold=self.most)
        spread = float(measured["highest"] - measured["lowest"])
        message = "" if spread <= self.most else f"{self.column} spreads over {spread:g}"
        return self.judged(passed=not message, metric=spread, threshold=self.most, message=message)


def _spread(spreads: Mapping[str, float], table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    for column, most in spreads.items():
        line = table.lines.of("checks", "spread", column)
        yield partial(Spread, f"spread__{column}", f"{column} spreads little.", line=line, column=column, most=most)


MAX_ROWS = CheckWord(
    name="max_rows",
    type=MaxRowsSpec | None,
    description="The build has at most so many rows.",
    example="max_rows: {at_most: 10}",
    expand=_max_rows,
)
SPREAD = CheckWord(
    name="spread",
    type=dict[str, Annotated[float, Field(ge=0)]],
    default={},
    description="The highest value of the column is at most so far from the lowest.",
    example="spread: {weight: 100}",
    columns=named_by_key,
    expand=_spread,
)
NEW = (MAX_ROWS, SPREAD)


def register() -> None:
    """Add the words to the registry, and build the model of the header again, which depends on the registry."""
    for word in NEW:
        WORDS[word.name] = word
        field = FieldInfo.from_annotated_attribute(Annotated[word.type, Affects.CHECKS], word.default)
        Checks.__pydantic_fields__[word.name] = field
    _make_again()


@contextmanager
def registered() -> Iterator[None]:
    """Register the words within the block."""
    register()
    try:
        yield
    finally:
        for word in NEW:
            del WORDS[word.name], Checks.__pydantic_fields__[word.name]
        _make_again()


def _make_again() -> None:
    Checks.model_rebuild(force=True)
    Header.model_rebuild(force=True)


if __name__ == "__main__":
    from kpi_assets.cli import main

    register()
    main()
