"""The audit of a table of the lake: its checks on one snapshot, in as few scans as on Postgres.

One scan computes the number of rows, the checksum and the measures of all checks; if a row is bad for any check, a
second one counts for each. There is no index, so the grain is always a `group by`. Samples are fetched only for a check
that fails.
Not here: the measures and the result of a check (model/checks/), and the consequences of a result (materialize/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kpi_assets.lake.session import Engine, EngineError
from kpi_assets.lake.statements import Statements
from kpi_assets.lake.tables import checksum_of
from kpi_assets.model import excerpt
from kpi_assets.model.checks.base import AuditFacts, TableCheck
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.pii import Pii, masked_row
from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.query import Query
from kpi_assets.model.results import SAMPLES, CheckResult
from kpi_assets.model.table_ref import THIS
from kpi_assets.warehouse.audit import Audit
from kpi_assets.warehouse.scan import ScanPlan, plan_scan

CHECK_TIMEOUT = 1800.0  # seconds for one query of a check, as on Postgres


def audit(engine: Engine, statements: Statements, checks: Sequence[TableCheck], facts: AuditFacts) -> Audit:
    """Run every check on the build of `statements`.

    A check whose SQL fails has errored, which blocks the publish. A lost connection is raised.
    """
    columns = statements.table.types
    plan = plan_scan(checks, facts)
    scan = _Scan(engine, statements, plan, columns, facts.pii)
    scan.run()
    results: list[CheckResult] = []
    for check in checks:
        try:
            result = check.result(_Measured(engine, statements, plan, scan, check.name, results, facts), facts)
        except EngineError as error:
            if error.transient:
                raise
            result = check.errored(reason_of(error, facts.pii))
        except NotPortableError as error:
            result = check.errored(str(error))
        results.append(check.with_counts(result, scan.rows))
    return Audit(scan.rows, scan.checksum, results)


def reason_of(error: EngineError, pii: Pii) -> str:
    """Return what an error says; of a table with personal columns, without what it may quote."""
    return f"the engine refused it ({error.condition or 'without a condition'})" if pii else str(error)


@dataclass
class _Scan:
    """The scan that all checks share: the value of each measure, or its error if it cannot be computed."""

    engine: Engine
    statements: Statements
    plan: ScanPlan
    columns: Mapping[str, str]
    pii: Pii
    rows: int = 0
    checksum: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, EngineError | NotPortableError] = field(default_factory=dict)

    def run(self) -> None:
        """Measure all at once; if a measure cannot be computed, find out which, so that the others have values."""
        plan = self.plan
        try:
            found = self._measured({**plan.any_bad, **plan.aggregates})
            if any(found[column] for column in plan.any_bad):
                found = self._measured({**plan.counts, **plan.aggregates})
            else:
                found |= dict.fromkeys(plan.predicates, 0)
        except (EngineError, NotPortableError) as error:
            if isinstance(error, EngineError) and error.transient:
                raise
            found = self._measured({})
            for column, measure in {**plan.counts, **plan.aggregates}.items():
                try:
                    found[column] = self._measured({column: measure})[column]
                except (EngineError, NotPortableError) as of_measure:
                    self.errors[column] = of_measure
        self.values = found

    def _measured(self, measures: Mapping[str, str]) -> dict[str, Any]:
        chosen = ", ".join(f"{text} as m{number}" for number, text in enumerate(measures.values()))
        # The count is the first column, so that there always is one.
        statement = self.statements.of_build(f"select count(*) as m{', ' if chosen else ''}{chosen} from {THIS}")
        first = "SELECT COUNT(*) AS `m`"
        if statement.count(first) != 1:
            raise EngineError(f"the scan of the checks cannot be found in its statement: {statement[:200]}")
        statement = statement.replace(first, f"{first}, {checksum_of(self.columns)} AS `checksum`")
        [(rows, checksum, *values)] = self.engine.rows(statement)
        self.rows, self.checksum = int(rows), str(checksum)
        return dict(zip(measures, values, strict=True))


@dataclass
class _Measured:
    """The measures of one check, and further queries of it (implements model/checks/base.Measured)."""

    engine: Engine
    statements: Statements
    plan: ScanPlan
    scan: _Scan
    check: str
    results: Sequence[CheckResult]
    facts: AuditFacts

    def __post_init__(self) -> None:
        self.rows, self.checksum = self.scan.rows, self.scan.checksum

    def __contains__(self, name: object) -> bool:
        return (self.check, name) in self.plan.columns

    def __getitem__(self, name: str) -> Any:
        column = self.plan.columns[self.check, name]
        if column in self.scan.errors:
            raise self.scan.errors[column]
        return self.scan.values[column]

    def aggregate(self, expression: str, where: str) -> Any:
        """Return nothing for what the engine cannot say: the check then asks in another way."""
        try:
            return self._first(self.statements.of_build(f"select {expression} as a from {THIS} where {where}"))
        except NotPortableError:
            return None

    def of_set_aside(self, expression: str) -> Any:
        raise NotImplementedError  # a table of the lake has no rules

    def of_corrections(self, expression: str) -> tuple[Any, Any]:
        raise NotImplementedError

    def value(self, query: Query) -> Any:
        return self._first(self.statements.of_query(query))

    def first_row(self, query: Query | str) -> tuple[Any, ...]:
        found = self._rows(self._query(query))
        return found[0] if found else ()

    def count(self, query: Query) -> int:
        return int(self._first(f"select count(*) from (\n{self.statements.of_query(query)}\n) as `bad rows`"))

    def total(self, column: str, query: Query) -> int:
        rows = self.statements.of_query(query)
        return int(self._first(f"select coalesce(sum(`{column}`), 0) from (\n{rows}\n) as `bad rows`"))

    def samples(self, query: Query | str, *, by_name: bool = False) -> list[dict[str, Any]]:
        try:
            statement = self._query(query)
        except NotPortableError:
            return []  # made of JSON, which only Postgres has: the counts of the check say enough
        limited = f"select * from (\n{statement}\n) as `bad rows` limit {SAMPLES}"
        rows = [shown_row(row) for row in self.engine.records(limited)]
        if by_name or isinstance(query, str) or query.row_predicate:
            return [masked_row(row, self.facts.pii.names) for row in rows]
        return self.facts.pii.masked_rows(query, rows)

    def _query(self, query: Query | str) -> str:
        return self.statements.of_build(query) if isinstance(query, str) else self.statements.of_query(query)

    def _first(self, statement: str) -> Any:
        found = self._rows(statement)
        return found[0][0] if found else 0

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.engine.rows(statement, timeout=CHECK_TIMEOUT)


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of JSON values, without the load_date, as to_jsonb of Postgres makes it."""
    return excerpt.cut_row({name: _json(value) for name, value in row.items() if name != LOAD_DATE})


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value
