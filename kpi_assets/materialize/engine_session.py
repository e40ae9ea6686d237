"""The session of a build with the engine, and what every build on it does: which snapshots it reads, and its errors.

Not here: the session itself (lake/session.py), and where the rows of a build are (in_lake.py, from_engine.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.lake.audit import reason_of
from kpi_assets.lake.session import Engine, EngineError
from kpi_assets.lake.sql_text import name_of, quoted
from kpi_assets.lake.statements import Pin, Statements
from kpi_assets.lake.tables import (
    Tables,
)
from kpi_assets.ledger import publishes, schema
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.materialize.places import Place
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.settings import Settings, settings

# What the engine says of a snapshot, a table or a file that somebody has removed.
_GONE = ("find snapshot", "nosuchtable", "table_or_view_not_found", "filenotfound", "nosuchkey")


def connect(config: Settings | None, name: str) -> Engine:
    """Open a session with the engine of the settings; the caller closes it. Raises EngineError."""
    found = config or settings()
    if found.spark_url is None:
        raise EngineError(
            "The engine of the lake has no address: set KPI_SPARK_URL to that of Spark Connect, sc://host:port."
        )
    return Engine.connect(found.spark_url, found.spark_token, name=name)


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


def pins_of(pipeline: Pipeline, read: Sequence[Publish]) -> dict[Relation, dict[date, Pin]]:
    """Return what is read of the lake: each load_date in the snapshot that the ledger names.

    Raises UpstreamError for one that was published before its table was on the lake: its rows are in Postgres.
    """
    found: dict[Relation, dict[date, Pin]] = {}
    for publish in read:
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


def in_declared_types(statement: str, columns: Mapping[str, str]) -> str:
    """Return a SELECT whose columns have the declared types, in their order: name -> its value over `q`."""
    return f"select {', '.join(columns.values())} from (\n{statement}\n) as `q`"  # noqa: S608  names and types


def cast(name: str, type_: str) -> str:
    """Return a column of `q` with its declared type."""
    return f"cast(`q`.{quoted(name)} as {name_of(type_)}) as {quoted(name)}"


@contextmanager
def naming(table: Table, load_date: date) -> Iterator[None]:
    """Name the file of a table in the engine's errors, and quote no value of a table with personal columns."""
    try:
        yield
    except EngineError as error:
        said = reason_of(error, table.pii) if not error.transient else str(error)
        if any(word in f"{error.condition} {error}".lower() for word in _GONE):
            raise UpstreamError(
                f"{table.relation} of {load_date} cannot be built: what it reads is gone from the lake ({said}); run "
                "what it reads again."
            ) from None
        raise EngineError(
            f"{table.path}: building {table.relation} failed: {said}",
            transient=error.transient,
            condition=error.condition,
        ) from None


class OnEngine(Place):
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


def inputs_now(connection: Connection[Any], publish: Publish) -> list[Publish]:
    """Return what a publish was made of, each load_date of a table as it is published now.

    An input may have been published again with the same rows, and the lake may not have what was read then any more.
    """
    then = publishes.of_ids(connection, publish.inputs.values()).values()
    if not then:
        return []
    days = [each.load_date for each in then]
    now = publishes.current_between(connection, {Relation.parse(each.asset) for each in then}, min(days), max(days))
    return [now.get(each.load_date, {}).get(Relation.parse(each.asset), each) for each in then]


def parameters_of(load_date: date, inputs: Inputs) -> dict[str, Any]:
    """Return the values of the parameters of a SELECT."""
    return {LOAD_DATE: load_date, **(inputs.window.parameters if inputs.window else {})}
