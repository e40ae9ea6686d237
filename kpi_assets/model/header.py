"""The header of an asset's file: what SQL cannot say about a table.

Belongs here: the words of a header and their meaning, and cutting a file into header and body.
Not here: the words of a column (column.py) and of a source (source.py), the SELECT (query.py), the checks (checks/),
and other tables (pipeline.py, neighbors.py).
"""

import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from kpi_assets.model import dialect
from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.declared import Checks
from kpi_assets.model.checks.word import CheckWord
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.column import Column
from kpi_assets.model.column_types import NUMBERS, base_of, element_of
from kpi_assets.model.field_types import Expression, Owner, Sentence, Value
from kpi_assets.model.growing import PLACE, has_batch, made_columns
from kpi_assets.model.history import HistorySpec, history_problems, version_columns
from kpi_assets.model.indexes import index_problems
from kpi_assets.model.kinds import STORAGES, StorageKind
from kpi_assets.model.kpi import Freshness, Kpi, MinVolume, Refresh
from kpi_assets.model.lake import lake_problems
from kpi_assets.model.lookback import LONGEST
from kpi_assets.model.names import (
    BATCH,
    EXTRA_FIELDS,
    LOAD_DATE,
    LOW_VOLUME,
    SYSTEM_COLUMNS,
    Identifier,
)
from kpi_assets.model.quality import QualitySpec
from kpi_assets.model.quarantine import QuarantineSpec, quarantine_problems
from kpi_assets.model.repeats import Repeats, place_problems
from kpi_assets.model.rollback import Kept
from kpi_assets.model.rules import RULE_WORDS
from kpi_assets.model.sentences import Loc, listed, refuse, shown
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.model.source import Source
from kpi_assets.model.strict_yaml import Lines, ModelError, Strict, read
from kpi_assets.model.subject import Subject, subject_problems, subjects_of

# The header of a file of each kind, which its first line names.
HEADERS = {kind: re.compile(rf"\A/\* @{kind}\n(.*?)\n@end \*/(?:\n|\Z)", re.DOTALL) for kind in ("asset", "question")}
_DECIMAL = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_OTHER = Column(type="text", description="Any column.")


class Lookback(Strict):
    """The calendar days that the SELECT may read, the load_date the last; `lookback: 28` is short for `days: 28`.

    `rows: all` reads every row of them; without it, only tables with `versions: latest` can be read.
    """

    days: Annotated[int, Affects.ROWS] = Field(
        ge=2, le=LONGEST, description="The number of calendar days, the load_date the last of them."
    )
    rows: Annotated[Literal["all"] | None, Affects.ROWS | Affects.CHECKS] = Field(
        default=None,
        description="`all` reads every row of the window. Without it, only tables with `versions: latest` can be read "
        "over the window.",
    )


_KPI_EXAMPLE = """
kpi:
  title: Orders by day of the week
  chart: {x: order_dow, y: total_orders, labels: [Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday]}
  measures:
    orders:
      title: Orders
      value: sum(total_orders)
      unit: orders
      better: up
      target: {at_least: 7500}
      alert: {change: {more_than: 0.3}}
    items_per_order:
      title: Items per order
      value: sum(items) / sum(total_orders)
      description: Over all orders, whether large or small.
      format: decimal2
      alert: {below: 8, for: 3 load_dates}
  dimensions: [order_dow]
"""
# Words that a table which grows cannot have, and words of its checks, with the reason.
_NOT_OF_GROWING = {
    "refresh": "a table that grows is not built again, but gets each batch: take it out",
    "lookback": "a table that grows reads one batch: look back in a table that reads it",
    "kpi": "a KPI is computed again from what has grown: select it from this table, without the batch",
    "rollback": "a replay of its events gives each load_date again: take it out",
    "quality": "a score is of a whole load_date, and a batch is a part of one: take it out",
}
_NOT_OF_BATCHES = {
    "min_rows": "a batch has as many rows as there were events",
    "unique": "it sees one batch, and another one may have the same values",
    "foreign_key": "a row that comes later may be the one that is looked for",
}
# The words of a file whose storage has no load_dates.
_WITHOUT_LOAD_DATES = {"description", "owner", "grain", "columns", "storage"}


