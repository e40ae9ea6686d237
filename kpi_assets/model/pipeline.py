"""Pipelines: the tree below sql/ as a whole, in the order in which its tables can be built.

Belongs here: finding the files, and what only their neighbours can tell: unknown tables, cycles, lineage.
Not here: what one file says (header.py, query.py, checks.py).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from kpi_assets.errors import UsageError
from kpi_assets.model.automation import Automation
from kpi_assets.model.checks import Check, MinRows, Reconcile, expand
from kpi_assets.model.column_reads import columns_read, names_read
from kpi_assets.model.header import Header, Sentence, split
from kpi_assets.model.lookback import WINDOW_START, Key
from kpi_assets.model.mention import THIS
from kpi_assets.model.names import IDENTIFIER, LOAD_DATE, LOW_VOLUME, Identifier, Relation
from kpi_assets.model.query import Query, digest, parse_query
from kpi_assets.model.replay import check_replay
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.model.strict_yaml import Lines, MisplacedError, ModelError, Strict, read
from kpi_assets.model.sums import check_summand

Layer = Literal["raw", "staging", "marts"]
PIPELINE_FILE = "pipeline.yaml"
TAKEN_DATABASES = ("postgres", "template0", "template1", "dagster")  # the last holds the Dagster instance
RESERVED = ("ops", "builds", "public", "information_schema")  # schemas that no pipeline's tables may lie in


class PipelineConfig(Strict):
    """pipeline.yaml: what holds for all of a pipeline's tables."""

    description: Sentence
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    start_date: date  # the first load_date
    layers: Annotated[dict[Identifier, Layer], Field(min_length=1)]  # schema -> what its rows count as in a run's log
    readers: list[Identifier] = []  # schemas that the role kpi_reader may read, besides ops
    automation: Automation = Automation()
    # Schema of raw or staging -> days for which its load_dates are kept; S3 can give them again. Others stay for ever.
    retention: dict[Identifier, Annotated[int, Field(ge=1, le=36_500)]] = {}

    @field_validator("start_date", mode="before")
    @classmethod
    def _is_a_date(cls, value: object) -> date:
        return parse_date(str(value))

    @model_validator(mode="after")
    def _schemas_are_its_own(self) -> "PipelineConfig":
        for schema in self.layers:
            if schema in RESERVED or schema.startswith("pg_"):
                raise MisplacedError(("layers", schema), "this schema is taken: give it another name")
        for number, schema in enumerate(self.readers):
            if schema not in self.layers:
                raise MisplacedError(
                    ("readers", number), f"{schema!r} is none of the layers ({', '.join(self.layers)})"
                )
        for schema in self.retention:
            if self.layers.get(schema, "marts") == "marts":
                others = ", ".join(name for name, layer in self.layers.items() if layer != "marts")
                raise MisplacedError(("retention", schema), f"only raw and staging are dropped ({others}): marts stay")
        return self


