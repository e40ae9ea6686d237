"""Builds whose SELECT the engine computes, and whose rows are then a candidate of Postgres as any other.

A KPI of tables on the lake is built so: readers, checks and the publish are those of Postgres.
Not here: candidates that stay on the lake (in_lake.py).
"""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

from psycopg import Connection

from kpi_assets.lake.rows import OPTIONS, csv_blocks
from kpi_assets.lake.sql_text import constant, quoted
from kpi_assets.lake.statements import Statements
from kpi_assets.ledger.publishes import Publish
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.audit import audit_candidate
from kpi_assets.materialize.compare import Comparison
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.materialize.engine_session import OnEngine, cast, in_declared_types, inputs_now, naming, parameters_of
from kpi_assets.materialize.fill import FillResult, analyze_and_index
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.model.checks.base import AuditFacts, TableCheck
from kpi_assets.model.lake_tables import MOST_ROWS
from kpi_assets.model.names import LOW_VOLUME
from kpi_assets.model.query import Query
from kpi_assets.model.results import CheckResult
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.audit import Audit, Elsewhere
from kpi_assets.warehouse.candidates import Candidate


class FromEngine(OnEngine):
    """A build whose SELECT the engine computes, and whose rows are then a candidate of Postgres as any other."""

    def fill(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        watch: Stopwatch,
    ) -> FillResult:
        table = candidate.table
        assert table.query is not None
        context.on_progress("selecting", 0, 0)
        chosen = {name: cast(name, type_) for name, type_ in table.types.items()}
        if volume := table.header.min_volume:
            low = f"coalesce(not (`q`.{quoted(volume.column)} >= {constant(volume.at_least)}), true)"
            chosen[LOW_VOLUME] = f"{low} as {quoted(LOW_VOLUME)}"
        with naming(table, candidate.load_date):
            statements = self._statements(table, inputs.all, parameters_of(candidate.load_date, inputs))
            statement = in_declared_types(statements.of_query(table.query), chosen)
            batches = self._session.engine.batches(statement)
            first = [*islice(batches, 1)]  # which ends the computation, before Postgres has a transaction
            watch.lap("select")

            def on_rows(done: int) -> None:
                context.on_progress("copying", done, 0)

            with connection.transaction():
                candidates.create_empty(connection, candidate)
                candidates.add_partition_check(connection, candidate)
                blocks = csv_blocks(chain(first, batches), MOST_ROWS, f"{table.path}: {table.relation}", on_rows)
                candidates.copy_in(connection, candidate, blocks, [*chosen], OPTIONS)
                watch.lap("copy")
                proven = analyze_and_index(context, connection, candidate, watch)
        return FillResult(Counts(), inputs.manifest_hash, [], proven)

    def audit(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        filled: FillResult,
        comparison: Comparison | None,
    ) -> Audit:
        table = candidate.table
        elsewhere = self._elsewhere(self._statements(table, inputs.all, parameters_of(candidate.load_date, inputs)))
        with naming(table, candidate.load_date):
            return audit_candidate(context, connection, candidate, inputs, filled, comparison, elsewhere=elsewhere)

    def audit_published(
        self,
        context: BuildContext,
        connection: Connection[Any],
        table: Table,
        publish: Publish,
        checks: Sequence[TableCheck],
        facts: AuditFacts,
    ) -> list[CheckResult]:
        elsewhere = self._elsewhere(self._statements(table, inputs_now(connection, publish), facts.parameters))
        with naming(table, publish.load_date):
            return self._audit_published(context, connection, table, publish, checks, facts, elsewhere)

    def _elsewhere(self, statements: Statements) -> Elsewhere:
        """Return what answers the queries of a reconciliation that count in tables of the lake."""

        def elsewhere(query: Query) -> tuple[Any] | None:
            if not any(self._context.pipeline.tables[read].storage.in_lake for read in query.reads):
                return None
            return (self._session.engine.value(statements.of_query(query)),)

        return elsewhere
