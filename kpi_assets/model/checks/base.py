"""The interface between checks and the audit: what a check is, what it may request, and what it gets for its result.

Not here: any single check.
The polarity is the same everywhere: a query returns bad rows. A row with NULL is not bad for a comparison; `not_null`
checks NULL.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from kpi_assets.model.column_reads import unknown_columns
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.kpi import Final
from kpi_assets.model.lookback import Key, Window
from kpi_assets.model.names import BATCH, LOAD_DATE, Relation
from kpi_assets.model.pii import Pii
from kpi_assets.model.quality import CheckCount, Dimension
from kpi_assets.model.query import Query
from kpi_assets.model.records import SetAside
from kpi_assets.model.results import CheckResult, Subject
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.wait import Wait


@dataclass(frozen=True)
class EarlierRows:
    """Requests the row counts of up to `count` earlier published load_dates, the latest first.

    Every load_date counts; with `every` 7, only those of the same weekday; `without_waived`, none that was published
    although a check of the table failed.
    """

    every: int = 1  # days
    count: int = 1
    without_waived: bool = False


@dataclass(frozen=True)
class DenseKeyRange:
    """Requests (lowest, highest) of a key of whole numbers if the key has every number between them, else None.

    It only saves work: the check must give the same result if the answer is not available.
    """

    relation: Relation
    column: str


@dataclass(frozen=True)
class SameBytes:
    """Requests the objects, as {object, load_date, …}, that were delivered before with the same bytes."""


@dataclass(frozen=True)
class RowsBefore:
    """Requests the rows of the latest earlier published load_date of the table, as `Earlier`, if there is one."""


@dataclass(frozen=True)
class Earlier:
    """The rows of an earlier load_date: a subquery without an alias, and the columns that the build has too.

    `types` are those in which the values of both can be compared without loss: name -> type. `changes` is given if they
    have been compared already, and `lacks` are the inputs that were due and not there.
    """

    load_date: date
    rows: str
    types: Mapping[str, str]
    changes: "Changes | None" = None
    lacks: Sequence[str] = ()


class Changes(NamedTuple):
    """The keys of a build that `before` has not, those of both whose rows differ, and those that the build lacks."""

    before: date
    new: int
    changed: int
    absent: int


@dataclass(frozen=True)
class FinalChecksum:
    """Requests the checksum of what is published of the load_date if its numbers are final, else None."""

    final: Final


Need = EarlierRows | DenseKeyRange | SameBytes | RowsBefore | FinalChecksum


@dataclass(frozen=True)
class AuditFacts:
    """Facts for the checks that the audit cannot measure in the rows."""

    load_date: date
    source_rows: Mapping[Relation, int] = field(
        default_factory=dict
    )  # the row counts of the published tables that were read
    records: int | None = None  # in the object, counted while it was read
    quarantined: int = 0  # records, also those that were discarded by decision
    discarded: int = 0  # of these
    erased: int | None = None  # records about erased persons, which were left out; None if nobody was erased
    decided: str = ""  # what decisions did to records, for people
    quarantine_samples: Sequence[dict[str, Any]] = ()
    set_aside: SetAside | None = None  # rows, of a table with rules
    lost: str = ""  # which of several objects lost records on the way, if any were lost
    unreadable: str = ""  # why the object could not be read to its end
    counted: Sequence[CheckCount] = ()  # of a recheck: what checks counted that only a build can make
    field_counts: Mapping[str, int] | None = None  # the records that have each field, if they may differ in that
    is_without_object: bool = False  # the object is optional and was not there
    is_by_weekday: bool = (
        True  # whether the table is due on certain weekdays, and not for example at the end of a month
    )
    grain_is_proven: bool = False  # the unique index was built
    looked_up: Mapping[Need, Any] = field(default_factory=dict)  # the answer to each need of the checks
    window: Window | None = None  # of a table with `lookback`
    batch: int | None = None  # of a table that grows: the one that the build has
    repeats: int = 0  # rows of the SELECT that were left out, because their key came before
    records_before: int = 0  # of a stream: in the batches of the load_date that are published
    quarantined_before: int = 0  # of these
    substitutes: Mapping[Relation, str] = field(default_factory=dict)  # subqueries (candidates.cast_to_declared)
    pii: Pii = Pii()  # the personal columns, whose values no sample or message may have

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the checks' SQL."""
        batch = {} if self.batch is None else {BATCH: self.batch}
        return {LOAD_DATE: self.load_date, **batch, **(self.window.parameters if self.window else {})}


class RowsWhere(NamedTuple):
    """A measure: the number of rows that satisfy a predicate.

    In most builds no row does. So the scan first counts the rows that satisfy any predicate of all checks, and counts
    for each predicate only if there are some.
    """

    predicate: str


Measure = str | RowsWhere  # a str is an aggregate over the rows, as SQL


