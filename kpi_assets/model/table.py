"""Tables: one file below sql/, with the facts that follow from it alone, such as its versions and what it reads.

Not here: the content of the file (header.py, query.py, checks/), reading it (folder.py), and facts that need the other
tables of the pipeline (pipeline.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from kpi_assets.model import versions
from kpi_assets.model.calendar import EVERY_DAY, Calendar
from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.column_reads import names_read
from kpi_assets.model.dialect import Dialect, dialect_of
from kpi_assets.model.format_kinds import FormatKind
from kpi_assets.model.header import Header
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.kinds import StorageKind
from kpi_assets.model.names import BATCH, LOAD_DATE, OBJECTS, Relation, quoted
from kpi_assets.model.pii import Pii
from kpi_assets.model.query import Query
from kpi_assets.model.source import Source


class Origin(NamedTuple):
    """The table that stores the rows of a table, and the columns as name in the table -> name in the origin."""

    relation: Relation
    columns: Mapping[str, str]


def hashed(types: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a table that grows which its checksum counts."""
    return {name: type_ for name, type_ in types.items() if name != BATCH}


@dataclass(frozen=True)
class Table:
    """One file below sql/: a raw table (it has a source) or a SELECT (it has a query)."""

    pipeline: str
    relation: Relation
    path: Path
    header: Header
    query: Query | None
    checks: tuple[TableCheck, ...]
    rules: tuple[BadRows, ...] = ()  # that set rows aside
    source_calendar: Calendar = EVERY_DAY  # of a raw table: the days on which it has an object to read
    delivery_calendar: Calendar = EVERY_DAY  # the days on which the object comes: fewer, if it is carried to others
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)  # column -> its line in the file
    pii: Pii = Pii()  # its personal columns: declared, or made of those of the tables that it reads

    word_lines: Mapping[str, int] = field(default_factory=dict, compare=False)  # word of the header -> its line

    # 16 hex digits of the statement with which an engine computes it; empty if Postgres does (lake_tables.py)
    engine_version: str = ""

    def line_of(self, column: str) -> int:
        """Return the line of the file on which a column is declared."""
        return self.lines.get(column, 1)

    @property
    def key(self) -> tuple[str, str, str]:
        """The asset key."""
        return (self.pipeline, *self.relation)

    @property
    def storage(self) -> StorageKind:
        """The traits of the table's storage."""
        return self.header.storage_kind

    @property
    def latest_view(self) -> Relation:
        """The view in which readers find a KPI's latest published load_date."""
        return Relation(self.relation.schema, f"{self.relation.table}_latest")

    @property
    def masked_view(self) -> Relation:
        """The view of a table with `readers: mask`, in which personal values are masked."""
        return Relation(self.relation.schema, f"{self.relation.table}_masked")

    @property
    def has_object(self) -> bool:
        """Whether the rows of each load_date come from one S3 object, which is an asset of its own."""
        return self.header.has_object

    @property
    def grows(self) -> bool:
        """Whether the rows of a load_date come in batches, one after another (growing.py)."""
        return self.header.grows

    @property
    def growing_reads(self) -> tuple[Relation, ...]:
        """The tables whose batches the SELECT of a growing table reads: one; none for any other table."""
        return self.query_reads if self.grows else ()

    @property
    def stream(self) -> str | None:
        """The name of the stream at its broker, for a raw table of one."""
        return self.header.source.stream if self.header.source else None

    def stream_prefix(self, load_date: date) -> str:
        """Return the S3 prefix, with its slash, below which the objects of a stream's load_date lie."""
        return f"{self.source.key.key(load_date)}/"

    @property
    def source(self) -> Source:
        """The source of a raw table."""
        assert self.header.source is not None
        return self.header.source

    @property
    def format(self) -> FormatKind:
        """The format of the object, for a table that has one."""
        return self.source.format_kind

    @property
    def delivered(self) -> dict[str, str]:
        """The columns that the fields of an object fill, in order: name -> type."""
        return {name: column.type for name, column in self.header.delivered.items()}

    @cached_property
    def dialect(self) -> Dialect:
        """How the objects of a raw table are written."""
        return dialect_of(self.source, self.header.delivered)

    @property
    def object_name(self) -> str:
        """The name of a raw table's object in ops and for people: `s3.<table>`."""
        return str(Relation(OBJECTS, self.relation.table))

    @property
    def columns(self) -> list[str]:
        """The columns in order, without load_date."""
        return list(self.header.columns)

    @property
    def types(self) -> dict[str, str]:
        """The types of the columns: name -> type."""
        return {name: column.type for name, column in self.header.columns.items()}

    @property
    def hashed_types(self) -> dict[str, str]:
        """The types of the columns that a checksum counts: all but the batch, which a replay gives other numbers."""
        return hashed(self.types) if self.grows else self.types

    @cached_property
    def readable_types(self) -> dict[str, str]:
        """The types of the columns that a SELECT may read: those of the rows, and what a history adds."""
        return {name: column.type for name, column in self.header.readable.items()}

    @cached_property
    def history_read(self) -> HistoryRead | None:
        """How a SELECT reads the table if it is a history; None for any other."""
        return self._history_read(None)

    @cached_property
    def history_read_by_readers(self) -> HistoryRead | None:
        """How a question reads the table if it is a history."""
        return self._history_read(self.rows_for_readers if self.pii.personal else None)

    def _history_read(self, source: str | None) -> HistoryRead | None:
        history, columns = self.header.history, self.header.columns
        return HistoryRead.of(self.relation, history, self.header.grain, columns, source) if history else None

    @property
    def rows_for_readers(self) -> str:
        """A subquery without an alias for the rows of the table: NULL in each column that readers may not read."""
        types = {**({} if self.storage.keeps_versions else {LOAD_DATE: "date"}), **self.readable_types}
        columns = (
            f"null::{type_} as {quoted(name)}" if name in self.pii.personal else quoted(name)
            for name, type_ in types.items()
        )
        return f"(select {', '.join(columns)} from {quoted(*self.relation)})"  # noqa: S608

    @cached_property
    def mentions(self) -> dict[Relation, int]:
        """The other tables that this table reads, sorted, each with the line of the file that first names it."""
        found: dict[Relation, int] = {}
        for each in (*self.checks, *self.rules, self.query):
            found.update(each.mentions if each else {})
        return dict(sorted(found.items()))

    @property
    def carries_on(self) -> bool:
        """Whether the SELECT reads the table's own rows of the load_date before (carry_on.py)."""
        return self.query is not None and self.query.itself is not None

    @property
    def queries(self) -> list[Query]:
        """The SELECT of the table, and the queries of its checks and rules."""
        of_checks = [query for check in (*self.checks, *self.rules) for query in check.queries]
        return [self.query, *of_checks] if self.query else of_checks

    @cached_property
    def names_read(self) -> set[str]:
        """Every name in the queries that may be a column of a table that they read."""
        names: set[str] = set()
        return names.union(*(names_read(query.tree) for query in self.queries))

    @property
    def reads(self) -> tuple[Relation, ...]:
        """The tables that must be published before this one: its SELECT, its rules or its checks read them."""
        return tuple(self.mentions)

    @cached_property
    def load_date_reads(self) -> frozenset[Relation]:
        """The tables of which rows of the own load_date are read, not only those of a window."""
        found = set(self.query.load_date_reads) if self.query else set()
        for check in (*self.checks, *self.rules):
            in_window = {relation for query in check.queries for relation in query.window_reads}
            found |= {*check.mentions} - in_window
            found |= {relation for query in check.queries for relation in query.load_date_reads}
        return frozenset(found)

    @property
    def query_reads(self) -> tuple[Relation, ...]:
        """The tables that the SELECT reads; among them the table itself if it carries on."""
        return self.query.reads if self.query else ()

    @cached_property
    def window_reads(self) -> tuple[Relation, ...]:
        """The tables that are read over a window of load_dates, sorted; none without `lookback`."""
        return tuple(sorted({relation for query in self.queries for relation in query.window_reads}))

    @property
    def origin(self) -> Origin:
        """The table itself or, of a kind that stores no rows, the table that it shows."""
        projection = None if self.storage.stores_rows or self.query is None else self.query.projection
        return Origin(*projection) if projection else Origin(self.relation, {name: name for name in self.columns})

    @cached_property
    def code_version(self) -> str:
        """16 hex digits that change when the same input would give other rows: not for a comment or a check."""
        return versions.code_version(self.header, self.query, self.rules, engine=self.engine_version)

    @cached_property
    def checks_version(self) -> str:
        """16 hex digits that change when the same rows might be judged in another way.

        The file, the pipeline's defaults and KPI_MIN_ROWS may change them.
        """
        return versions.checks_version(self.header, self.checks)

    @cached_property
    def object_version(self) -> str:
        """16 hex digits that change when the same object might be judged in another way as it is verified."""
        return versions.object_version(self.header)

    def object_key(self, load_date: date) -> str:
        """Return the S3 key of the object of a load_date; if it may have several, with the wildcards in it."""
        return self.source.key.key(load_date)

    def object_days(self, load_date: date) -> list[date]:
        """Return the days whose object may be read for a load_date, the latest first: several if it is carried."""
        if self.source.carried_days is None:
            return [load_date]
        first = load_date - timedelta(days=self.source.carried_days)
        return [*self.delivery_calendar.between(first, load_date)][::-1]

    def object_day(self, load_date: date, key: str) -> date:
        """Return the day on which the object with a key was due, which is read for a load_date."""
        return next((day for day in self.object_days(load_date) if self.object_key(day) == key), load_date)
