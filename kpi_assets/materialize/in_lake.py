"""Builds of tables on the lake: candidates that are branches of Iceberg tables.

The ledger's transaction is the publish: before it the snapshot gets a tag, and after it `main` is moved as a mirror.
A process that dies between two of these steps leaves what the next build of the table repairs: a branch or a tag that
the ledger does not name, or a `main` that lags.

Belongs here: the steps of places.py on the lake. Not here: the statements (lake/), the order of the steps (build.py,
publish.py), and builds of the engine that are copied into Postgres (from_engine.py).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.lake.audit import audit
from kpi_assets.lake.session import EngineError
from kpi_assets.lake.sql_text import constant, quoted
from kpi_assets.lake.statements import Pin
from kpi_assets.lake.tables import (
    CHECKSUM_KIND,
    LakeTable,
    Tables,
    branch_of,
    drop_quietly,
    namespace_of,
    rows_and_checksum,
)
from kpi_assets.ledger import locks, mirrors, schema
from kpi_assets.ledger import places as ledger_places
from kpi_assets.ledger.publishes import Publish
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize import engine_session
from kpi_assets.materialize.audit import AuditedCandidate, facts_of
from kpi_assets.materialize.check_facts import FactLookup
from kpi_assets.materialize.compare import Comparison
from kpi_assets.materialize.context import BuildContext, Progress, Stopwatch
from kpi_assets.materialize.engine_session import (
    EngineSession,
    OnEngine,
    cast,
    in_declared_types,
    inputs_now,
    naming,
    parameters_of,
)
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.from_engine import FromEngine
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.keep import Content
from kpi_assets.materialize.load_lake import load_raw
from kpi_assets.materialize.places import Place
from kpi_assets.materialize.retry import acquire_with_retry, wait_for_lock
from kpi_assets.model.checks.base import AuditFacts, TableCheck
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pii import MASKED
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import SAMPLES, ChartRows, CheckResult
from kpi_assets.model.table import Table
from kpi_assets.warehouse.audit import Audit
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.tables import check_storage
from kpi_assets.warehouse.versions import VersionChanges

READ_FOR = timedelta(days=1)  # as long as a build may read a snapshot that is published no more
MOST_SNAPSHOTS = 200  # of a table, before those that nobody needs are removed: each commit reads the list of them
_LETTERS = 200  # to which a value is shortened in a preview


def lake_table(pipeline: Pipeline, table: Table) -> LakeTable:
    """Return the Iceberg table of a table on the lake."""
    assert pipeline.config.lake is not None
    schema_, name = table.relation
    namespace = namespace_of(pipeline.name, schema_)
    return LakeTable(pipeline.config.lake.catalog, namespace, name, table.types, table.header.description)


@contextmanager
def on_engine(context: BuildContext, table: Table) -> Iterator[Place]:
    """Yield the place of a build that the engine computes; its session with the engine ends with the block."""
    session = EngineSession(context, f"{context.run_id[:8]} {table.relation}")
    try:
        yield InLake(context, session) if table.storage.in_lake else FromEngine(context, session)
    finally:
        session.close()


def settle(context: BuildContext) -> Iterator[tuple[Relation, Sequence[str]]]:
    """Sweep each table on the lake, and give `main` what the ledger names; yield what was done to which table.

    Builds do it for what they find; this is for tables that nobody builds any more, and for all load_dates. Raises
    EngineError.
    """
    for table in context.pipeline.lake_tables:
        with context.session(table, f"settle {table.relation}") as connection, on_engine(context, table) as place:
            assert isinstance(place, InLake)
            yield table.relation, place.settle(connection, table)


@contextmanager
def dropping(
    connection: Connection[Any], relation: Relation, names: Sequence[str], on_progress: Progress, timeout: float
) -> Iterator[Callable[[], None]]:
    """Yield what drops the Iceberg tables of a table, by their names in the catalog, while no build of it runs.

    A build that begins waits until that is done, and makes the table again. Raises EngineError, and UserError if a
    build does not end within `timeout` seconds.
    """
    turn = locks.lake_lock(relation)

    def acquire() -> bool:
        if not locks.try_lock(connection, turn):
            return False
        if not ledger_places.unfinished(connection, relation):
            return True
        locks.unlock(connection, turn)
        return False

    with engine_session.connect(None, "drop") as engine:
        tables = Tables(engine, schema.identity(connection))

        def drop() -> None:
            for name in names:
                catalog, namespace, table = name.split(".")
                tables.drop(LakeTable(catalog, namespace, table, {}))
            mirrors.forget(connection, relation)

        if not acquire_with_retry(acquire, f"waiting for a build of {relation}", on_progress, timeout):
            raise UserError(f"A build of {relation} is in progress, so nothing was dropped: let it end first.")
        try:
            yield drop
        finally:
            locks.unlock(connection, turn)


class InLake(OnEngine):
    """A build whose rows are in a branch of an Iceberg table."""

    checksum_kind = CHECKSUM_KIND

    def __init__(self, context: BuildContext, session: EngineSession) -> None:
        super().__init__(context, session)
        self._snapshot: int | None = None  # of the candidate, once it is filled

    def _table(self, table: Table) -> LakeTable:
        return lake_table(self._context.pipeline, table)

    def drop_leftovers(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Make the table ready: as its file declares it, and without what no build of the ledger has left in it.

        Raises DefinitionError if its rows are in Postgres.
        """
        check_storage(connection, table)
        tables, lake = self._session.tables(connection), self._table(table)
        with naming(table, load_date), self._turn(connection, table):
            tables.ensure(lake)
            self._sweep(tables, connection, table, load_date)
            known = tables.snapshots(lake)
            self._catch_up(tables, connection, table, known)
            if len(known) > MOST_SNAPSHOTS:
                tables.expire(lake, datetime.now(timezone.utc) - READ_FOR)

    @contextmanager
    def _turn(self, connection: Connection[Any], table: Table) -> Iterator[None]:
        """Let one session at a time change the branches, the tags and `main` of a table, by what the ledger says."""
        turn = locks.lake_lock(table.relation)
        wait_for_lock(connection, turn, "waiting for a turn on the lake", self._context.on_progress)
        try:
            yield
        finally:
            locks.unlock(connection, turn)

    def _sweep(
        self, tables: Tables, connection: Connection[Any], table: Table, load_date: date | None = None
    ) -> list[str]:
        """Drop what belongs to no build; with a `load_date`, also what is held of it."""
        lake = self._table(table)
        refs = tables.refs(lake)  # then the ledger: a build that ends meanwhile is unfinished, or named after that
        unfinished = ledger_places.unfinished(connection, table.relation)
        named = ledger_places.named(connection, [table.relation])
        held = [each.build_id for each in named if each.state == "held" and each.load_date != load_date]
        current = [each.build_id for each in named if each.state == "current"]
        return tables.sweep(lake, refs, {*held, *unfinished}, current)

    def _catch_up(self, tables: Tables, connection: Connection[Any], table: Table, known: Collection[int]) -> None:
        """Move `main` for the load_dates that lag behind the ledger. A snapshot that is gone has nothing to give."""
        for day, snapshot in mirrors.lagging(connection, table.relation).items():
            if snapshot is None or snapshot.number in known:
                self._mirror(tables, connection, table, day, snapshot)

    def _mirror(
        self, tables: Tables, connection: Connection[Any], table: Table, load_date: date, snapshot: Snapshot | None
    ) -> None:
        mirrors.begin_change(connection, table.relation, load_date)
        tables.mirror(self._table(table), load_date, snapshot.number if snapshot else None)
        mirrors.end_change(connection, table.relation, load_date, snapshot)

    def settle(self, connection: Connection[Any], table: Table) -> list[str]:
        """Sweep the table, and give `main` what the ledger names; return what was done and what is lost, for people."""
        tables, lake = self._session.tables(connection), self._table(table)
        with self._turn(connection, table):
            if not tables.exists(lake):
                return []
            tables.check_owner(lake)
            done = [f"dropped {name}" for name in self._sweep(tables, connection, table)]
            named = ledger_places.named(connection, [table.relation])
            current = {each.load_date: each.snapshot for each in named if each.state == "current"}
            for day in tables.differing(lake, {day: snapshot.number for day, snapshot in current.items()}):
                self._mirror(tables, connection, table, day, current.get(day))
                done.append(f"moved main for {day}")
            known = tables.snapshots(lake)
            self._catch_up(tables, connection, table, known)
            lost = [day for day, snapshot in current.items() if snapshot.number not in known]
            done += [f"the rows of {day} are gone: build it again" for day in lost]
            tables.expire(lake, datetime.now(timezone.utc) - READ_FOR)
        return done

    def fill(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        watch: Stopwatch,
    ) -> FillResult:
        table, load_date = candidate.table, candidate.load_date
        if table.has_object:
            with naming(table, load_date):
                return self._load(context, connection, candidate, inputs, watch)
        context.on_progress("selecting", 0, 0)
        assert table.query is not None
        statements = self._statements(table, inputs.all, parameters_of(load_date, inputs))
        with naming(table, load_date):
            columns = {name: cast(name, type_) for name, type_ in table.types.items()}
            select = in_declared_types(statements.of_query(table.query), columns)
            self._write(connection, candidate, select)
        watch.lap("select")
        return FillResult(Counts(), inputs.manifest_hash, [], grain_is_proven=False)

    def _load(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        watch: Stopwatch,
    ) -> FillResult:
        write = partial(self._write, connection, candidate)
        return load_raw(context, connection, candidate, inputs, self._session.engine, write, watch)

    def _write(self, connection: Connection[Any], candidate: Candidate, select: str) -> None:
        tables, lake = self._session.tables(connection), self._table(candidate.table)
        self._snapshot = tables.fill(lake, candidate.load_date, candidate.build_id, select)

    def compare(self, connection: Connection[Any], candidate: Candidate) -> Comparison | None:
        return None  # no history is on the lake

    def audit(
        self,
        context: BuildContext,
        connection: Connection[Any],
        candidate: Candidate,
        inputs: Inputs,
        filled: FillResult,
        comparison: Comparison | None,
    ) -> Audit:
        table, load_date = candidate.table, candidate.load_date
        # Without the inputs it looks up no range of keys, which Postgres alone would tell.
        lookup = FactLookup(connection, context.pipeline, table, load_date, table.checks, filled.manifest_hash)
        compared = lookup.compared()
        facts = facts_of(context, candidate, inputs, filled, lookup.answers())
        this = self._table(table).rows(load_date, self._number)
        statements = self._statements(table, inputs.all, facts.parameters, this)
        with naming(table, load_date):
            return replace(audit(self._session.engine, statements, table.checks, facts), compared=compared)

    @property
    def _number(self) -> int:
        assert self._snapshot is not None
        return self._snapshot

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        with naming(candidate.table, candidate.load_date):
            lake = self._table(candidate.table)
            return self._session.tables(connection).size(lake, candidate.load_date, self._number)[0]

    def sample(
        self, connection: Connection[Any], candidate: Candidate
    ) -> tuple[list[dict[str, str | None]], ChartRows]:
        table = candidate.table
        shown = ", ".join(_shown(table, name) for name in table.columns)
        order = ", ".join(f"`q`.{quoted(name)}" for name in table.header.grain)
        rows = self._table(table).rows(candidate.load_date, self._number)
        with naming(table, candidate.load_date):
            found = self._session.engine.records(
                f"select {shown} from ({rows}) as `q` order by {order} limit {SAMPLES:d}"  # noqa: S608  names
            )
        return found, ChartRows([], 0)

    def drop(self, connection: Connection[Any], candidate: Candidate) -> None:
        """Drop the branch, if the engine can be asked; else the next build of the table does."""
        if self._session.opened is not None:
            with suppress(EngineError, psycopg.Error):
                tables = self._session.tables(connection)
                drop_quietly(tables, self._table(candidate.table), candidate.build_id, tag=True)

    # ---- held and published

    def held_as(self, candidate: Candidate) -> str | None:
        return None

    def named(self, candidate: Candidate) -> str:
        return f"{self._table(candidate.table).name}, branch {branch_of(candidate.build_id)}"

    def snapshot(self, candidate: Candidate) -> Snapshot | None:
        return Snapshot(self._table(candidate.table).name, self._number)

    def prepare(
        self, context: BuildContext, connection: Connection[Any], candidate: Candidate, others: Sequence[Published]
    ) -> None:
        with naming(candidate.table, candidate.load_date):
            lake = self._table(candidate.table)
            self._session.tables(connection).tag(lake, candidate.build_id, self._number)

    def put_in(
        self,
        context: BuildContext,
        connection: Connection[Any],
        audited: AuditedCandidate,
        replaced_by: Content,
        others: Sequence[Published],
    ) -> VersionChanges | None:
        return None  # the row of the ledger is the publish

    def after_publish(self, connection: Connection[Any], candidate: Candidate) -> None:
        """Move `main`, and drop the branch and the tags of earlier publishes. What fails is done by the next build."""
        table = candidate.table
        with suppress(EngineError, psycopg.Error), self._turn(connection, table):
            tables = self._session.tables(connection)
            self._catch_up(tables, connection, table, tables.snapshots(self._table(table)))
            tables.drop_branch(self._table(table), candidate.build_id)
            self._drop_tags(tables, connection, table, candidate.load_date)

    def _drop_tags(self, tables: Tables, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Drop the tags of the publishes of a load_date that readers do not see any more."""
        for each in ledger_places.named(connection, [table.relation], load_date):
            if each.state in ("past", "gone"):
                tables.drop_tag(self._table(table), each.build_id)

    # ---- published rows

    def is_lost(self, connection: Connection[Any], table: Table, publish: Publish) -> bool:
        if publish.snapshot is None:
            return publish.rows > 0  # its rows were in Postgres, where the file does not look for them any more
        try:
            self._session.engine.rows(f"select 1 from ({self._published(table, publish)}) as `q` limit 1")  # noqa: S608
        except EngineError as error:
            if error.transient:
                raise
            return True
        return False

    def _published(self, table: Table, publish: Publish) -> str:
        """Return the rows of a publish, with its columns, as a SELECT."""
        assert publish.snapshot is not None
        pin = Pin(publish.snapshot.table, publish.snapshot.number, publish.types)
        return pin.rows(publish.load_date, {LOAD_DATE: "date", **(publish.types or table.types)})

    def stored_rows(self, connection: Connection[Any], table: Table, publish: Publish) -> tuple[int, str | None]:
        with naming(table, publish.load_date):
            return rows_and_checksum(
                self._session.engine, self._published(table, publish), publish.types or table.types
            )

    def audit_published(
        self,
        context: BuildContext,
        connection: Connection[Any],
        table: Table,
        publish: Publish,
        checks: Sequence[TableCheck],
        facts: AuditFacts,
    ) -> list[CheckResult]:
        read, rows = inputs_now(connection, publish), self._published(table, publish)
        statements = self._statements(table, read, facts.parameters, rows)
        with naming(table, publish.load_date):
            return audit(self._session.engine, statements, checks, facts).results

    # ---- rows that are taken away

    def removal_swaps(self, connection: Connection[Any], table: Table, load_date: date) -> bool:
        return False

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Do nothing: the row of the ledger is what readers of the ledger see."""

    def after_removal(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Take the load_date out of `main`, and drop its tags. What fails is done by the next build."""
        with suppress(EngineError, psycopg.Error), self._turn(connection, table):
            tables, lake = self._session.tables(connection), self._table(table)
            tables.check_owner(lake)
            self._catch_up(tables, connection, table, tables.snapshots(lake))
            self._drop_tags(tables, connection, table, load_date)
            tables.expire(lake, datetime.now(timezone.utc) - READ_FOR)


def _shown(table: Table, column: str) -> str:
    value = f"`q`.{quoted(column)}"
    if table.pii.hides(column):
        return f"case when {value} is not null then {constant(MASKED)} end as {quoted(column)}"
    return f"left(cast({value} as string), {_LETTERS:d}) as {quoted(column)}"