class Measured(Protocol):
    """The input of a check's result: its measures from the shared scan, and methods for further queries.

    Failures in Postgres are raised as psycopg.Error; the audit then reports that the check itself failed.
    """

    rows: int  # of the build, counted in the shared scan
    checksum: str  # of the build, from the same scan
    results: Sequence[CheckResult]  # of the checks before it, in the same audit

    def __contains__(self, name: object) -> bool:
        """Whether the check requested this measure."""

    def __getitem__(self, name: str) -> Any:
        """Return the value of a measure of this check."""

    def aggregate(self, expression: str, where: str) -> Any:
        """Return a further aggregate over the rows that satisfy `where`, by a query of its own."""

    def of_set_aside(self, expression: str) -> Any:
        """Return an aggregate over the rows that rules set aside and that are not in the build."""

    def of_corrections(self, expression: str) -> tuple[Any, Any]:
        """Return an aggregate over the rows that were corrected, as they were and as they are in the build."""

    def value(self, query: Query) -> Any:
        """Return the first column of the first row of a query of other tables, or 0 if it returns no row."""

    def first_row(self, query: Query | str) -> tuple[Any, ...]:
        """Return the first row of a query, which may read the build and other tables; a str is SQL of the check."""

    def count(self, query: Query) -> int:
        """Return the number of rows of a query for bad rows."""

    def total(self, column: str, query: Query) -> int:
        """Return the sum of a column over the rows of a query for bad rows."""

    def samples(self, query: Query | str, *, by_name: bool = False) -> list[dict[str, Any]]:
        """Return a few of the rows of a query for bad rows, with their personal values masked.

        `by_name` says that the returned columns, and the keys of objects in them, have the names of the columns whose
        values they are, as those of a str always have. Else the lineage of the query says it.
        """


@dataclass(frozen=True)
class Check:
    """What all checks have. A `blocking` check holds the build if it fails; `line` is the line of its word in the file.

    A check with a `dimension` counts in the quality score.

    One with an `alert` opens an incident when it has failed on the published rows for that long.

    If a check is not `waivable`, nobody may have a build published that fails it.

    This class itself is a check of an S3 object, which materialize/verify_object.py makes.
    """

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"object"})

    name: str
    description: str
    blocking: bool = True
    line: int = 1
    dimension: Dimension | None = None
    alert: Wait | None = None
    waivable: bool = True


@dataclass(frozen=True)
class TableCheck(Check, ABC):
    """A check of a table's rows. The audit makes it on the candidate of a build, and a recheck on published rows."""

    applies_to: ClassVar[frozenset[Subject]] = frozenset({"candidate", "published"})

    @property
    def version(self) -> str:
        """What the check adds to checks_version: settings that are neither in the header nor in the check's queries."""
        return ""

    @property
    def queries(self) -> tuple[Query, ...]:
        """The check's own queries."""
        return ()

    @property
    def mentions(self) -> Mapping[Relation, int]:
        """The tables that the check reads besides the build, each with its line; they must be published first."""
        return {relation: line for query in self.queries for relation, line in query.mentions.items()}

    @property
    def needs(self) -> Collection[Need]:
        """What must be looked up in the ledger or in other tables before the audit."""
        return ()

    def with_columns(self, types: Mapping[Relation, Mapping[str, str]]) -> "TableCheck":  # noqa: ARG002
        """Return the check with the columns of the tables that it reads, given as relation -> name -> type."""
        return self

    def with_neighbors(
        self,
        keys: Mapping[Relation, Key],  # noqa: ARG002
        histories: Mapping[Relation, HistoryRead],  # noqa: ARG002
    ) -> "TableCheck":
        """Return the check with what other headers say: `keys` which rows of a window count, and the histories."""
        return self

    def check_neighbors(self, types: Mapping[Relation, Mapping[str, str]], path: Path, problems: Problems) -> None:
        """Add to `problems` what conflicts with the columns of other tables, given as relation -> name -> type."""
        for query in self.queries:
            for line, problem in unknown_columns(query, types):
                problems.add(path, line, problem)

    def measures(self, facts: AuditFacts) -> Mapping[str, Measure]:  # noqa: ARG002
        """Return the measures for the scan that all checks share, by names of the check's choice."""
        return {}

    @abstractmethod
    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Make the result of the check from its measures."""

    def judged(
        self,
        *,
        passed: bool,
        metric: float | None,
        threshold: float | None = 0,
        message: str = "",
        samples: Sequence[dict[str, Any]] = (),
        examined: int | None = None,
        bad: int | None = None,
    ) -> CheckResult:
        """Return a result under the name of this check; `bad` of the rows that it `examined`, if it counts rows."""
        return CheckResult(
            self.name, passed, self.blocking, metric, threshold, message, list(samples), examined=examined, bad=bad
        )

    def errored(self, reason: str) -> CheckResult:
        """Return the result of this check if it could not be made."""
        return CheckResult.not_made(self.name, self.blocking, reason)

    def with_counts(self, result: CheckResult, rows: int) -> CheckResult:
        """Return its result on a build of so many rows with what it adds to the score of its dimension, if it has one.

        For a check that counts no rows, and for one that could not be made, all rows of the build are bad or none. A
        check that does not pass and had nothing to examine counts as one bad row. A query may return more bad rows than
        the build has rows: then so many were examined.
        """
        if self.dimension is None:
            return result
        examined, bad = result.examined, result.bad
        if examined is None or bad is None or result.errored:
            examined, bad = rows, 0 if result.passed else rows
        if not result.passed and not examined:
            bad = max(bad, 1)
        return replace(result, dimension=self.dimension, examined=max(examined, bad), bad=bad)
