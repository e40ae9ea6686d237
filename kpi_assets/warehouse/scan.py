"""The scan that all checks share: one pass over a build computes the rows, the checksum and the checks' measures.

Usually no row is bad. So the first pass counts the rows that are bad for any check. Only if there are some, a second
pass counts the bad rows of each check.
Belongs here: planning the scan, which needs no server, and running it. Not here: the results of the checks (audit.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.rows import dict_row

from kpi_assets.model.checks.base import AuditFacts, RowsWhere, TableCheck
from kpi_assets.warehouse.checksum import checksum_of

_ROWS, _CHECKSUM, _BAD = "ROWS", "CHECKSUM", "BAD"  # in capitals, unlike the names of checks


@dataclass(frozen=True)
class ScanPlan:
    """The measures of a scan, each with the column in which it is returned."""

    predicates: Mapping[str, str]  # column -> condition that is true for bad rows
    aggregates: Mapping[str, str]  # column -> an aggregate over all rows
    columns: Mapping[tuple[str, str], str]  # (check, name of the measure in the check) -> column

    @property
    def any_bad(self) -> dict[str, str]:
        """The count of rows that satisfy any predicate; empty if there are no predicates."""
        return {_BAD: _count_where("\n) or (".join(self.predicates.values()))} if self.predicates else {}

    @property
    def counts(self) -> dict[str, str]:
        """The counts of rows that satisfy each predicate."""
        return {column: _count_where(predicate) for column, predicate in self.predicates.items()}


def _count_where(predicate: str) -> str:
    return f"count(*) filter (where ({predicate}\n))"


def plan_scan(checks: Iterable[TableCheck], facts: AuditFacts) -> ScanPlan:
    """Plan the measures of the checks. A column is named after its check, with a number from the second measure on."""
    predicates: dict[str, str] = {}
    aggregates: dict[str, str] = {}
    columns: dict[tuple[str, str], str] = {}
    for check in checks:
        for number, (name, measure) in enumerate(check.measures(facts).items()):
            column = f"{check.name} {number}" if number else check.name  # no check has a name with a blank
            columns[check.name, name] = column
            if isinstance(measure, RowsWhere):
                predicates[column] = measure.predicate
            else:
                aggregates[column] = measure
    return ScanPlan(predicates, aggregates, columns)


@dataclass(frozen=True)
class Scan:
    """The result of a scan: the value of each measure, or its error if it cannot be computed."""

    rows: int
    checksum: str
    values: Mapping[str, Any]  # by the plan's columns
    errors: Mapping[str, psycopg.Error] = field(default_factory=dict)


def run_scan(
    connection: Connection[Any],
    this: sql.Composable,
    columns: Mapping[str, str],
    plan: ScanPlan,
    parameters: Mapping[str, Any],
    *,
    bitwise: bool = False,
) -> Scan:
    """Execute the plan on `this`, a relation with these columns (name -> type); `bitwise` is for its checksum."""
    checksum = checksum_of(columns, bitwise=bitwise)

    def measured(measures: Mapping[str, str]) -> dict[str, Any]:
        return _measure(connection, this, {_ROWS: "count(*)", _CHECKSUM: checksum, **measures}, parameters)

    errors: dict[str, psycopg.Error] = {}
    try:
        found = measured({**plan.any_bad, **plan.aggregates})
        if found.pop(_BAD, 0):
            found = measured({**plan.counts, **plan.aggregates})
        else:
            found |= dict.fromkeys(plan.predicates, 0)
    except (psycopg.DataError, psycopg.ProgrammingError):
        # A measure cannot be computed (a division by zero, say). Find out which, so that the others have values.
        found = measured({})
        for column, measure in {**plan.counts, **plan.aggregates}.items():
            try:
                found[column] = measured({column: measure})[column]
            except psycopg.Error as error:
                errors[column] = error
    return Scan(int(found.pop(_ROWS)), str(found.pop(_CHECKSUM)), found, errors)


def _measure(
    connection: Connection[Any], this: sql.Composable, measures: Mapping[str, str], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    named = (sql.SQL("{} as {}").format(sql.SQL(text), sql.Identifier(name)) for name, text in measures.items())
    statement = sql.SQL("select {} from {} as t").format(sql.SQL(", ").join(named), this)
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement, parameters).fetchone()
    assert row is not None
    return row