class TimeLimit(Strict):
    """How long a build of one load_date may take: filling, indexing and auditing, without waiting for locks."""

    minutes: Annotated[float, Affects.NOTHING] = Field(
        ge=0.01, le=360, description="Minutes that the build of one load_date may take."
    )


def _is_storage(value: str) -> str:
    if value not in STORAGES:
        raise ValueError(f"{shown(value)} is not known here: write {listed(STORAGES)}")
    return value


class Header(Strict):
    """Everything a header may say."""

    description: Annotated[Sentence, Affects.NOTHING] = Field(
        description="What one row of the table is. It becomes the comment on the table in Postgres.",
        examples=["description: One row per order."],
    )
    owner: Annotated[Owner, Affects.NOTHING] = Field(
        description="Who answers for the table: `team:name` or an e-mail address.", examples=["owner: team:analytics"]
    )
    grain: Annotated[list[str], Affects.CHECKS] = Field(
        min_length=1,
        description="The columns of the key. No two rows of a load_date share it, and none of them is NULL; this is "
        "always checked.",
        examples=["grain: [order_id]"],
    )
    columns: Annotated[dict[Identifier, Column], Affects.ROWS | Affects.OBJECT] = Field(
        description="All columns in order, each with its type and description. They are the columns that the SELECT "
        "returns, or those of the object. `load_date` is the first column of every table and is not named here.",
        examples=["columns: {order_id: {type: integer, description: Order.}}"],
    )
    checks: Annotated[Checks, Affects.CHECKS] = Field(
        default_factory=Checks,
        description="What else must be true of a build before it is published.",
        examples=["checks: {not_null: [user_id], range: {hour: [0, 23]}}"],
    )
    source: Annotated[Source | None, Affects.ROWS | Affects.CHECKS | Affects.OBJECT] = Field(
        default=None,
        description="Where the rows of a raw table come from. A file with this word has no SELECT.",
        examples=["source: {object: 'raw/orders/load_date={load_date}/orders.csv', format: csv}"],
    )
    quarantine: Annotated[QuarantineSpec | None, Affects.ROWS | Affects.CHECKS] = Field(
        default=None,
        description="For a raw table: how many of an object's records may be set aside, because they cannot be read, "
        "before the load_date is held. Without this word, none. For a table with a SELECT: the rules that set rows "
        "aside, and how many rows may be.",
        examples=["quarantine: {rows: 20}", "quarantine: {share: 0.01, rules: {not_null: [product_id]}}"],
    )
    quality: Annotated[QualitySpec | None, Affects.CHECKS] = Field(
        default=None,
        description="Adds the check `quality`: a score from 0 to 100, computed from what the other checks counted. "
        "`quality: {}` records it, and `at_least` holds a load_date with a lower one.",
        examples=["quality: {at_least: 80}"],
    )
    storage: Annotated[str, AfterValidator(_is_storage), Affects.NOTHING] = Field(
        default="rows",
        description=" ".join(
            ["How the rows are stored.", *(f"`{kind.name}`: {kind.meaning}" for kind in STORAGES.values())]
        ),
        examples=["storage: partitions"],
    )
    history: Annotated[HistorySpec | None, Affects.ROWS | Affects.CHECKS] = Field(
        default=None,
        description="For `storage: history`: the name of its key, and what else it adds to its rows. Who reads the "
        "table reads its versions as they were known on the own load_date, without a condition on it.",
        examples=["history: {surrogate_key: customer_sk}"],
    )
    indexes: Annotated[dict[Identifier, Annotated[list[str], Field(min_length=1)]], Affects.NOTHING] = Field(
        default={},
        description="More indexes of the published table, for those who read it: each has a name and the columns by "
        "which it finds rows. The next publish creates, changes or drops them.",
        examples=["indexes: {by_customer: [customer_id], by_day: [sold_on, shop]}"],
    )
    lookback: Annotated[Lookback | None, Affects.ROWS | Affects.CHECKS] = Field(
        default=None,
        description="How many calendar days of load_dates the SELECT may read, its own load_date the last. "
        "`lookback: 28` is short for `lookback: {days: 28}`.",
        examples=["lookback: {days: 28, rows: all}"],
    )
    versions: Annotated[Literal["latest"] | None, Affects.NOTHING] = Field(
        default=None,
        description="`latest`, for a table that others read over a window: its grain names the same thing in every "
        "load_date, and only its latest row in the window counts.",
        examples=["versions: latest"],
    )
    kpi: Annotated[Kpi | None, Affects.CHECKS] = Field(
        default=None,
        description="Makes the table a KPI. Readers get the view `<table>_latest` and a tile for each measure, and the "
        "UI gets a chart. No word of it but `final` changes a version of the table.",
        examples=["kpi: {chart: {x: country, y: revenue}}", _KPI_EXAMPLE],
    )
    min_volume: Annotated[MinVolume | None, Affects.ROWS] = Field(
        default=None,
        description="For a KPI: rows that rest on too little are kept and marked in the column `is_low_volume`, which "
        "this word adds. The view `<table>_latest`, the chart and `kpi show` leave them out.",
        examples=["min_volume: {column: orders, at_least: 20}"],
    )
    freshness: Annotated[Freshness | None, Affects.NOTHING] = Field(
        default=None,
        description="For a KPI: it is late when its latest published load_date ended longer ago than this. A load_date "
        "ends at 24:00 UTC. A KPI that reads tables that grow may count in minutes.",
        examples=["freshness: {within_hours: 36}", "freshness: {within_minutes: 3}"],
    )
    readers: Annotated[Literal["mask"] | None, Affects.NOTHING] = Field(
        default=None,
        description="`mask`, for a table with personal columns, which `kpi_reader` may not read: readers get the view "
        "`<table>_masked`, which has all columns and `(masked)` in the place of each personal value.",
        examples=["readers: mask"],
    )
    refresh: Annotated[Refresh | None, Affects.NOTHING] = Field(
        default=None,
        description="For a table that reads tables that grow: a live run builds it again only so long after its last "
        "build. Without this word, it is built in each tick that has new rows for it.",
        examples=["refresh: {minutes: 15}"],
    )

    repeats: Annotated[Repeats | None, Affects.ROWS] = Field(
        default=None,
        description="For a table that grows and has a SELECT: a row whose grain came before is left out and counted. "
        "Without this word, the grain must name `batch`, so that no two batches share a key.",
        examples=["repeats: {keep: first, load_dates: 2}"],
    )
    rollback: Annotated[Kept | None, Affects.NOTHING] = Field(
        default=None,
        description="How much is kept of what readers saw of each load_date before, so that `kpi rollback` can show it "
        "again. Without this word, as pipeline.yaml says.",
        examples=["rollback: {keep: 2, days: 14}"],
    )
    time_limit: Annotated[TimeLimit | None, Affects.NOTHING] = Field(
        default=None,
        description="How long the build of one load_date may take, from its first row to its last check. Waiting for "
        "locks and readers does not count. Beyond it the build fails, and nothing is published.",
        examples=["time_limit: {minutes: 30}"],
    )

    subject: Annotated[dict[Identifier, Expression], Affects.NOTHING] = Field(
        default={},
        description="For a raw table: the kinds of persons whom its rows are about, each with the column that names "
        "one, or with lower, upper, trim and replace of it. `kpi erase` finds a person by it, and no load brings back "
        "who was erased.",
        examples=["subject: {customer: customer_id}", "subject: {customer: lower(trim(email))}"],
    )
    erase: Annotated[Literal["rows", "values"], Affects.NOTHING] = Field(
        default="rows",
        description="What is erased of a person: `rows` are left out. With `values` they stay, for sums that must not "
        "change: their key is replaced, and their other personal columns are NULL.",
        examples=["erase: values"],
    )

    _grows: bool = PrivateAttr(default=False)

    @property
    def grows(self) -> bool:
        """Whether the table grows: its source is a stream, or its SELECT has the parameter `batch`."""
        return self._grows

    @property
    def storage_kind(self) -> StorageKind:
        """The traits of the word `storage`."""
        return STORAGES[self.storage]

    @property
    def is_raw(self) -> bool:
        """Whether the table is raw: it has a source instead of a SELECT."""
        return self.source is not None

    @property
    def has_object(self) -> bool:
        """Whether the rows of each load_date come from one S3 object; those of a stream come from many."""
        return self.source is not None and bool(self.source.object) and not self.source.stream

    @property
    def delivered(self) -> dict[str, Column]:
        """The columns that the fields of an object fill: all but those that words of the source add."""
        added = self._added
        return {name: column for name, column in self.columns.items() if name not in added}

    @property
    def _added(self) -> dict[str, tuple[str, Column]]:
        """The columns that words of the source, or growing, add: name -> (word, column)."""
        source, found = self.source, {}
        if self._grows:
            of_stream = bool(source and source.stream)
            word = "source.stream" if of_stream else f"%({BATCH})s"
            found = {name: (word, column) for name, column in made_columns(of_stream=of_stream).items()}
        if source and source.position:
            position = "Number of the record in its object, from 1."
            found[source.position] = ("position", Column(type="bigint", description=position))
        if source and source.object_key:
            key = "Key of the object that the row comes from."
            found[source.object_key] = ("object_key", Column(type="text", description=key))
        if source and source.whole:
            whole = "The record as it was received, letter by letter."
            found[source.whole] = ("whole", Column(type="json", description=whole))
        if source and source.extra == "keep":
            fields = "Fields of the file that are no column, as texts by name; NULL if there are none."
            found[EXTRA_FIELDS] = ("extra", Column(type="jsonb", description=fields))
        return found

    @property
    def readable(self) -> dict[str, Column]:
        """The columns of the published table, which a SELECT may read; a history has more than the rows of a build."""
        if self.history is None:
            return self.columns
        key, *others = version_columns(self.history, self.grain).items()
        return dict([key, *self.columns.items(), *others])

    @property
    def selected(self) -> list[str]:
        """The columns that the SELECT returns: all but those that min_volume and growing add."""
        made = {*([LOW_VOLUME] if self.min_volume else []), *([BATCH] if self._grows else [])}
        return [name for name in self.columns if name not in made]

    @property
    def subjects(self) -> list[Subject]:
        """The kinds of persons whom the rows are about."""
        return subjects_of(self.subject)

    @property
    def dimensions(self) -> list[str]:
        """The columns by which readers may filter the rows of a KPI."""
        declared = self.kpi.dimensions if self.kpi else []
        return list(self.grain if declared is None else declared)

    def measure_sql(self, name: str) -> str:
        """Return the value of a measure as SQL over rows of the table: a numeric or NULL."""
        assert self.kpi is not None
        return self.kpi.measures[name].sql({column: each.type for column, each in self.columns.items()})

    @field_validator("lookback", mode="before")
    @classmethod
    def _days_alone(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, dict) else {"days": value}

    @model_validator(mode="after")
    def _makes_sense(self, info: ValidationInfo) -> "Header":
        self._grows = bool((self.source and self.source.stream) or (info.context or {}).get("grows"))
        added = self._added
        refuse(
            [
                *(
                    (("columns", name), f"every table that grows has this column ({word}): take it out")
                    if self._grows
                    else (
                        ("source", word),
                        f"it makes the column {name!r}, which is declared too: take one of them out",
                    )
                    for name, (word, _) in added.items()
                    if name in self.columns
                ),
                *dialect.problems(self.source, self.columns),
            ]
        )
        self.columns.update({name: column for name, (_, column) in added.items()})
        problems = (
            self._volume_problems(),
            self._name_problems(),
            self._storage_problems(),
            self._growing_problems(),
            self._kpi_problems(),
            self._final_problems(),
            subject_problems(self),
        )
        refuse(problem for found in problems for problem in found)
        if volume := self.min_volume:
            below = f"Whether {volume.column} is below {volume.at_least} or unknown"
            self.columns[LOW_VOLUME] = Column(
                type="boolean", description=f"{below}; the view for readers leaves it out."
            )
        refuse(
            (loc, problem)
            for loc, column, value in self._constants()
            if (problem := _misfit(value, self.columns[column].type))
        )
        return self

    def _volume_problems(self) -> Iterator[tuple[Loc, str]]:
        volume = self.min_volume
        if volume is None:
            return
        if self.kpi is None or self.source or not self.storage_kind.stores_rows:
            yield ("min_volume",), "is for a KPI with a SELECT whose rows are stored: take it out"
        if LOW_VOLUME in self.columns:
            yield ("columns", LOW_VOLUME), "min_volume makes this column: take it out"
        if volume.column in self.columns and self.columns[volume.column].type not in KEY_TYPES:
            known = ", ".join(KEY_TYPES)
            yield ("min_volume", "column"), f"{volume.column!r} counts nothing: name a column of type {known}"

    def _kpi_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield what does not fit the columns that a KPI names; unknown columns are found by _name_problems."""
        if self.kpi is None:
            return
        types, chart = {name: column.type for name, column in self.columns.items()}, self.kpi.chart
        if chart.labels and chart.x in types and (problem := chart.label_problem(types[chart.x])):
            yield ("kpi", "chart", "labels"), problem
        dimensions = self.kpi.dimensions or ()
        for number, column in enumerate(dimensions):
            if column in dimensions[:number]:
                yield ("kpi", "dimensions", number), f"{column!r} is named twice: take it out once"
            elif column == LOW_VOLUME and self.min_volume:
                yield ("kpi", "dimensions", number), f"readers are shown no row with {LOW_VOLUME}: take it out"
            elif types.get(column, "") == "jsonb" or element_of(types.get(column, "")):
                problem = (
                    f"{column!r} is {types[column]}, of which nobody filters a value: name a column with one value"
                )
                yield ("kpi", "dimensions", number), problem
        for name, measure in self.kpi.measures.items():
            if LOW_VOLUME in measure.columns and self.min_volume:
                yield ("kpi", "measures", name, "value"), f"readers are shown no row with {LOW_VOLUME}: take it out"
                continue
            try:
                measure.sql(types)
            except ValueError as error:
                yield ("kpi", "measures", name, "value"), str(error)

    def _final_problems(self) -> Iterator[tuple[Loc, str]]:
        final = self.kpi.final if self.kpi else None
        if final and not self.storage_kind.has_checks:
            yield ("kpi", "final"), "is for a KPI that has rows of its own, and this one shows those of another table"
        by = final.by if final else None
        if by in self.columns and (by not in self.grain or self.columns[by].type != "date"):
            yield ("kpi", "final", "by"), f"{by!r} tells no row by its day: name a column of the grain of the type date"

    def _name_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield the columns with impossible names, and the words that name unknown columns."""
        if LOAD_DATE in self.columns and self.storage_kind.has_load_date:
            yield ("columns", LOAD_DATE), "it is every table's first column already: take it out"
        for column in self.columns:
            if column in SYSTEM_COLUMNS:
                yield ("columns", column), "every table of Postgres has a hidden column of this name: give it another"
        known = {*self.columns, *([LOW_VOLUME] if self.min_volume else [])}
        for loc, column in self._mentions():
            if column not in known:
                yield loc, f"{column!r} is not one of the columns ({', '.join(self.columns)})"
            elif self.columns.get(column, _OTHER).type == "json" and loc[:2] != ("checks", "not_null"):
                yield loc, f"{column!r} is json, of which PostgreSQL compares no values: declare jsonb, or take it out"
        if len(set(self.grain)) < len(self.grain):
            yield ("grain",), "a column is named twice: take it out once"

    def _storage_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield the words that another word of the header forbids."""
        kind = self.storage_kind
        if not kind.has_load_date:
            for word in sorted(self.model_fields_set - _WITHOUT_LOAD_DATES):
                yield (word,), f"is for tables with load_dates, and storage: {kind.name} has none: take it out"
            return
        if not kind.has_checks and self.checks != Checks():
            yield ("checks",), f"a {kind.name} shows what its table shows, before any check: put them there"
        if not kind.has_checks and self.quality:
            yield ("quality",), f"a {kind.name} shows what its table shows, before any check: put it there"
        yield from self._problems_without_rows()
        if not kind.stores_rows and self.versions:
            yield ("versions",), f"a {kind.name} has what its table says: put it there"
        if self.lookback and not kind.keeps_versions and (self.source or not kind.may_look_back):
            reason = (
                "raw table reads the object of its load_date" if self.source else f"{kind.name} shows one load_date"
            )
            yield ("lookback",), f"a {reason}: look back in a table that has a SELECT and stores it"
        yield from lake_problems(self)
        yield from history_problems(self.history, is_history=kind.keeps_versions, columns=self.columns)
        if kind.keeps_versions:
            yield from self._problems_of_history()
        more = {LOW_VOLUME: _OTHER} if self.min_volume else {}
        indexes = {} if kind.in_lake else self.indexes  # which lake_problems refuses
        yield from index_problems(indexes, kind, {**self.readable, **more}, self.grain, self.history)
        yield from quarantine_problems(self.quarantine, self.storage_kind, is_raw=self.is_raw)
        if self.freshness and not self.kpi:
            yield ("freshness",), "is for KPIs: say kpi as well, or take it out"

    def _growing_problems(self) -> Iterator[tuple[Loc, str]]:
        """Yield the words that a table that grows cannot have, and `repeats` at any other."""
        if not self._grows:
            if self.refresh and self.source:
                yield ("refresh",), "a raw table is built from its object: take it out"
            if self.repeats:
                yield ("repeats",), f"is for a SELECT that grows, which reads one batch (%({BATCH})s): take it out"
            return
        if not self.storage_kind.sliceable:
            yield ("storage",), "a table that grows keeps each load_date apart: write storage: partitions"
        for word, reason in _NOT_OF_GROWING.items():
            if getattr(self, word):
                yield (word,), reason
        for word, reason in _NOT_OF_BATCHES.items():
            if getattr(self.checks, word):
                yield ("checks", word), f"{reason}: take it out"
        yield from self._problems_of_stream() if self.source else self._problems_of_growing_select()

    def _problems_of_stream(self) -> Iterator[tuple[Loc, str]]:
        if self.repeats:
            yield ("repeats",), "each event of a stream is kept: leave repeats out in a table that selects from it"
        if self.grain != [*PLACE]:
            yield ("grain",), f"an event is known by its place in the stream: write [{', '.join(PLACE)}]"
        if self.quarantine and self.quarantine.rows is not None:
            yield (
                ("quarantine", "rows"),
                "a stream has no end to count to: say which share of the records may be set aside",
            )

    def _problems_of_growing_select(self) -> Iterator[tuple[Loc, str]]:
        if self.quarantine:
            yield ("quarantine",), "rules set rows of a whole load_date aside: use them in a table that reads this one"
        if not self.repeats and BATCH not in self.grain:
            yield (
                ("grain",),
                f"two batches may have rows with the same {', '.join(self.grain)}: add {BATCH}, or leave out what "
                "comes again by `repeats: {keep: first}`",
            )
        if self.repeats and BATCH in self.grain:
            yield ("repeats",), f"no row of another batch has the same grain, which names {BATCH}: take one of them out"
        if self.repeats:
            yield from place_problems(self.columns)

    def _problems_without_rows(self) -> Iterator[tuple[Loc, str]]:
        """Yield the words that need rows of the table's own."""
        for word, done in (("time_limit", "built"), ("rollback", "kept")):
            if not self.storage_kind.stores_rows and getattr(self, word):
                yield (word,), f"a {self.storage} has no rows to be {done}: put it at the table that it shows"

    def _problems_of_history(self) -> Iterator[tuple[Loc, str]]:
        """Yield the words that a history cannot have."""
        if self.source:
            yield ("storage",), "a history is of a table with a SELECT: select from the raw table in a file of its own"
        if self.lookback:
            yield ("lookback",), "the rows of a history are those of one load_date: look back in a table that it reads"
        if self.kpi:
            yield ("kpi",), "a KPI has the rows of each load_date, and a history versions: select the KPI from it"
        if self.versions:
            yield ("versions",), "is for tables that are read over a window, and a history is not: take it out"

    @property
    def _by_word(self) -> Iterator[tuple[Loc, CheckWord, Any]]:
        """Yield (place, word, value) for each built-in word below `checks` and below the rules of the quarantine."""
        yield from ((("checks", word.name), word, getattr(self.checks, word.name)) for word in WORDS.values())
        rules = self.quarantine and self.quarantine.rules
        for word in RULE_WORDS.values() if rules else ():
            yield ("quarantine", "rules", word.name), word, getattr(rules, word.name)

    def _mentions(self) -> Iterator[tuple[Loc, str]]:
        """Yield (place, column) for each column that a word names."""
        yield from ((("grain", number), column) for number, column in enumerate(self.grain))
        for place, word, value in self._by_word:
            yield from (((*place, *loc), column) for loc, column in word.columns(value))
        if self.kpi:
            yield from ((("kpi", "chart", axis), getattr(self.kpi.chart, axis)) for axis in ("x", "y"))
            yield from ((("kpi", "dimensions", n), column) for n, column in enumerate(self.kpi.dimensions or ()))
            if self.kpi.final and self.kpi.final.by:
                yield ("kpi", "final", "by"), self.kpi.final.by
            for name, measure in self.kpi.measures.items():
                columns = (column for column in measure.columns if column != LOAD_DATE)
                yield from ((("kpi", "measures", name, "value"), column) for column in columns)
        if self.min_volume:
            yield ("min_volume", "column"), self.min_volume.column

    def _constants(self) -> Iterator[tuple[Loc, str, Value]]:
        """Yield (place, column, value) for each constant that a column is compared with."""
        for place, word, value in self._by_word:
            yield from (((*place, *loc), column, constant) for loc, column, constant in word.constants(value))


