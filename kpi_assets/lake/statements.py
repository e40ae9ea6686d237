"""Statements: a SELECT of the model as the engine executes it, over the snapshots that the ledger names.

Each table that it reads is a CTE of the rows of certain load_dates, each in its snapshot, cast to the declared types.
The values of parameters are constants in the text.
Belongs here: what is read in the place of a table. Not here: translating SQL (model/portable/), executing it
(session.py), and which snapshots are read (materialize/).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from kpi_assets.lake.sql_text import constant, name_of, quoted, with_values
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.portable.problems import sources_of
from kpi_assets.model.portable.statement import AUDITED, source, translate
from kpi_assets.model.portable.types import Engine
from kpi_assets.model.query import Query
from kpi_assets.model.table import Table

_ENGINE: Engine = "spark"


@dataclass(frozen=True)
class Pin:
    """The rows of one load_date of a table: the name in the catalog, a snapshot, and the columns that they have.

    Without `columns`, they have all that are declared.
    """

    table: str  # catalog.namespace.table
    snapshot: int
    columns: Mapping[str, str] | None = None

    def rows(self, load_date: date, declared: Mapping[str, str]) -> str:
        """Return them as a SELECT with the declared columns; a column that they lack is NULL."""
        chosen = ", ".join(
            f"cast({quoted(name) if self._has(name) else 'null'} as {name_of(type_)}) as {quoted(name)}"
            for name, type_ in declared.items()
        )
        return (
            f"select {chosen} from {quoted(*self.table.split('.'))} version as of {self.snapshot:d} "
            f"where {quoted(LOAD_DATE)} = {constant(load_date)}"
        )

    def _has(self, name: str) -> bool:
        return name == LOAD_DATE or self.columns is None or name in self.columns


Pins = Mapping[date, Pin]


@dataclass(frozen=True)
class Statements:
    """The statements of one build of a table: what they read, and the values of their parameters.

    `this` is the build itself, for the queries of its checks: a SELECT with its columns and the load_date.
    """

    pipeline: Pipeline
    table: Table
    pins: Mapping[Relation, Pins]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    this: str = ""

    def of_query(self, query: Query) -> str:
        """Return a query of the table. Raises NotPortableError."""
        known = sources_of(self.pipeline, self.table, query)
        return self._complete(lambda place: translate(query.executed, _ENGINE, known, place).sql)

    def of_build(self, text: str) -> str:
        """Return a SELECT of Postgres over `{this}` alone. Raises NotPortableError."""
        types = {LOAD_DATE: "date", **self.table.types}
        known = {AUDITED: source(types, self.table.header.grain)}
        return self._complete(lambda place: translate(text, _ENGINE, known, place).sql)

    def _complete(self, translated: Callable[[Callable[[Relation], str]], str]) -> str:
        """Return a translated SELECT, with what it reads as CTEs before it."""
        read: dict[Relation, str] = {}

        def place(relation: Relation) -> str:
            return read.setdefault(relation, quoted(f"kpi_{len(read)}"))

        text = with_values(translated(place), self.parameters)
        parts = [f"{name} as (\n{self._rows(relation)}\n)" for relation, name in read.items()]
        return f"with {', '.join(parts)} select * from (\n{text}\n) as `kpi_q`" if parts else text

    def _rows(self, relation: Relation) -> str:
        if relation == AUDITED:
            return self.this
        declared = {LOAD_DATE: "date", **self.pipeline.tables[relation].types}
        pins = self.pins.get(relation, {})
        if pins:
            return " union all ".join(pin.rows(day, declared) for day, pin in sorted(pins.items()))
        nulls = (f"cast(null as {name_of(type_)}) as {quoted(name)}" for name, type_ in declared.items())
        return f"select {', '.join(nulls)} where false"
