"""What a check is, what it may ask for, and what it is given when its result is made.

Belongs here: the interface between checks and the audit. Not here: any single check.
One polarity everywhere: a query returns bad rows. A comparison with NULL is not a bad row: `not_null` says that.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from kpi_assets.model.column_reads import unknown_columns
from kpi_assets.model.lookback import Key, Window
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import Query
from kpi_assets.model.results import CheckResult, Subject
from kpi_assets.model.strict_yaml import Problems


@dataclass(frozen=True)
class EarlierRows:
    """Asks for the numbers of rows of up to `count` earlier load_dates that are published, the latest first.

    Every load_date counts, or with `every` 7 only those of the same weekday.
    """

    every: int = 1  # days
    count: int = 1


@dataclass(frozen=True)
class DenseKeyRange:
    """Asks for (lowest, highest) of a key of whole numbers, if every number between them is there, else for None.

    It only spares work: where nobody looks it up, the check must do without.
    """

    relation: Relation
    column: str


@dataclass(frozen=True)
class SameBytes:
    """Asks for the objects, as {object, load_date, …}, that were delivered before with the same bytes."""


Need = EarlierRows | DenseKeyRange | SameBytes


@dataclass(frozen=True)
class AuditFacts:
    """What the audit cannot see in the rows themselves."""

    load_date: date
    source_rows: Mapping[Relation, int] = field(default_factory=dict)  # of the published tables that were read
    records: int | None = None  # in the object, counted by us
    quarantined: int = 0
    quarantine_samples: Sequence[dict[str, Any]] = ()
    unreadable: str = ""  # why the object could not be read to its end
    grain_is_proven: bool = False  # the unique index was built
    looked_up: Mapping[Need, Any] = field(default_factory=dict)  # the answer to each need of the checks
    window: Window | None = None  # of a table with `lookback`
    substitutes: Mapping[Relation, str] = field(default_factory=dict)  # subqueries (candidates.cast_to_declared)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the checks' SQL is executed with."""
        return {LOAD_DATE: self.load_date, **(self.window.parameters if self.window else {})}


class RowsWhere(NamedTuple):
    """A measure: how many rows satisfy a predicate.

    Mostly none does. The scan first counts the rows that satisfy any such predicate of all checks, and counts for each
    predicate only when there are some.
    """

    predicate: str


Measure = str | RowsWhere  # a str is an aggregate over the rows, as SQL


class Measured(Protocol):
    """What a check is given to make its result: what it measured in the shared scan, and the way to ask for more.

    Whatever fails in Postgres is raised as psycopg.Error; then the audit says that the check itself failed.
    """

    rows: int  # of the build, counted in the shared scan

    def __contains__(self, name: object) -> bool:
        """Whether the check asked for this measure."""

    def __getitem__(self, name: str) -> Any:
        """The value of a measure of this check."""

    def aggregate(self, expression: str, where: str) -> Any:
        """One more aggregate over the rows that satisfy `where`, as a query of its own."""

    def value(self, query: Query) -> Any:
        """What a query of other tables returns in its first row and column; 0 where it returns no row."""

    def count(self, query: Query) -> int:
        """How many rows a query of bad rows returns."""

    def samples(self, query: Query) -> list[dict[str, Any]]:
        """A few of the rows that a query of bad rows returns."""


@dataclass(frozen=True)
class Check:
    """What every check has; `blocking` ones hold the build when they fail; `line` is that of its word in the file.

    By itself it is the check of an S3 object, which materialize/verify_object.py makes.
    """

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"object"})

    name: str
    description: str
    blocking: bool = True
    line: int = 1


@dataclass(frozen=True)
class TableCheck(Check, ABC):
    """A check of a table's rows, made by the audit: on the candidate of a build, and again on what is published."""

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"candidate", "published"})

    @property
    def version(self) -> str:
        """What it adds to checks_version: what neither the header nor the check's queries say."""
        return ""

    @property
    def queries(self) -> tuple[Query, ...]:
        """What it asks of Postgres, as SQL of its own."""
        return ()

    @property
    def mentions(self) -> Mapping[Relation, int]:
        """The tables it reads besides the build itself, which must be published first, and on which line."""
        return {relation: line for query in self.queries for relation, line in query.mentions.items()}

    @property
    def needs(self) -> Collection[Need]:
        """What must be looked up for it in the ledger, or in other tables, before the audit."""
        return ()

    def with_keys(self, keys: Mapping[Relation, Key]) -> "TableCheck":  # noqa: ARG002
        """The same, once it is known which rows count of the tables that it reads over a window."""
        return self

    def check_neighbors(self, types: Mapping[Relation, Mapping[str, str]], path: Path, problems: Problems) -> None:
        """Add to `problems` what is wrong in view of the other tables' columns, given as relation -> name -> type."""
        for query in self.queries:
            for line, problem in unknown_columns(query, types):
                problems.add(path, line, problem)

    def measures(self, facts: AuditFacts) -> Mapping[str, Measure]:  # noqa: ARG002
        """What it measures in the scan that all checks share, by names of its own."""
        return {}

    @abstractmethod
    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """What it comes to."""

    def judged(
        self,
        *,
        passed: bool,
        metric: float | None,
        threshold: float | None = 0,
        message: str = "",
        samples: Sequence[dict[str, Any]] = (),
    ) -> CheckResult:
        """Its result, under its own name."""
        return CheckResult(self.name, passed, self.blocking, metric, threshold, message, list(samples))

    def errored(self, reason: str) -> CheckResult:
        """Its result where it could not be made."""
        return CheckResult.not_made(self.name, self.blocking, reason)