def _misfit(value: Value, type_: str) -> str:
    """Return why a constant of this YAML type cannot be compared with a column of this type; empty if it can."""
    base = base_of(type_)
    if base in KEY_TYPES and isinstance(value, float) and not isfinite(value):
        return f"the column is {type_}, which has no infinity: write null for an open end"
    if base in NUMBERS:
        is_number = not isinstance(value, (str, bool)) or (isinstance(value, str) and _DECIMAL.fullmatch(value))
        return (
            "" if is_number else f"{value!r} is not a number, and the column is {type_}: write a plain decimal number"
        )
    if base == "boolean":
        return (
            "" if isinstance(value, bool) else f"{value!r} is not true or false, and the column is boolean: write one"
        )
    if base == "jsonb" or isinstance(value, str):
        return ""
    kind = "true or false" if isinstance(value, bool) else "a number"
    return f"{value!r} is {kind} in YAML, and the column is {type_}: put it in quotes, as it is delivered"


def cut(path: Path, text: str, kind: str = "asset") -> tuple[str, str]:
    """Cut a file into the text of its header and its body; only the body is executed. Raises ModelError.

    Each begins with as many empty lines as there are lines before it, so that line numbers are those of the file.
    """
    match = HEADERS[kind].match(text)
    if match is None and text.startswith(f"/* @{kind}"):
        raise ModelError(path, 1, "has a header that is not closed: write @end */ on a line of its own below it")
    if match is None:
        raise ModelError(
            path, 1, f"does not begin with a header: the first line must be /* @{kind}, and @end */ must close it"
        )
    return "\n" + match.group(1), "\n" * text[: match.end()].count("\n") + text[match.end() :]


def split(path: Path, text: str) -> tuple[Header, Lines, str]:
    """Read a file: its header, the lines of its words, and its body. Raises ModelError."""
    words, body = cut(path, text)
    header, lines = read_words(path, words, body)
    return header, lines, body


def read_words(path: Path, words: str, body: str) -> tuple[Header, Lines]:
    """Read the words of a header; its body says whether the table grows. Raises ModelError."""
    return read(Header, words, path, {"grows": has_batch(body)})
