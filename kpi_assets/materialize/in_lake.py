"""Builds on the engine: candidates that are branches of Iceberg tables, and results that are copied into Postgres.

The ledger's transaction is the publish: before it the snapshot gets a tag, and after it `main` is moved as a mirror.
A process that dies between two of these steps leaves what the next build of the table repairs: a branch or a tag that
the ledger does not name, or a `main` that lags.

Belongs here: the steps of places.py on the engine, and which snapshots they read. Not here: the statements (lake/), and
the order of the steps (build.py, publish.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from functools import partial
from itertools import chain, islice
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.lake.audit import audit, reason_of
from kpi_assets.lake.rows import OPTIONS, csv_blocks
from kpi_assets.lake.session import Engine, EngineError
from kpi_assets.lake.sql_text import constant, name_of, quoted
from kpi_assets.lake.statements import Pin, Statements
from kpi_assets.lake.tables import (
    CHECKSUM_KIND,
    LakeTable,
    Tables,
    branch_of,
    drop_quietly,
    namespace_of,
    rows_and_checksum,
)
from kpi_assets.ledger import places as ledger_places
from kpi_assets.ledger import publishes, schema
from kpi_assets.ledger.publishes import Publish
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.audit import AuditedCandidate, audit_candidate, facts_of
from kpi_assets.materialize.check_facts import FactLookup
from kpi_assets.materialize.compare import Comparison
from kpi_assets.materialize.context import BuildContext, Stopwatch, UpstreamError
from kpi_assets.materialize.fill import FillResult, analyze_and_index
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.keep import Content
from kpi_assets.materialize.load_lake import load_raw
from kpi_assets.materialize.places import Place
from kpi_assets.model.checks.base import AuditFacts, TableCheck
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.lake_tables import MOST_ROWS
from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.pii import MASKED
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.query import Query
from kpi_assets.model.results import SAMPLES, ChartRows, CheckResult
from kpi_assets.model.table import Table
from kpi_assets.settings import Settings, settings
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.audit import Audit, Elsewhere
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.tables import check_storage
from kpi_assets.warehouse.versions import VersionChanges

READ_FOR = timedelta(days=1)  # as long as a build may read a snapshot that is published no more
MOST_SNAPSHOTS = 200  # of a table, before those that nobody needs are removed: each commit reads the list of them
MIRRORED = 3  # the latest publishes of a table whose mirror the next build looks at
_LETTERS = 200  # to which a value is shortened in a preview


def connect(config: Settings | None, name: str) -> Engine:
    """Open a session with the engine of the settings; the caller closes it. Raises EngineError."""
    found = config or settings()
    if found.spark_url is None:
        raise EngineError(
            "The engine of the lake has no address: set KPI_SPARK_URL to that of Spark Connect, sc://host:port."
        )
    return Engine.connect(found.spark_url, found.spark_token, name=name)


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


@dataclass
class EngineSession:
    """The session of one build with the engine, which is opened when it is first needed."""

    context: BuildContext
    name: str
    opened: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The session. Raises EngineError."""
        if self.opened is None:
            self.opened = connect(self.context.settings, self.name)
        return self.opened

    def tables(self, connection: Connection[Any]) -> Tables:
        """Return the tables of the ledger that a session with Postgres has."""
        return Tables(self.engine, schema.identity(connection))

    def interrupt(self) -> None:
        """End what the engine executes for the build."""
        if self.opened is not None:
            self.opened.interrupt()

    def close(self) -> None:
        """End the session."""
        if self.opened is not None:
            self.opened.close()


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
def dropping(connection: Connection[Any], names: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Yield what drops Iceberg tables of the ledger of a session, by their names in the catalog. Raises EngineError."""
    with connect(None, "drop") as engine:
        tables = Tables(engine, schema.identity(connection))

        def drop() -> None:
            for name in names:
                catalog, namespace, table = name.split(".")
                tables.drop(LakeTable(catalog, namespace, table, {}))

        yield drop


def pins_of(pipeline: Pipeline, publishes: Sequence[Publish]) -> dict[Relation, dict[date, Pin]]:
    """Return what is read of the lake: each load_date in the snapshot that the ledger names.

    Raises UpstreamError for one that was published before its table was on the lake: its rows are in Postgres.
    """
    found: dict[Relation, dict[date, Pin]] = {}
    for publish in publishes:
        relation = Relation.parse(publish.asset)
        if relation not in pipeline.tables or not pipeline.tables[relation].storage.in_lake:
            continue
        if (snapshot := publish.snapshot) is None:
            raise UpstreamError(
                f"{relation} of {publish.load_date} was published in Postgres, before its file said storage: lake: "
                f"run `kpi drop {pipeline.name} {relation}` and backfill."
            )
        found.setdefault(relation, {})[publish.load_date] = Pin(snapshot.table, snapshot.number, publish.types)
    return found


def _in_declared_types(statement: str, columns: Mapping[str, str]) -> str:
    """Return a SELECT whose columns have the declared types, in their order: name -> its value over `q`."""
    return f"select {', '.join(columns.values())} from (\n{statement}\n) as `q`"  # noqa: S608  names and types


def _cast(name: str, type_: str) -> str:
    return f"cast(`q`.{quoted(name)} as {name_of(type_)}) as {quoted(name)}"


@contextmanager
def _naming(table: Table, load_date: date) -> Iterator[None]:
    """Name the file of a table in the engine's errors, and quote no value of a table with personal columns."""
    try:
        yield
    except EngineError as error:
        said = reason_of(error, table.pii) if not error.transient else str(error)
        if "find snapshot" in str(error).lower() or "NoSuchTable" in str(error):
            raise UpstreamError(
                f"{table.relation} of {load_date} cannot be built: what it reads is gone from the lake ({said}); run "
                "what it reads again."
            ) from None
        raise EngineError(
            f"{table.path}: building {table.relation} failed: {said}",
            transient=error.transient,
            condition=error.condition,
        ) from None


class _OnEngine(Place):
    """What both kinds of builds on the engine share."""

    def __init__(self, context: BuildContext, session: EngineSession) -> None:
        self._context, self._session = context, session

    @property
    def statements(self) -> int:
        return self._session.opened.statements if self._session.opened else 0

    def interrupt(self) -> None:
        self._session.interrupt()

    def _statements(
        self, table: Table, read: Sequence[Publish], parameters: Mapping[str, Any], this: str = ""
    ) -> Statements:
        """Return the statements of a build that reads these publishes."""
        return Statements(self._context.pipeline, table, pins_of(self._context.pipeline, read), parameters, this)


def _parameters(load_date: date, inputs: Inputs) -> dict[str, Any]:
    return {LOAD_DATE: load_date, **(inputs.window.parameters if inputs.window else {})}


class FromEngine(_OnEngine):
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
        chosen = {name: _cast(name, type_) for name, type_ in table.types.items()}
        if volume := table.header.min_volume:
            low = f"coalesce(not (`q`.{quoted(volume.column)} >= {constant(volume.at_least)}), true)"
            chosen[LOW_VOLUME] = f"{low} as {quoted(LOW_VOLUME)}"
        with _naming(table, candidate.load_date):
            statements = self._statements(table, inputs.all, _parameters(candidate.load_date, inputs))
            statement = _in_declared_types(statements.of_query(table.query), chosen)
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
        elsewhere = self._elsewhere(self._statements(table, inputs.all, _parameters(candidate.load_date, inputs)))
        with _naming(table, candidate.load_date):
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
        read = publishes.of_ids(connection, publish.inputs.values()).values()
        elsewhere = self._elsewhere(self._statements(table, [*read], facts.parameters))
        with _naming(table, publish.load_date):
            return self._audit_published(context, connection, table, publish, checks, facts, elsewhere)

    def _elsewhere(self, statements: Statements) -> Elsewhere:
        """Return what answers the queries of a reconciliation that count in tables of the lake."""

        def elsewhere(query: Query) -> tuple[Any] | None:
            if not any(self._context.pipeline.tables[read].storage.in_lake for read in query.reads):
                return None
            return (self._session.engine.value(statements.of_query(query)),)

        return elsewhere


class InLake(_OnEngine):
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
        with _naming(table, load_date):
            tables.ensure(lake)
            named = ledger_places.named(connection, [table.relation])
            held = {each.build_id for each in named if each.state == "held" and each.load_date != load_date}
            current = {each.build_id for each in named if each.state == "current"}
            tables.sweep(lake, {*held, *ledger_places.unfinished(connection, table.relation)}, current)
            published = [each for each in named if each.state == "current" and each.publish_id is not None]
            latest = sorted(published, key=lambda each: each.publish_id or 0)[-MIRRORED:]
            found = tables.repair(lake, {each.load_date: each.snapshot.number for each in latest}, complete=False)
            if found.snapshots > MOST_SNAPSHOTS:
                tables.expire(lake, datetime.now(timezone.utc) - READ_FOR)

    def settle(self, connection: Connection[Any], table: Table) -> list[str]:
        """Sweep the table, and give `main` what the ledger names; return what was done, for people.

        What a publish is about to move is left to it: its build is unfinished.
        """
        tables, lake = self._session.tables(connection), self._table(table)
        if not tables.exists(lake):
            return []
        tables.check_owner(lake)
        unfinished = ledger_places.unfinished(connection, table.relation)
        named = ledger_places.named(connection, [table.relation])
        keep = {each.build_id for each in named if each.state in ("current", "held")}
        done = [f"dropped {name}" for name in tables.sweep(lake, {*keep, *unfinished})]
        if not unfinished:
            current = {each.load_date: each.snapshot.number for each in named if each.state == "current"}
            found = tables.repair(lake, current, complete=True)
            done += [f"moved main for {day}" for day in found.load_dates]
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
            with _naming(table, load_date):
                return self._load(context, connection, candidate, inputs, watch)
        context.on_progress("selecting", 0, 0)
        assert table.query is not None
        statements = self._statements(table, inputs.all, _parameters(load_date, inputs))
        with _naming(table, load_date):
            columns = {name: _cast(name, type_) for name, type_ in table.types.items()}
            select = _in_declared_types(statements.of_query(table.query), columns)
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
        with _naming(table, load_date):
            return replace(audit(self._session.engine, statements, table.checks, facts), compared=compared)

    @property
    def _number(self) -> int:
        assert self._snapshot is not None
        return self._snapshot

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        with _naming(candidate.table, candidate.load_date):
            lake = self._table(candidate.table)
            return self._session.tables(connection).size(lake, candidate.load_date, self._number)[0]

    def sample(
        self, connection: Connection[Any], candidate: Candidate
    ) -> tuple[list[dict[str, str | None]], ChartRows]:
        table = candidate.table
        shown = ", ".join(_shown(table, name) for name in table.columns)
        order = ", ".join(f"`q`.{quoted(name)}" for name in table.header.grain)
        rows = self._table(table).rows(candidate.load_date, self._number)
        with _naming(table, candidate.load_date):
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
        with _naming(candidate.table, candidate.load_date):
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
        with suppress(EngineError, psycopg.Error):
            tables, lake = self._session.tables(connection), self._table(candidate.table)
            tables.mirror(lake, candidate.load_date, self._number)
            tables.drop_branch(lake, candidate.build_id)
            self._drop_tags(tables, connection, candidate.table, candidate.load_date)

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
        with _naming(table, publish.load_date):
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
        read = publishes.of_ids(connection, publish.inputs.values()).values()
        statements = self._statements(table, [*read], facts.parameters, self._published(table, publish))
        with _naming(table, publish.load_date):
            return audit(self._session.engine, statements, checks, facts).results

    # ---- rows that are taken away

    def removal_swaps(self, connection: Connection[Any], table: Table, load_date: date) -> bool:
        return False

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Do nothing: the row of the ledger is what readers of the ledger see."""

    def after_removal(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Take the load_date out of `main`, and drop its tags. What fails is done by the next build."""
        with suppress(EngineError, psycopg.Error):
            tables, lake = self._session.tables(connection), self._table(table)
            tables.check_owner(lake)
            tables.mirror(lake, load_date, None)
            self._drop_tags(tables, connection, table, load_date)
            tables.expire(lake, datetime.now(timezone.utc) - READ_FOR)


def _shown(table: Table, column: str) -> str:
    value = f"`q`.{quoted(column)}"
    if table.pii.hides(column):
        return f"case when {value} is not null then {constant(MASKED)} end as {quoted(column)}"
    return f"left(cast({value} as string), {_LETTERS:d}) as {quoted(column)}"
