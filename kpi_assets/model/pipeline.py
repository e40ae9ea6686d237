"""Pipelines: a folder below sql/ with its tables, in the order in which they can be built.

Belongs here: facts that need several tables: inputs, lineage, windows, retention, and when a table is due. Not here:
one table (table.py), the words of pipeline.yaml (pipeline_config.py), and reading the tree (tree.py, folder.py,
neighbors.py).
"""

import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path

from kpi_assets.errors import UsageError
from kpi_assets.model.calendar import EVERY_DAY, Calendar, described, named
from kpi_assets.model.history import version_columns
from kpi_assets.model.names import BATCH, LOW_VOLUME, Relation
from kpi_assets.model.pipeline_config import PIPELINE_FILE, Layer, PipelineConfig
from kpi_assets.model.question import QUESTIONS, Question
from kpi_assets.model.rollback import Kept
from kpi_assets.model.sentences import known_names, known_words
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.model.table import Table

Lineage = dict[str, list[tuple[Relation, str]]]
TAKEN_JOBS = (
    "pipeline",
    "kpis",
    "recheck",
    "retention",
    "live",
)  # each job is called `<pipeline>` or `<pipeline>_<one of these>`
# Names that Dagster refuses for a job: Python's keywords, and words of its own.
_NO_JOBS = frozenset(
    [
        *keyword.kwlist,
        *("context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict", "output_arg_dict"),
        *("int", "str", "float", "bool", "input", "output", "type"),
    ]
)