@dataclass(frozen=True)
class Table:
    """One file below sql/: a raw table (it has a source) or a SELECT (it has a query)."""

    pipeline: str
    relation: Relation
    path: Path
    header: Header
    query: Query | None
    checks: tuple[Check, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """Its asset key."""
        return (self.pipeline, *self.relation)

    @property
    def object_name(self) -> str:
        """What a raw table's object is called in ops and for people: `s3.<table>`."""
        return f"s3.{self.relation.table}"

    @property
    def columns(self) -> list[str]:
        """Its columns in order, without load_date."""
        return list(self.header.columns)

    @property
    def types(self) -> dict[str, str]:
        """Their types."""
        return {name: column.type for name, column in self.header.columns.items()}

    @cached_property
    def mentions(self) -> dict[Relation, int]:
        """The tables that it reads, sorted, and the line of the file on which each is first named."""
        found: dict[Relation, int] = {}
        for each in (*self.checks, self.query):
            found.update(each.mentions if each else {})
        return dict(sorted(found.items()))

    @property
    def queries(self) -> list[Query]:
        """Its SELECT, and those of its checks."""
        of_checks = [query for check in self.checks for query in check.queries]
        return [self.query, *of_checks] if self.query else of_checks

    @cached_property
    def names_read(self) -> set[str]:
        """Every name in these that may be a column of a table that they read."""
        names: set[str] = set()
        return names.union(*(names_read(query.tree) for query in self.queries))

    @property
    def reads(self) -> tuple[Relation, ...]:
        """The tables that must be published before it: those of its SELECT and those of its checks."""
        return tuple(self.mentions)

    @property
    def query_reads(self) -> tuple[Relation, ...]:
        """Those of them that its SELECT reads."""
        return self.query.reads if self.query else ()

    @cached_property
    def window_reads(self) -> tuple[Relation, ...]:
        """Those of them that it reads over a window of load_dates, sorted; none without `lookback`."""
        return tuple(sorted({relation for query in self.queries for relation in query.window_reads}))

    @property
    def shows(self) -> tuple[Relation, dict[str, str]]:
        """Of a view: the table that it shows, and its columns as name here -> name there."""
        assert self.query is not None and self.query.projection is not None
        return self.query.projection

    @cached_property
    def code_version(self) -> str:
        """16 hex digits that change when the same input would give another table: not for a comment or a check."""
        columns = ",".join(f"{name} {column.type}" for name, column in self.header.columns.items())
        source = self.header.source
        origin = self.query.fingerprint if self.query else f"{source.object} {source.format}" if source else ""
        volume = self.header.min_volume
        return digest(
            origin,
            columns,
            *([f"lookback {self.header.lookback.days}"] if self.header.lookback else []),
            *([f"{volume.column} {volume.at_least}"] if volume else []),
        )

    @cached_property
    def checks_version(self) -> str:
        """16 hex digits that change when the same rows might be judged otherwise, by the file or by KPI_MIN_ROWS."""
        judged = self.header.model_dump_json(include={"grain", "checks", "source"})
        minimum = [str(check.at_least) for check in self.checks if isinstance(check, MinRows)]
        windows = {part for check in self.checks for query in check.queries for part in query.window_versions}
        return digest(judged, *minimum, *sorted(windows))

    @cached_property
    def object_version(self) -> str:
        """16 hex digits of what a raw table's object is compared with when it is verified."""
        source = self.header.source
        assert source is not None
        strictness = [] if source.ends_with_line_end == "warn" else [f"ends_with_line_end {source.ends_with_line_end}"]
        return digest(source.object, source.format, *self.columns, *strictness)

    def object_key(self, load_date: date) -> str:
        """The S3 key of a raw table's object."""
        assert self.header.source is not None
        return self.header.source.object.replace(f"{{{LOAD_DATE}}}", load_date.isoformat())


@dataclass(frozen=True)
class Pipeline:
    """One folder below sql/: its database, its bucket, and its tables in an order in which they can be built."""

    name: str
    path: Path
    config: PipelineConfig
    tables: Mapping[Relation, Table]

    @property
    def recheck_job(self) -> str:
        """The name of the job that makes its checks again and builds nothing."""
        return f"{self.name}_recheck"

    @property
    def sources(self) -> list[Table]:
        """The raw tables, each of which reads one S3 object."""
        return [table for table in self.tables.values() if table.header.source]

    def table(self, name: str) -> Table:
        """The table called `schema.table`. Raises UsageError that lists the known ones."""
        for relation, table in self.tables.items():
            if str(relation) == name:
                return table
        known = ", ".join(str(relation) for relation in self.tables)
        raise UsageError(f"{self.name} has no table {name!r}: it has {known}.")

    def layer(self, relation: Relation) -> Layer:
        """The layer that a table's rows count as."""
        return self.config.layers[relation.schema]

    def kept_days(self, table: Table) -> int | None:
        """For how many days retention keeps its load_dates; None where they stay, as marts and KPIs do.

        A view has no rows of its own: it goes with what it shows.
        """
        if table.header.kpi or table.header.storage == "view":
            return None
        return self.config.retention.get(table.relation.schema)

    def views_of(self, relation: Relation) -> list[Relation]:
        """The views that show a table."""
        views = (table for table in self.tables.values() if table.header.storage == "view")
        return [view.relation for view in views if view.shows[0] == relation]

    def lineage(self, table: Table) -> dict[str, list[tuple[Relation, str]]]:
        """For each column of a table, the columns it is computed from; a raw table's come from its file."""
        if table.query is None:
            return {}
        found = table.query.lineage({relation: other.columns for relation, other in self.tables.items()})
        volume = table.header.min_volume
        return {**found, LOW_VOLUME: found[volume.column]} if volume else found

    def inputs_of(self, table: Table) -> list[Relation]:
        """The tables that must be published before it, with those behind the views among them."""
        return self._with_shown(table.reads)

    def window_inputs_of(self, table: Table) -> list[Relation]:
        """Those of them that it reads over a window of load_dates."""
        return self._with_shown(table.window_reads)

    def _with_shown(self, names: Iterable[Relation]) -> list[Relation]:
        behind = [self.tables[name].shows[0] for name in names if self.tables[name].header.storage == "view"]
        return sorted({*names, *behind})

    def window_start(self, table: Table, load_date: date) -> date:
        """The first load_date of the window of a table with `lookback`: the pipeline's first, where that is later."""
        assert table.header.lookback is not None
        return max(self.config.start_date, load_date - timedelta(days=table.header.lookback.days - 1))

    def sliced_by_key(self, table: Table) -> dict[Relation, Relation]:
        """The tables that a large table's SELECT names whose key decides on the first column of the large one's grain.

        Each with the large table that it is, or that it shows as a view. What is built of slices of them can be built
        in the same slices.
        """
        if table.query is None or table.header.storage != "partitions":
            return {}
        found = {}
        for each in table.query.narrowable(table.header.grain[0]):
            named = origin = self.tables[each.mention.relation]
            key = each.column
            if named.header.storage == "view":
                shown, columns = named.shows
                origin, key = self.tables[shown], columns[key]
            is_key = origin.header.grain[0] == key and origin.header.columns[key].type in KEY_TYPES
            if is_key and origin.header.storage == "partitions":
                found[named.relation] = origin.relation
        return found

    def check_load_date(self, load_date: date) -> date:
        """The date itself, if it may be loaded today. Raises UsageError for one before the start or in the future."""
        today = datetime.now(timezone.utc).date()
        if load_date < self.config.start_date:
            raise UsageError(
                f"{self.name} knows no load_date {load_date}: its first is {self.config.start_date} "
                f"(start_date in {self.path / PIPELINE_FILE})."
            )
        if load_date > today:
            raise UsageError(f"The load_date {load_date} lies in the future: today is {today} (UTC).")
        return load_date

    def load_dates(self, first: date, last: date) -> list[date]:
        """Every load_date from `first` to `last`. Raises UsageError for a range that is empty or out of bounds."""
        if first > last:
            raise UsageError(f"The range from {first} to {last} is empty: give the earlier date first.")
        self.check_load_date(first), self.check_load_date(last)
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def parse_date(text: str) -> date:
    """Read YYYY-MM-DD. Raises ValueError with a sentence."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a date: write it as YYYY-MM-DD")


def load_pipelines(sql_dir: Path, minimum_rows: Mapping[str, int] | None = None) -> dict[str, Pipeline]:
    """Read every pipeline below `sql_dir`, by name. Raises ModelError, or UsageError where there is none.

    `minimum_rows` are this environment's minimum rows, by `pipeline.schema.table`.
    """
    folders = sorted(path.parent for path in sql_dir.glob(f"*/{PIPELINE_FILE}"))
    if not folders:
        raise UsageError(f"No pipeline lies below {sql_dir}: KPI_SQL_DIR must name a folder with */{PIPELINE_FILE}.")
    pipelines = {folder.name: load_pipeline(folder, minimum_rows or {}) for folder in folders}
    known = {f"{name}.{relation}" for name, pipeline in pipelines.items() for relation in pipeline.tables}
    for name in minimum_rows or {}:
        if name not in known:
            raise UsageError(f"KPI_MIN_ROWS names {name!r}, which is no table: write pipeline.schema.table.")
    return pipelines


def load_pipeline(folder: Path, minimum_rows: Mapping[str, int]) -> Pipeline:
    """Read one pipeline's folder. Raises ModelError."""
    config_path = folder / PIPELINE_FILE
    if not re.fullmatch(IDENTIFIER, folder.name) or len(folder.name) > 40:
        raise ModelError(
            config_path, 1, f"the folder names a database: {folder.name!r} must be 1 to 40 lower case letters"
        )
    if folder.name in TAKEN_DATABASES:
        raise ModelError(
            config_path, 1, f"a database called {folder.name!r} is there for another purpose: rename the folder"
        )
    config, _ = read(PipelineConfig, _text_of(config_path), config_path)
    tables = {}
    for path in sorted(folder.rglob("*.sql")):
        table = _load_table(folder, path, config, minimum_rows)
        tables[table.relation] = table
    pipeline = Pipeline(folder.name, folder, config, _in_build_order(config_path, tables))
    _check_sources(pipeline)
    _check_retention(pipeline)
    return pipeline


def _check_sources(pipeline: Pipeline) -> None:
    """Raise ModelError where two raw tables cannot be told apart on S3 or in ops: each has an object of its own."""
    for one, other in combinations(sorted(pipeline.sources, key=lambda table: table.relation), 2):
        if one.relation.table == other.relation.table:
            raise ModelError(
                other.path,
                1,
                f"{one.relation} is a raw table of the same name, by which the object of each is known: rename one",
            )
        first, second = (table.header.source for table in (one, other))
        assert first is not None
        assert second is not None
        shared = _same_key_on(first.object, second.object)
        if first.object == second.object or (shared and shared >= pipeline.config.start_date):
            when = f" of {shared}" if shared else ""
            raise ModelError(
                other.path,
                1,
                f"{one.relation} reads the same object{when} ({second.object}): give each an object of its own, or let "
                "one table select from the other",
            )


def _same_key_on(one: str, other: str) -> date | None:
    """The load_date on which two templates that differ name the same key; None where there is none.

    Where the same key holds the date at two places, all from the first place on to the second repeats it.
    """
    mark = f"{{{LOAD_DATE}}}"
    one, other = sorted((one, other), key=lambda template: template.index(mark))
    between = other[one.index(mark) : other.index(mark)]
    try:
        shared = parse_date((between * 10)[:10])
    except ValueError:
        return None
    same = one.replace(mark, shared.isoformat()) == other.replace(mark, shared.isoformat())
    return shared if same else None


def _check_retention(pipeline: Pipeline) -> None:
    """Raise ModelError where a mart or KPI would lose its rows with those that it shows, or a part of its window."""
    for relation, table in pipeline.tables.items():
        for window_input in pipeline.window_inputs_of(table):
            kept = pipeline.kept_days(pipeline.tables[window_input])
            if kept is not None and table.header.lookback and kept < table.header.lookback.days:
                raise ModelError(
                    table.path,
                    1,
                    f"lookback reads {table.header.lookback.days} calendar days of {window_input}, of which retention "
                    f"keeps {kept} ({PIPELINE_FILE}): look back on less, or keep more",
                )
        for view in pipeline.views_of(relation) if pipeline.kept_days(table) else ():
            if pipeline.layer(view) == "marts" or pipeline.tables[view].header.kpi:
                raise ModelError(
                    pipeline.tables[view].path,
                    1,
                    f"storage: view shows {relation}, whose rows retention drops ({PIPELINE_FILE}), and marts and KPIs "
                    "stay: take the word out, and it has rows of its own",
                )


def _load_table(folder: Path, path: Path, config: PipelineConfig, minimum_rows: Mapping[str, int]) -> Table:
    relation = _relation_of(folder, path, config)
    header, lines, body = split(path, _text_of(path))
    checks = expand(header, path, lines, minimum_rows.get(f"{folder.name}.{relation}"))
    names: set[str] = set()
    for check in checks:
        if check.name in names:
            raise ModelError(path, check.line, f"two checks are called {check.name!r}: rename this one")
        names.add(check.name)
    return Table(folder.name, relation, path, header, _query_of(header, lines, body, path), checks)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ModelError(path, line, f"is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def _relation_of(folder: Path, path: Path, config: PipelineConfig) -> Relation:
    """The path is the name."""
    parts = path.relative_to(folder).with_suffix("").parts
    if len(parts) != 2 or not all(re.fullmatch(IDENTIFIER, part) and len(part) <= 40 for part in parts):
        raise ModelError(path, 1, "must lie at <schema>/<table>.sql, both in lower case and at most 40 letters long")
    if parts[0] not in config.layers:
        raise ModelError(path, 1, f"the schema {parts[0]!r} is not one of the layers of {PIPELINE_FILE}")
    return Relation(*parts)


def _query_of(header: Header, lines: Lines, body: str, path: Path) -> Query | None:
    """The SELECT of a file; None for a raw table, whose file ends with its header."""
    if header.source and body.strip():
        raise ModelError(
            path, lines.of("source"), "has both a source and a SELECT: a raw table's file ends with its header"
        )
    if header.source:
        return None
    if not body.strip():
        raise ModelError(path, 1, "has neither a source nor a SELECT: write the SELECT below the header")
    query = parse_query(body, path, lookback=header.lookback is not None)
    _compare_columns(header, lines, query, path)
    if header.lookback and not query.windows:
        raise ModelError(
            path,
            lines.of("lookback"),
            f"the SELECT reads no window of {header.lookback.days} calendar days: tie a table to it by `{LOAD_DATE} "
            f"between %({WINDOW_START})s and %({LOAD_DATE})s`, or take lookback out",
        )
    return query


def _compare_columns(header: Header, lines: Lines, query: Query, path: Path) -> None:
    """Raise ModelError unless the SELECT returns the header's columns, in order."""
    declared, returned = header.selected, query.columns
    for number, column in enumerate(returned):
        line = query.line_of(number)
        if column in {"", "*"}:
            raise ModelError(
                path,
                line,
                "the SELECT must name each column it returns: write them out instead of *, give expressions an alias",
            )
        if column not in declared:
            raise ModelError(path, line, f"the SELECT returns the column {column!r}, which the header does not declare")
        if column in returned[:number]:
            raise ModelError(path, line, f"the SELECT returns the column {column!r} a second time")
    for column in declared:
        if column not in returned:
            line = lines.of("columns", column)
            raise ModelError(path, line, f"the column {column!r} is declared but the SELECT does not return it")
    for number, column in enumerate(returned):
        if column != declared[number]:
            raise ModelError(
                path,
                query.line_of(number),
                f"the header's columns ({', '.join(declared)}) stand in another order in the SELECT "
                f"({', '.join(returned)})",
            )


def _in_build_order(config_path: Path, tables: dict[Relation, Table]) -> dict[Relation, Table]:
    for table in tables.values():
        _check_neighbours(table, tables)
    try:
        order = TopologicalSorter({relation: table.reads for relation, table in tables.items()}).static_order()
        return {relation: _with_neighbours(tables[relation], tables) for relation in order}
    except CycleError as error:
        circle = " -> ".join(str(relation) for relation in error.args[1])
        raise ModelError(config_path, 1, f"the tables read each other in a circle: {circle}") from None


def _with_neighbours(table: Table, tables: Mapping[Relation, Table]) -> Table:
    """The table, knowing what the headers of those that it reads say: their types, and which rows of a window count."""
    if table.query is None:
        return table
    types = {relation: tables[relation].types for relation in table.query.reads}
    has_unknown_sums = check_replay(table.query, types, table.path)
    keys = {relation: _window_key(table, relation, tables) for relation in table.window_reads}
    query = replace(table.query, keys=keys, has_unknown_sums=has_unknown_sums)
    return replace(table, query=query, checks=tuple(check.with_keys(keys) for check in table.checks))


def _window_key(table: Table, relation: Relation, tables: Mapping[Relation, Table]) -> Key:
    """Which rows of another table a window of this one holds. Raises ModelError where neither of the two says it."""
    other, lookback = tables[relation], table.header.lookback
    assert lookback is not None
    if lookback.rows == "all":
        return None
    speaker = tables[other.shows[0]] if other.header.storage == "view" else other
    if speaker.header.versions == "latest":
        return tuple(other.header.grain)
    raise ModelError(
        table.path,
        table.mentions[relation],
        f"{relation} is read over {lookback.days} calendar days, and nothing says which of its rows count: write "
        f"`versions: latest` in the header of {speaker.relation} if only the latest row of each "
        f"{', '.join(speaker.header.grain)} does, or `lookback: {{days: {lookback.days}, rows: all}}` here if all do",
    )


def _check_neighbours(table: Table, tables: Mapping[Relation, Table]) -> None:
    for relation, line in table.mentions.items():
        if relation == table.relation:
            raise ModelError(table.path, line, f"reads {relation}, which is itself: a check reads its build as {THIS}")
        if relation not in tables:
            raise ModelError(
                table.path, line, f"reads {relation}, which has no file here: correct the name or add the file"
            )
    if table.header.storage == "view":
        _check_view(table, tables)
    _check_summands(table, tables)
    lines = {check.name: check.line for check in table.checks}
    for column, reference in table.header.checks.foreign_key.items():
        name, _, other = reference.rpartition(".")
        if other not in tables[Relation.parse(name)].columns:
            line = lines[f"foreign_key__{column}"]
            raise ModelError(table.path, line, f"checks.foreign_key.{column}: {name} has no column {other!r}")
    for query in table.queries:
        for relation, found in columns_read(query.tree):
            if found.name not in {LOAD_DATE, *tables[relation].columns}:
                raise ModelError(
                    table.path,
                    query.line_at(found),
                    f"reads the column {found.name!r} of {relation}, which has none of that name: correct it, or "
                    "declare the column there",
                )


def _check_summands(table: Table, tables: Mapping[Relation, Table]) -> None:
    """What reconcile adds up in a source must have an exact sum there."""
    for check in table.checks:
        if isinstance(check, Reconcile) and check.summed and check.total:
            check_summand(check.summed, tables[check.source].types, table.path, check.total.line)


def _check_view(table: Table, tables: Mapping[Relation, Table]) -> None:
    """A view shows rows as soon as its table does, so it promises nothing of them that the table does not."""
    if table.query is None or table.query.projection is None:
        raise ModelError(
            table.path, 1, "storage: view is for a SELECT of one table's columns as they are, where load_date is given"
        )
    relation, columns = table.shows
    shown, header = tables[relation], table.header
    if shown.header.storage == "view":
        raise ModelError(table.path, 1, f"storage: view shows {relation}, which is a view itself: read what that shows")
    if [columns[column] for column in header.grain] != shown.header.grain:
        raise ModelError(table.path, 1, f"storage: view keeps the grain of {relation}: {', '.join(shown.header.grain)}")
    for name, there in columns.items():
        if there not in shown.columns or header.columns[name].type != shown.header.columns[there].type:
            raise ModelError(table.path, 1, f"storage: view keeps the types of {relation}: {name!r} has another there")
