"""Checks whose query returns bad rows, and the words for checks of a single row.

Belongs here: `not_null`, `accepted_values`, `range`, and what all checks of bad rows have in common.
Not here: keys and references (keys.py), and queries written by the user (custom.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from kpi_assets.model.checks.base import AuditFacts, Measure, Measured, RowsWhere, TableCheck
from kpi_assets.model.checks.sql_text import any_null, literal
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.column_types import FLOATS, base_of
from kpi_assets.model.field_types import Value
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.lookback import Key
from kpi_assets.model.names import Relation, quoted
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.results import CheckResult
from kpi_assets.model.sentences import Loc, refuse
from kpi_assets.model.table_ref import THIS

# The types that have infinity.
_ENDLESS = ("numeric", *FLOATS, "date", "timestamp without time zone", "timestamp with time zone")
BAD = "bad rows"


@dataclass(frozen=True, kw_only=True)
class BadRows(TableCheck):
    """Passes if its query returns no rows; the metric is the number of rows returned."""

    query: Query

    @property
    def queries(self) -> tuple[Query, ...]:
        """The query for bad rows."""
        return (self.query,)

    def with_neighbors(self, keys: Mapping[Relation, Key], histories: Mapping[Relation, HistoryRead]) -> "BadRows":
        """Return the check with a query that knows them."""
        return replace(self, query=self.query.with_neighbors(keys, histories))

    @property
    def rows(self) -> Query:
        """The query that returns the bad rows themselves, for a rule that sets them aside."""
        return self.query

    def row_predicate(self, facts: AuditFacts) -> str | None:  # noqa: ARG002
        """Return a condition that exactly the bad rows satisfy, for the shared scan, or None if there is none."""
        return self.query.row_predicate

    def rule_predicate(self, facts: AuditFacts) -> str | None:
        """Return the same for the scan that all rules share, which may also read small tables."""
        return self.row_predicate(facts)

    def measures(self, facts: AuditFacts) -> Mapping[str, Measure]:
        """The number of bad rows, if the shared scan can count them."""
        predicate = self.row_predicate(facts)
        return {BAD: RowsWhere(predicate)} if predicate else {}

    def count(self, measured: Measured) -> int:
        """Return the number of bad rows."""
        return int(measured[BAD]) if BAD in measured else measured.count(self.query)

    def affected(self, bad: int, measured: Measured) -> int:  # noqa: ARG002
        """Return how many rows of the build are bad, where the query returns `bad` rows."""
        return bad

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Fail if there are bad rows, with a few of them as samples."""
        bad = self.count(measured)
        affected = self.affected(bad, measured) if bad else 0
        return self.judged(
            passed=bad == 0,
            metric=bad,
            message=f"{bad} bad row{'s' * (bad > 1)}" if bad else "",
            samples=measured.samples(self.query) if bad else (),
            examined=measured.rows,
            bad=affected,
        )


def _row_check(name: str, description: str, predicate: str, table: TableDeclaration, *loc: str) -> BadRows:
    line = table.line_of(*loc)
    query = parse_query(f"select * from {THIS} where {predicate}", table.path, line)
    return BadRows(name, description, line=line, query=query)


def _not_null(columns: list[str], table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    if columns:
        description = f"Never null: {', '.join(columns)}."
        yield partial(_row_check, "not_null", description, any_null(columns), table, "not_null")


def _accepted_values(
    accepted: Mapping[str, list[Value]], table: TableDeclaration
) -> Iterator[Callable[[], TableCheck]]:
    for column, values in accepted.items():
        yield partial(
            _row_check,
            f"accepted_values__{column}",
            f"{column} is one of {', '.join(str(value) for value in values)}.",
            f"{quoted(column)} not in ({', '.join(map(literal, values))})",
            table,
            *("accepted_values", column),
        )


_Ends = tuple[Value | None, Value | None]


def _range(ranges: Mapping[str, _Ends], table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    for column, (low, high) in ranges.items():
        bounds = [
            f"{quoted(column)} {sign} {literal(end)}" for sign, end in (("<", low), (">", high)) if end is not None
        ]
        if base_of(table.types[column]) in _ENDLESS:  # an open end allows every value, but not infinity
            bounds += [f"{quoted(column)} <= '-infinity'"] if low is None else []
            bounds += (
                [f"{quoted(column)} >= 'infinity'"] if high is None else []
            )  # NaN too, which sorts above all values
        yield partial(
            _row_check,
            f"range__{column}",
            f"{column} lies in {low if low is not None else '...'} to {high if high is not None else '...'}.",
            " or ".join(bounds),
            table,
            *("range", column),
        )


def _have_two_ends(value: object) -> object:
    if isinstance(value, dict):
        refuse(
            ((str(column),), "a range is its lowest and its highest value: write [1, 9], and null for an open end")
            for column, ends in value.items()
            if not isinstance(ends, list) or len(ends) != 2
        )
    return value


def _have_an_end(value: dict[str, _Ends]) -> dict[str, _Ends]:
    def problem(ends: _Ends) -> str:
        if ends == (None, None):
            return "both ends are null: give one, or take the range out"
        is_nan = any(end != end for end in ends)  # noqa: PLR0124  which only NaN does
        return "NaN cannot be an end: give a number, or null for an open end" if is_nan else ""

    refuse(((column,), found) for column, ends in value.items() if (found := problem(ends)))
    return value


def _accepted_constants(accepted: Mapping[str, list[Value]]) -> Iterator[tuple[Loc, str, Value]]:
    for column, values in accepted.items():
        yield from (((column, number), column, value) for number, value in enumerate(values))


def _range_constants(ranges: Mapping[str, _Ends]) -> Iterator[tuple[Loc, str, Value]]:
    for column, ends in ranges.items():
        yield from (((column, number), column, end) for number, end in enumerate(ends) if end is not None)


def named_by_key(value: Mapping[str, object]) -> Iterator[tuple[Loc, str]]:
    """Return the columns of a word whose value is a mapping by column, each with its place."""
    return (((column,), column) for column in value)


def named_in_list(value: list[str]) -> Iterator[tuple[Loc, str]]:
    """Return the columns of a word whose value is a list of columns, or has it as `columns`, each with its place."""
    return ((("columns", number), column) for number, column in enumerate(value))


NOT_NULL = CheckWord(
    name="not_null",
    type=list[str],
    default=[],
    description="No row has NULL in one of these columns.",
    example="not_null: [order_id, user_id]",
    columns=named_in_list,
    expand=_not_null,
    dimension="completeness",
    is_rule=True,
)
ACCEPTED_VALUES = CheckWord(
    name="accepted_values",
    type=dict[str, Annotated[list[Value], Field(min_length=1)]],
    default={},
    description="Each value of the column, unless it is NULL, is one of these.",
    example="accepted_values: {eval_set: [prior, train, test]}",
    columns=named_by_key,
    constants=_accepted_constants,
    expand=_accepted_values,
    dimension="validity",
    is_rule=True,
)
RANGE = CheckWord(
    name="range",
    type=Annotated[dict[str, _Ends], BeforeValidator(_have_two_ends), AfterValidator(_have_an_end)],
    default={},
    description="Each value of the column, unless it is NULL, lies between the lowest and the highest; null leaves an "
    "end open, and an open end lets no infinity through.",
    example="range: {order_hour_of_day: [0, 23], amount: [0, null]}",
    columns=named_by_key,
    constants=_range_constants,
    expand=_range,
    dimension="validity",
    is_rule=True,
)