@dataclass(frozen=True)
class Pipeline:
    """One folder below sql/: its database, its bucket, and its tables in an order in which they can be built."""

    name: str
    path: Path
    config: PipelineConfig
    tables: Mapping[Relation, Table]
    days: Calendar = EVERY_DAY  # the word `calendar` of pipeline.yaml
    live: Mapping[Relation, Table] = field(default_factory=dict)  # the live views, each after those that it reads
    questions: Mapping[str, Question] = field(default_factory=dict)  # by name

    @cached_property
    def calendar(self) -> Calendar:
        """The days that are load_dates, whether or not a table is due on them."""
        return self.days & Calendar(since=self.config.start_date)

    @cached_property
    def calendars(self) -> Mapping[Relation, Calendar]:
        """The days on which each table is due, and every table whose rows of the load_date it reads."""
        found: dict[Relation, Calendar] = {}
        for relation, table in self.tables.items():
            found[relation] = self.calendar & table.source_calendar
            for read in table.load_date_reads:
                found[relation] &= found[read]
        return found

    @cached_property
    def has_calendar(self) -> bool:
        """Whether there is a day after start_date on which something is not due."""
        return any(calendar != Calendar(since=self.config.start_date) for calendar in self.calendars.values())

    def is_table_due(self, table: Table, load_date: date) -> bool:
        """Whether a table is due on a load_date: what is not due is not built, and nothing waits for it."""
        return self.calendars[table.relation].is_due(load_date)

    def is_object_due(self, table: Table, day: date) -> bool:
        """Whether an object of a raw table is due on a day itself, not one that is carried to it.

        One that is carried may come on a day that is no load_date, if a load_date after it reads it.
        """
        if not table.delivery_calendar.is_due(day):
            return False
        last = day + timedelta(days=table.source.carried_days or 0)
        return next(self.calendars[table.relation].between(day, last), None) is not None

    def is_due(self, load_date: date) -> bool:
        """Whether a load_date is in the calendar and a table is due on it."""
        if not self.calendar.is_due(load_date):
            return False
        return not self.has_calendar or any(calendar.is_due(load_date) for calendar in self._different_calendars)

    @cached_property
    def _different_calendars(self) -> list[Calendar]:
        return list(dict.fromkeys(self.calendars.values()))

    def due_tables(self, load_date: date) -> list[Table]:
        """The tables that are due on a load_date, in build order."""
        return [table for table in self.tables.values() if self.is_table_due(table, load_date)]

    def kpis_due(self, load_date: date) -> list[Relation]:
        """The KPIs that are due on a load_date, in build order."""
        return [table.relation for table in self.due_tables(load_date) if table.header.kpi]

    def undue_between(self, first: date, last: date, names: Iterable[Relation] | None = None) -> list[tuple[date, str]]:
        """The (load_date, table) of a range for each table, or each named one, that is not due on a load_date."""
        wanted = {relation: self.calendars[relation] for relation in (self.tables if names is None else names)}
        bounded = [
            (str(relation), each) for relation, each in wanted.items() if not (each.is_daily and each.since <= first)
        ]
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)] if bounded else []
        return [(day, name) for day in days for name, calendar in bounded if not calendar.is_due(day)]

    def not_due(self, table: Table, load_date: date) -> str:
        """Return why a table is not due on a load_date, as a sentence without its end; empty if it is due."""
        if load_date > _today():
            return f"{table.relation} is not due yet on {named(load_date)}, which lies in the future"
        if self.is_table_due(table, load_date):
            return ""
        root = self._undue_root(table, load_date)
        if load_date < self.config.start_date:
            return f"{table.relation} is not due on {named(load_date)}: the first load_date is {self.config.start_date}"
        if root is None:
            return f"{table.relation} is not due on {named(load_date)}: {self._calendar_text}"
        through = "" if root is table else f"it reads {root.relation} of its load_date, and "
        return (
            f"{table.relation} is not due on {named(load_date)}: {through}the object of {root.relation} comes "
            f"{root.source.calendar_text} ({root.path})"
        )

    def object_not_due(self, table: Table, day: date) -> str:
        """Return why an object of a raw table is not due on a day itself, as `not_due` does."""
        if (reason := self.not_due(table, day)) or table.delivery_calendar.is_due(day):
            return reason
        return f"the object of {table.relation} comes {table.source.calendar_text}, not on {named(day)} ({table.path})"

    def _undue_root(self, table: Table, load_date: date) -> Table | None:
        """Return a raw table because of which a table is not due; None if the pipeline's calendar is the reason."""
        if not table.source_calendar.is_due(load_date):
            return table
        roots = (self._undue_root(self.tables[read], load_date) for read in sorted(table.load_date_reads))
        return next((root for root in roots if root), None)

    @property
    def _calendar_text(self) -> str:
        words = self.config.calendar
        return f"its calendar is {described(words.every, words.except_)} (calendar in {self.path / PIPELINE_FILE})"

    @cached_property
    def has_pii(self) -> bool:
        """Whether a table has a personal column."""
        return any(table.pii for table in self.tables.values())

    @property
    def job(self) -> str:
        """The name of the job that builds the whole pipeline: the pipeline's name, unless Dagster refuses it."""
        return f"{self.name}_pipeline" if self.name in _NO_JOBS else self.name

    @property
    def kpis_job(self) -> str:
        """The name of the job that builds only the KPIs."""
        return f"{self.name}_kpis"

    @property
    def recheck_job(self) -> str:
        """The name of the job that makes the checks again and builds nothing."""
        return f"{self.name}_recheck"

    @property
    def live_job(self) -> str:
        """The name of the job that builds a load_date for as long as it grows."""
        return f"{self.name}_live"

    @property
    def has_retention(self) -> bool:
        """Whether the job of retention has something to do: to drop old rows, or to clear up on the lake."""
        return bool(self.config.retention or self.lake_tables)

    @property
    def retention_job(self) -> str:
        """The name of the job that drops old rows."""
        return f"{self.name}_retention"

    @property
    def object_tables(self) -> list[Table]:
        """The raw tables that each read one S3 object a load_date."""
        return [table for table in self.tables.values() if table.has_object]

    def on_engine(self, table: Table) -> bool:
        """Whether an engine computes the rows of a table: they are on the lake, or its SELECT reads a table of it."""
        reads = (self.tables[each].storage for each in table.query_reads if each in self.tables)
        return table.storage.in_lake or any(storage.in_lake for storage in reads)

    @property
    def lake_tables(self) -> list[Table]:
        """The tables whose rows are on the lake, in build order."""
        return [table for table in self.tables.values() if table.storage.in_lake]

    @property
    def stream_tables(self) -> list[Table]:
        """The raw tables whose source is a stream."""
        return [table for table in self.tables.values() if table.stream]

    @property
    def growing_tables(self) -> list[Table]:
        """The tables that grow, in build order."""
        return [table for table in self.tables.values() if table.grows]

    def streams_of(self, table: Table) -> list[Table]:
        """The raw tables of streams from which the rows of a table come, in build order; itself if it is one."""
        names = {*self.made_of[table.relation]}
        return [each for each in self.stream_tables if str(each.relation) in names]

    @cached_property
    def tile_names(self) -> list[str]:
        """The measures of all KPIs as boards name them: `kpi.measure`, with the schema if two KPIs have one name."""
        names = [(relation, measure) for relation, measure in self._measures]
        tables = [relation.table for relation in dict.fromkeys(relation for relation, _ in names)]
        return [
            f"{relation.table if tables.count(relation.table) == 1 else relation}.{measure}"
            for relation, measure in names
        ]

    @property
    def _measures(self) -> list[tuple[Relation, str]]:
        tables = self.tables.items()
        return [
            (relation, name) for relation, table in tables if table.header.kpi for name in table.header.kpi.measures
        ]

    def tiles_called(self, name: str) -> list[tuple[Relation, str]]:
        """Return the measures that `kpi.measure` or `schema.kpi.measure` may mean: one, none, or several."""
        known = self._measures
        return [each for each in known if name in (f"{each[0]}.{each[1]}", f"{each[0].table}.{each[1]}")]

    @cached_property
    def boards(self) -> Mapping[str, Sequence[tuple[Table, str]]]:
        """The boards of pipeline.yaml, each with its tiles in order: a KPI and the name of its measure."""
        return {
            board: [(self.tables[relation], measure) for name in names for relation, measure in self.tiles_called(name)]
            for board, names in self.config.boards.items()
        }

    def table(self, name: str) -> Table:
        """Return the table called `schema.table`. Raises UsageError that names the nearest and lists all tables."""
        for relation, table in self.tables.items():
            if str(relation) == name:
                return table
        if self.live_view(name):
            raise UsageError(
                f"{name} is a live view, of which nothing is built: `kpi show {self.name} {name}` shows it."
            )
        raise UsageError(f"{self.name} has no table {name!r}: {known_names(name, [*map(str, self.tables)])}.")

    def question(self, name: str) -> Question:
        """Return the question of that name. Raises UsageError that names the nearest, or all."""
        if name in self.questions:
            return self.questions[name]
        raise UsageError(
            f"{self.name} has no question {name!r} ({self.path / QUESTIONS}): {known_words(name, [*self.questions])}."
        )

    def live_view(self, name: str) -> Table | None:
        """Return the live view called `schema.table`; None if there is none."""
        return next((table for relation, table in self.live.items() if str(relation) == name), None)

    def layer(self, relation: Relation) -> Layer:
        """Return the layer of a table."""
        return self.config.layers[relation.schema]

    def retention_days(self, table: Table) -> int | None:
        """Return the days for which retention keeps a table's load_dates; None if it keeps all, as for marts and KPIs.

        The result is None for a view too, which has no rows of its own, and for a history, which keeps its versions.
        The latest published load_date of a table that carries on is kept however old it is.
        """
        if table.header.history:
            return None
        if str(table.relation) in self.config.retention:
            return self.config.retention[str(table.relation)]
        if table.header.kpi or not table.storage.stores_rows:
            return None
        return self.config.retention.get(table.relation.schema)

    def kept_of(self, table: Table) -> Kept:
        """Return how much is kept of what readers saw of a table before; nothing of what has no rows, or grows."""
        if table.grows or table.storage.in_lake or not table.storage.stores_rows:
            return Kept(keep=0)
        return table.header.rollback or self.config.rollback

    def views_of(self, relation: Relation) -> list[Relation]:
        """Return the views that show a table."""
        views = (table for table in self.tables.values() if not table.storage.stores_rows)
        return [view.relation for view in views if view.origin.relation == relation]

    def lineage(self, table: Table) -> Lineage:
        """Return, for each column of a table, the columns of others that it is computed from; empty for a raw table.

        The number of a version is computed from its key, and its dates from every column, of which one has changed.
        It is found once: that takes longer than a small build, and each build shows it.
        """
        if table.path not in self._lineages:
            self._lineages[table.path] = self._find_lineage(table)
        return self._lineages[table.path]

    @cached_property
    def _lineages(self) -> dict[Path, Lineage]:
        """What `lineage` has found, by file."""
        return {}

    def _find_lineage(self, table: Table) -> Lineage:
        if table.query is None:
            return {}
        of_query = table.query.lineage({relation: [*other.header.readable] for relation, other in self.tables.items()})
        found = {name: [leaf for leaf in of if leaf[0] != table.relation] for name, of in of_query.items()}
        if found and table.grows:
            found[BATCH] = [(read, BATCH) for read in table.growing_reads]
        volume = table.header.min_volume
        if history := table.header.history if found else None:
            made = version_columns(history, table.header.grain)
            everything = sorted({leaf for of in found.values() for leaf in of})
            of_key = sorted({leaf for name in table.header.grain for leaf in found[name]})
            return {**found, **dict.fromkeys(made, everything), history.surrogate_key: of_key}
        return {**found, LOW_VOLUME: found[volume.column]} if volume and found else found

    def inputs_of(self, table: Table) -> list[Relation]:
        """Return the tables that must be published before a table, with the tables that views among them show."""
        return self._with_origins(table.reads)

    @cached_property
    def made_of(self) -> Mapping[Relation, Sequence[str]]:
        """For each table, the tables and objects (`s3.x`) from which its rows come, in build order, itself the last."""
        found: dict[Relation, dict[str, None]] = {}
        for relation, table in self.tables.items():
            own: dict[str, None] = {}
            for read in self.inputs_of(table):
                own.update(found.get(read, {}))
            if table.has_object:
                own[table.object_name] = None
            own[str(relation)] = None
            found[relation] = own
        return {relation: [*names] for relation, names in found.items()}

    def window_inputs_of(self, table: Table) -> list[Relation]:
        """Return the inputs that a table reads over a window of load_dates."""
        return self._with_origins(table.window_reads)

    def histories_of(self, table: Table) -> list[Relation]:
        """Return the histories that a table reads."""
        return [relation for relation in table.reads if self.tables[relation].header.history]

    def _with_origins(self, names: Iterable[Relation]) -> list[Relation]:
        return sorted({*names, *(self.tables[name].origin.relation for name in names)})

    def window_start(self, table: Table, load_date: date) -> date:
        """Return the first load_date of the window of a table with `lookback`, not before the pipeline's first."""
        assert table.header.lookback is not None
        return max(self.config.start_date, load_date - timedelta(days=table.header.lookback.days - 1))

    def co_sliced_inputs(self, table: Table) -> dict[Relation, Relation]:
        """Return the inputs of a large table that can be read in the slices in which the table itself is built.

        Their key determines the first column of the table's grain. Each input is returned with its origin: the large
        table that it is, or that it shows as a view.
        """
        if table.query is None or not table.storage.sliceable:
            return {}
        found = {}
        for each in table.query.pushdown_targets(table.header.grain[0]):
            named = self.tables[each.table.relation]
            origin = self.tables[named.origin.relation]
            key = origin.header.grain[0]
            is_key = named.origin.columns.get(each.column) == key and origin.header.columns[key].type in KEY_TYPES
            if is_key and origin.storage.sliceable:
                found[named.relation] = origin.relation
        return found

    def check_load_date(self, load_date: date) -> date:
        """Return the date if it may be loaded today.

        Raises UsageError if it is before the start, in the future, or not in the calendar.
        """
        self._check_bounds(load_date)
        if not self.calendar.is_due(load_date):
            raise UsageError(
                f"{self.name} has no load_date {named(load_date)}: {self._calendar_text}; if something did come on "
                "that day, change the calendar first."
            )
        return load_date

    def check_delivery(self, day: date, tables: Iterable[Table]) -> None:
        """Raise UsageError if no object of these tables lands for a day: it is no load_date, and none is carried on."""
        is_carried = any(table.source.carried_days and self.is_object_due(table, day) for table in tables)
        if not is_carried or day > _today():
            self.check_load_date(day)

    def is_next(self, load_date: date) -> bool:
        """Whether a day in the future is the next load_date, and today is none."""
        today = _today()
        return load_date > today and not self.calendar.is_due(today) and self.calendar.next_after(today) == load_date

    def check_due(self, table: Table, load_date: date) -> None:
        """Raise UsageError if a table, and so its object, may not be built for a load_date."""
        self.check_load_date(load_date)
        if reason := self.not_due(table, load_date):
            raise UsageError(f"{reason}.")

    def _check_bounds(self, load_date: date) -> None:
        today = _today()
        if load_date < self.config.start_date:
            raise UsageError(
                f"{self.name} has no load_date {load_date}: its first is {self.config.start_date} "
                f"(start_date in {self.path / PIPELINE_FILE})."
            )
        if load_date > today:
            raise UsageError(f"The load_date {load_date} lies in the future: today is {today} (UTC).")

    def load_dates(self, first: date, last: date) -> list[date]:
        """Return every load_date from `first` to `last` that is in the calendar.

        Raises UsageError if there is none, or an end is out of bounds.
        """
        if first > last:
            raise UsageError(f"The range from {first} to {last} is empty: give the earlier date first.")
        self._check_bounds(first)
        self._check_bounds(last)
        found = list(self.calendar.between(first, last))
        if not found:
            raise UsageError(f"{self.name} has no load_date from {first} to {last}: {self._calendar_text}.")
        return found


def _today() -> date:
    return datetime.now(timezone.utc).date()
