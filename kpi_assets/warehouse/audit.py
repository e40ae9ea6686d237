"""The audit: runs the checks of a table on one build of it, in as few scans as possible.

One scan computes the number of rows, the checksum and the measures of all checks (scan.py). Samples of bad rows are
fetched only for a check that fails. Any other question of a check is a query of its own.
Not here: the measures and the result of a check (model/checks/), and the consequences of a result (materialize/).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection, Cursor, sql

from kpi_assets.model import excerpt
from kpi_assets.model.checks.base import AuditFacts, TableCheck
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pii import masked_row
from kpi_assets.model.query import Query
from kpi_assets.model.results import SAMPLES, CheckResult
from kpi_assets.model.table_ref import THIS
from kpi_assets.warehouse.error_reasons import reason_of
from kpi_assets.warehouse.scan import Scan, ScanPlan, plan_scan, run_scan

# Returns the value of a query in a tuple if it does not read Postgres; None if it does.
Elsewhere = Callable[[Query], tuple[Any] | None]
ASIDE = sql.SQL("pg_temp.aside")
CHECK_TIMEOUT = "30min"
_BAD_ROWS = sql.Identifier("bad rows")  # no column has a name with a blank, so this name means the whole row


@dataclass(frozen=True)
class Audit:
    """The outcome of an audit: the rows and the checksum of the build, and the result of each check.

    `compared` has for each check that compares the build with earlier publishes of the table which these were, as
    inputs.
    """

    rows: int
    checksum: str
    results: list[CheckResult]
    compared: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def blocks_publish(self) -> bool:
        """Whether the build must not be published."""
        return any(result.blocks_publish for result in self.results)


def audit(
    connection: Connection[Any],
    this: sql.Composable,
    columns: Mapping[str, str],
    checks: Sequence[TableCheck],
    facts: AuditFacts,
    aside: sql.Composable = ASIDE,
    *,
    bitwise: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Audit:
    """Run every check on `this`, a relation that holds one load_date with the given columns (name -> type).

    `aside` holds the rows that rules took out of it (set_aside.py), of a table with rules. `bitwise` is for a history:
    its checksum then differs as soon as its versions do. `elsewhere` answers the queries that count in another system.

    A check whose SQL fails has errored, which blocks the publish. A lost connection is raised.
    """
    plan = plan_scan(checks, facts)
    scan = run_scan(connection, this, columns, plan, facts.parameters, bitwise=bitwise)
    results: list[CheckResult] = []
    for check in checks:
        try:
            with ExitStack() as ended:
                measured = _Measured(connection, ended, this, aside, facts, plan, scan, check.name, results, elsewhere)
                result = check.result(measured, facts)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if connection.closed or not isinstance(error, psycopg.errors.QueryCanceled):
                raise
            result = check.errored(reason_of(error, facts.pii))
        except psycopg.Error as error:
            result = check.errored(reason_of(error, facts.pii))
        results.append(check.with_counts(result, scan.rows))
    return Audit(scan.rows, scan.checksum, results)


class _Measured:
    """The measures of one check, and a session for its other queries (implements model/checks/base.Measured)."""

    def __init__(
        self,
        connection: Connection[Any],
        ended: ExitStack,
        this: sql.Composable,
        aside: sql.Composable,
        facts: AuditFacts,
        plan: ScanPlan,
        scan: Scan,
        check: str,
        results: Sequence[CheckResult],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.rows, self.checksum = scan.rows, scan.checksum
        self.results = results
        self._aside, self._elsewhere = aside, elsewhere
        self._connection, self._this, self._facts, self._scan = connection, this, facts, scan
        self._ended, self._is_begun = ended, False
        self._columns = {name: column for (owner, name), column in plan.columns.items() if owner == check}

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Any:
        column = self._columns[name]
        if column in self._scan.errors:
            raise self._scan.errors[column]
        return self._scan.values[column]

    def aggregate(self, expression: str, where: str) -> Any:
        return self._first(
            sql.SQL("select {} from {} where {}").format(sql.SQL(expression), self._this, sql.SQL(where))
        )

    def of_set_aside(self, expression: str) -> Any:
        return self._of_aside(expression, "\"STATE\" in ('waiting', 'discarded')")

    def of_corrections(self, expression: str) -> tuple[Any, Any]:
        return (
            self._of_aside(expression, "\"STATE\" = 'corrected'"),
            self._of_aside(expression, '"CORRECTS" is not null'),
        )

    def _of_aside(self, expression: str, where: str) -> Any:
        return self._first(
            sql.SQL("select {} from {} where {}").format(sql.SQL(expression), self._aside, sql.SQL(where))
        )

    def value(self, query: Query) -> Any:
        if self._elsewhere and (found := self._elsewhere(query)):
            return found[0]
        return self._first(sql.SQL(query.executed_on(self._facts.substitutes)))

    def first_row(self, query: Query | str) -> tuple[Any, ...]:
        row = self._execute(self._on_build(query)).fetchone()
        return tuple(row or ())

    def count(self, query: Query) -> int:
        return self._of_bad_rows(sql.SQL("count(*)"), query)

    def total(self, column: str, query: Query) -> int:
        return self._of_bad_rows(sql.SQL("coalesce(sum({}), 0)").format(sql.Identifier(column)), query)

    def _of_bad_rows(self, aggregate: sql.Composable, query: Query) -> int:
        rows = self._on_build(query)
        return int(self._first(sql.SQL("select {} from (\n{}\n) as {}").format(aggregate, rows, _BAD_ROWS)))

    def samples(self, query: Query | str, *, by_name: bool = False) -> list[dict[str, Any]]:
        values = excerpt.sql_cut_values(f"to_jsonb({_BAD_ROWS.as_string()}) - '{LOAD_DATE}'", "jsonb")
        statement = sql.SQL("select {} from (\n{}\n) as {} limit {}").format(
            sql.SQL(values), self._on_build(query), _BAD_ROWS, sql.Literal(SAMPLES)
        )
        rows, pii = [row for (row,) in self._execute(statement)], self._facts.pii
        if by_name or isinstance(query, str) or query.row_predicate:
            return [masked_row(row, pii.names) for row in rows]
        return pii.masked_rows(query, rows)

    def _first(self, statement: sql.SQL | sql.Composed) -> Any:
        row = self._execute(statement).fetchone()
        return row[0] if row else 0

    def _execute(self, statement: sql.SQL | sql.Composed) -> Cursor[Any]:
        """Execute a query of the check; they share a transaction, which a check without queries does not need."""
        if not self._is_begun:
            self._is_begun = True
            self._ended.enter_context(self._connection.transaction())
            self._connection.execute("select set_config('statement_timeout', %s, true)", [CHECK_TIMEOUT])
        return self._connection.execute(statement, self._facts.parameters)

    def _on_build(self, query: Query | str) -> sql.Composed:
        """Return a query of bad rows, executed on this build.

        Only a whole query refers to the build as `{this}`: in the predicate of a row check it is a text.
        """
        if not isinstance(query, str) and query.row_predicate:
            return sql.SQL("select * from {} where {}").format(self._this, sql.SQL(query.row_predicate))
        text = query if isinstance(query, str) else query.executed_on(self._facts.substitutes)
        parts = text.split(THIS)
        return sql.SQL(self._this.as_string(None)).join(map(sql.SQL, parts))
