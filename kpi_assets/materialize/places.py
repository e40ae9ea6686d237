"""The place of a candidate: where a build has its rows until they are published or held, and where they go then.

Most candidates are tables of Postgres. Those of a table on the lake are branches in Iceberg (in_lake.py), which is
imported only where there is one; a table of Postgres that reads the lake has its rows copied from the engine.
Belongs here: the steps of a build that differ by the place, and those of Postgres. Not here: the order of the steps
(build.py, publish.py, hold.py), and storage kinds within Postgres (warehouse/kinds/).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.ledger import batches, mirrors, publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize import keep
from kpi_assets.materialize.audit import AuditedCandidate, audit_candidate
from kpi_assets.materialize.compare import Comparison, compare
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.keep import Content
from kpi_assets.materialize.load import load_object
from kpi_assets.materialize.load_stream import load_whole
from kpi_assets.materialize.retry import wait_for_snapshots
from kpi_assets.materialize.transform import transform
from kpi_assets.model.checks.base import AuditFacts, TableCheck
from kpi_assets.model.growing import as_one_batch
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import LOAD_DATE, InputName
from kpi_assets.model.results import SAMPLES, ChartRows, CheckResult
from kpi_assets.model.table import Table, hashed
from kpi_assets.warehouse import candidates, preview, set_aside, tables
from kpi_assets.warehouse.audit import Audit, Elsewhere, audit
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.content import find_lost, published_rows, rows_and_checksum
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.versions import VersionChanges


class Place:
    """The place of candidates in Postgres, and the interface of every other one. It has no state."""

    checksum_kind: str | None = None  # whose hashes the checksums sum; None for those of Postgres

    @property
    def statements(self) -> int:
        """The number of statements that an engine has executed for the build."""
        return 0

    # ---- a candidate

    def drop_leftovers(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Drop the candidates of earlier builds of the load_date: held ones, and those of killed processes."""
        for leftover in candidates.find_leftovers(connection, table, load_date):
            candidates.drop(connection, leftover)

    def fill(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        watch: Stopwatch,
    ) -> FillResult:
        """Fill the candidate from its object, or from its file's SELECT."""
        table = candidate.table
        if table.storage.keeps_versions:  # a check reads its versions, which rows of another storage are not
            tables.check_storage(connection, table)
        if table.stream:
            return load_whole(context, connection, candidate, watch)
        if table.has_object:
            return load_object(context, connection, candidate, inputs.decisions, watch)
        return transform(context, connection, candidate, inputs, watch)

    def compare(self, connection: Connection[Any], candidate: Candidate) -> Comparison | None:
        """Compare the candidate of a history with its versions, for its audit and its publish."""
        return compare(connection, candidate)

    def audit(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        filled: FillResult,
        comparison: Comparison | None,
    ) -> Audit:
        """Run the checks of the table on the candidate."""
        return audit_candidate(context, connection, candidate, inputs, filled, comparison)

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        """Return the bytes that a build would publish."""
        return strategy_of(candidate.table).size(connection, candidate)

    def sample(
        self, connection: Connection[Any], candidate: Candidate
    ) -> tuple[list[dict[str, str | None]], ChartRows]:
        """Return the first rows, and the bars of a KPI's chart, for people."""
        first_rows = preview.first_rows(connection, candidate, SAMPLES)
        kpi = candidate.table.header.kpi
        chart = preview.chart_rows(connection, candidate, kpi.chart) if kpi else ChartRows([], 0)
        return first_rows, chart

    def interrupt(self) -> None:
        """End what is executed for the build elsewhere than in its session with Postgres."""

    def drop(self, connection: Connection[Any], candidate: Candidate) -> None:
        """Drop the candidate of a build that failed."""
        candidates.drop(connection, candidate.relation)

    # ---- a candidate that is held

    def held_as(self, candidate: Candidate) -> str | None:
        """Return the relation of a held candidate for the run log; None if it is none of Postgres."""
        return str(candidate.relation)

    def named(self, candidate: Candidate) -> str:
        """Return where the candidate is, for people."""
        return str(candidate.relation)

    def snapshot(self, candidate: Candidate) -> Snapshot | None:  # noqa: ARG002
        """Return the snapshot of the lake that has the rows of the candidate; None if they are in Postgres."""
        return None

    # ---- a candidate that is published

    def prepare(
        self, context: BuildContext, connection: Connection[Any], candidate: Candidate, others: Sequence[Published]
    ) -> None:
        """Do what a publish needs before its transaction; `others` are the other published load_dates."""
        strategy = strategy_of(candidate.table)
        if strategy.publish_swaps(connection, candidate.table, candidate.load_date, others):
            wait_for_snapshots(connection, "published", context.on_progress, context.publish_timeout)
        strategy.prove(connection, candidate.table)

    def put_in(
        self,
        context: BuildContext,
        connection: Connection[Any],
        audited: AuditedCandidate,
        replaced_by: Content,
        others: Sequence[Published],
    ) -> VersionChanges | None:
        """Replace the published rows by those of the candidate, in the transaction of the publish."""
        candidate, table = audited.candidate, audited.candidate.table
        if mirrors.is_on_lake(connection, table.relation):
            raise DefinitionError(
                f"{table.path}: {table.relation} was published with storage: lake; to change it, run "
                f"`kpi drop {table.pipeline} {table.relation}` and backfill."
            )
        keep.set_aside(connection, context.pipeline, table, candidate.load_date, replaced_by)
        tables.ensure(connection, table, candidate.load_date, others)
        compared = audited.comparison.if_valid(connection, candidate) if audited.comparison else None
        versions = strategy_of(table).publish(connection, candidate, compared)
        tables.declare(connection, table)
        set_aside.drop(connection, candidate)
        return versions

    def after_publish(self, connection: Connection[Any], candidate: Candidate) -> None:
        """Do what follows a publish outside of its transaction. Nothing may fail any more."""

    # ---- published rows

    def is_lost(self, connection: Connection[Any], table: Table, publish: Publish) -> bool:
        """Return whether the rows of a publish are gone."""
        return publish.rows > 0 and publish.load_date in find_lost(connection, table, [publish.load_date])

    def stored_rows(self, connection: Connection[Any], table: Table, publish: Publish) -> tuple[int, str | None]:
        """Return the number of stored rows of a load_date and their checksum, or None if its columns are unknown.

        For a view, return the values of its table's publish: the table has a recheck of its own.
        """
        if not table.storage.stores_rows:
            shown, columns = table.origin
            there = publishes.current(connection, [shown], publish.load_date).get(shown)
            return (there.rows, there.checksum + publishes.shown_as(columns)) if there else (0, None)
        types = publish.types or (table.types if publish.code_version == table.code_version else {})
        columns = types or table.types
        rows, checksum = rows_and_checksum(
            connection, table, publish.load_date, hashed(columns) if table.grows else columns
        )
        return rows, checksum if types else None

    def audit_published(
        self,
        context: BuildContext,
        connection: Connection[Any],
        table: Table,
        publish: Publish,
        checks: Sequence[TableCheck],
        facts: AuditFacts,
    ) -> list[CheckResult]:
        """Run checks on the published rows of a load_date, which have the columns that the file declares."""
        return self._audit_published(context, connection, table, publish, checks, facts, None)

    def _audit_published(
        self,
        context: BuildContext,
        connection: Connection[Any],
        table: Table,
        publish: Publish,
        checks: Sequence[TableCheck],
        facts: AuditFacts,
        elsewhere: Elsewhere | None,
    ) -> list[CheckResult]:
        connection.execute(
            sql.SQL("create temporary view this as select {} from {} as t").format(
                sql.SQL(", ").join(
                    sql.SQL("{0}::{1} as {0}").format(sql.Identifier(name), sql.SQL(type_))
                    for name, type_ in {LOAD_DATE: "date", **table.types}.items()
                ),
                published_rows(connection, table, publish.load_date),
            )
        )
        substitutes = candidates.cast_to_declared(
            connection,
            [context.pipeline.tables[read] for read in table.reads],
            {*table.window_reads} - {InputName.parse(name).relation for name in publish.inputs},
        )
        own = batches.last(connection, table.relation, publish.load_date) if table.grows else None
        for read in table.growing_reads:
            last = own.up_to if own else 0
            rows = candidates.read_batches(read, publish.load_date, last, substitutes.get(read))
            substitutes[read] = as_one_batch(read, context.pipeline.tables[read].columns, rows)
        this, facts = sql.SQL("pg_temp.this"), replace(facts, substitutes=substitutes)
        return audit(connection, this, table.hashed_types, checks, facts, elsewhere=elsewhere).results

    # ---- rows that are taken away

    def removal_swaps(self, connection: Connection[Any], table: Table, load_date: date) -> bool:
        """Return whether removing a load_date drops a relation that readers with an older snapshot may read."""
        return strategy_of(table).removal_swaps(connection, table, load_date)

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Remove the published rows of a load_date, in the transaction that records it."""
        tables.check_storage(connection, table)
        strategy_of(table).remove(connection, table, load_date)

    def after_removal(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Do what follows the removal of a load_date outside of its transaction. Nothing may fail any more."""


IN_POSTGRES = Place()


@contextmanager
def place_of(context: BuildContext, table: Table) -> Iterator[Place]:
    """Yield the place of the candidates of a table; a session with the engine ends with the block."""
    if not context.pipeline.on_engine(table):
        yield IN_POSTGRES
        return
    from kpi_assets.materialize.in_lake import on_engine  # noqa: PLC0415  no other pipeline needs its packages

    with on_engine(context, table) as place:
        yield place
