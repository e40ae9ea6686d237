"""The tree below sql/, read into pipelines: all that is wrong with it is found before a word is said.

Belongs here: finding the files, and what only a file's path and its neighbours tell: unknown tables, circles, taken
names. What only repeats another error is left out: a file that cannot be read is known to its readers by its name.
Not here: what one file says (header.py, query.py, checks.py), and what is asked of what was read (pipeline.py).
"""

import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path

from kpi_assets.errors import UsageError
from kpi_assets.model.checks import Check, ForeignKey, Reconcile, expand
from kpi_assets.model.column_reads import columns_read
from kpi_assets.model.header import Header, cut
from kpi_assets.model.lookback import WINDOW_START, Key
from kpi_assets.model.names import LOAD_DATE, LONGEST, Relation, name_problem
from kpi_assets.model.pipeline import (
    PIPELINE_FILE,
    TAKEN_DATABASES,
    TAKEN_JOBS,
    Pipeline,
    PipelineConfig,
    Table,
    parse_date,
)
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.replay import check_replay
from kpi_assets.model.strict_yaml import Lines, ModelError, Problems, read, together
from kpi_assets.model.sums import check_summand
from kpi_assets.model.table_ref import THIS

LARGEST = 1 << 20  # bytes of one file
MinimumRows = Mapping[str, int]  # this environment's, by `pipeline.schema.table`


@dataclass
class _Folder:
    """What was read of one folder: files whose path is a table's name, and of these the tables that could be read."""

    path: Path
    config: PipelineConfig | None = None
    files: dict[Relation, Path] = field(default_factory=dict)
    tables: dict[Relation, Table] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config_path(self) -> Path:
        return self.path / PIPELINE_FILE


def load_pipelines(sql_dir: Path, minimum_rows: MinimumRows | None = None) -> dict[str, Pipeline]:
    """Read every pipeline below `sql_dir`, by name.

    Raises ModelError with all that is wrong in the tree, or UsageError where there is no pipeline.
    """
    problems = Problems()
    pipelines = _pipelines_of(_read_folders(sql_dir, minimum_rows or {}, problems), problems)
    problems.raise_any()
    _check_minimum_rows(minimum_rows or {}, pipelines)
    return pipelines


def _check_minimum_rows(minimum_rows: MinimumRows, pipelines: Mapping[str, Pipeline]) -> None:
    known = {f"{name}.{relation}" for name, pipeline in pipelines.items() for relation in pipeline.tables}
    for name in minimum_rows:
        if name not in known:
            raise UsageError(f"KPI_MIN_ROWS names {name!r}, which is no table: write pipeline.schema.table.")


@dataclass(frozen=True)
class Broken:
    """A pipeline that cannot be read, and why; `config` is its pipeline.yaml, where that can be."""

    name: str
    error: ModelError
    config: PipelineConfig | None


def load_sound(sql_dir: Path, minimum_rows: MinimumRows | None = None) -> tuple[dict[str, Pipeline], dict[str, Broken]]:
    """The pipelines that can be read, and those that cannot, by name: a mistake in one stops no other.

    Raises UsageError where there is no pipeline.
    """
    problems = Problems()
    folders = _read_folders(sql_dir, minimum_rows or {}, problems)
    pipelines = _pipelines_of(folders, problems)
    configs = {folder.name: folder.config for folder in folders}
    broken = {}
    for name in {error.path.relative_to(sql_dir).parts[0] for error in problems.found}:
        own = [error for error in problems.found if error.path.relative_to(sql_dir).parts[0] == name]
        broken[name] = Broken(name, together(own), configs.get(name))
    sound = {name: pipeline for name, pipeline in pipelines.items() if name not in broken}
    of_sound = {name: rows for name, rows in (minimum_rows or {}).items() if name.partition(".")[0] not in broken}
    _check_minimum_rows(of_sound, sound)
    return sound, broken


def pipeline_names(sql_dir: Path) -> list[str]:
    """The folders below `sql_dir` that are pipelines, or shall be."""
    return sorted(path.parent.name for path in sql_dir.glob(f"*/{PIPELINE_FILE}"))


def _read_folders(sql_dir: Path, minimum_rows: MinimumRows, problems: Problems) -> list[_Folder]:
    paths = sorted(path.parent for path in sql_dir.glob(f"*/{PIPELINE_FILE}"))
    for lost in sorted({path.parent.parent for path in sql_dir.glob("*/*/*.sql")} - {*paths}):
        problems.add(lost / PIPELINE_FILE, 1, f"is missing, and files lie in {lost.name}/: write it, or move them")
    if not paths and not problems.found:
        raise UsageError(f"No pipeline lies below {sql_dir}: KPI_SQL_DIR must name a folder with */{PIPELINE_FILE}.")
    return [_read_folder(path, minimum_rows, problems) for path in paths]


def _pipelines_of(folders: Sequence[_Folder], problems: Problems) -> dict[str, Pipeline]:
    _check_jobs(folders, problems)
    _check_generated_names(folders, problems)
    return {folder.name: pipeline for folder in folders if (pipeline := _pipeline_of(folder, problems))}


# ---- one folder


def _read_folder(path: Path, minimum_rows: MinimumRows, problems: Problems) -> _Folder:
    folder = _Folder(path)
    if problem := name_problem(path.name):
        problems.add(folder.config_path, 1, f"the folder names a database: {problem}")
    if path.name in TAKEN_DATABASES:
        problems.add(
            folder.config_path, 1, f"a database called {path.name!r} is there for another purpose: rename the folder"
        )
    with problems.collected():
        folder.config, _ = read(PipelineConfig, _text_of(folder.config_path), folder.config_path)
    below = sorted(path.rglob("*"))
    for link in (each for each in below if each.is_symlink() and each.is_dir()):
        problems.add(link, 1, "is a link to a folder, which is not followed: put the folder itself here")
    for file in (each for each in below if each.suffix.lower() == ".sql"):
        with problems.collected():
            relation = _relation_of(path, file, folder.config)
            folder.files[relation] = file
            if table := _read_table(folder, relation, minimum_rows, problems):
                folder.tables[relation] = table
    return folder


def _text_of(path: Path) -> str:
    try:
        # Before it is opened: opening a pipe waits for somebody to write into it, and a device has no end.
        if not stat.S_ISREG((found := path.stat()).st_mode):
            raise ModelError(path, 1, "is no regular file: put one in its place")
        if found.st_size > LARGEST:
            raise ModelError(path, 1, f"has {found.st_size:,} bytes, more than {LARGEST:,}: write less into one file")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ModelError(path, line, f"is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise ModelError(
            path, 1, f"cannot be read ({error.strerror}): make it a file that this user may read"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ModelError(path, line, "holds the control character U+0000: take it out")
    return text


def _relation_of(folder: Path, path: Path, config: PipelineConfig | None) -> Relation:
    """The path is the name."""
    parts = path.relative_to(folder).with_suffix("").parts
    if len(parts) != 2 or path.suffix != ".sql" or any(map(name_problem, parts)):
        raise ModelError(
            path, 1, f"must lie at <schema>/<table>.sql, both in lower case and at most {LONGEST} letters long"
        )
    if config and parts[0] not in config.layers:
        raise ModelError(path, 1, f"the schema {parts[0]!r} is not one of the layers of {PIPELINE_FILE}")
    return Relation(*parts)


def _read_table(folder: _Folder, relation: Relation, minimum_rows: MinimumRows, problems: Problems) -> Table | None:
    """One file; None where something is wrong with it by itself."""
    path, own = folder.files[relation], Problems()
    header = query = None
    checks: tuple[Check, ...] = ()
    words, body = cut(path, _text_of(path))
    with own.collected():
        header, lines = read(Header, words, path)
    if header is None:
        if body.strip():
            with own.collected():
                parse_query(body, path, lookback=True)
    else:
        with own.collected():
            default = folder.config.defaults.min_rows if folder.config else None
            checks = expand(header, path, lines, minimum_rows.get(f"{folder.name}.{relation}"), default)
        with own.collected():
            query = _query_of(header, lines, body, path)
    problems.found += own.found
    return Table(folder.name, relation, path, header, query, checks) if header and not own.found else None


def _query_of(header: Header, lines: Lines, body: str, path: Path) -> Query | None:
    """The SELECT of a file; None for a raw table, whose file ends with its header."""
    if header.is_raw and body.strip():
        raise ModelError(
            path, lines.of("source"), "has both a source and a SELECT: a raw table's file ends with its header"
        )
    if header.is_raw:
        return None
    if not body.strip():
        raise ModelError(path, 1, "has neither a source nor a SELECT: write the SELECT below the header")
    query = parse_query(body, path, lookback=header.lookback is not None)
    problems = Problems()
    for line, problem in _differences(header, lines, query):
        problems.add(path, line, problem)
    if header.lookback and not query.windows:
        problems.add(
            path,
            lines.of("lookback"),
            f"the SELECT reads no window of {header.lookback.days} calendar days: tie a table to it by `{LOAD_DATE} "
            f"between %({WINDOW_START})s and %({LOAD_DATE})s`, or take lookback out",
        )
    problems.raise_any()
    return query


def _differences(header: Header, lines: Lines, query: Query) -> Iterator[tuple[int, str]]:
    """(line, what) of each difference between what the SELECT returns and the header's columns in their order."""
    declared, returned = header.selected, query.columns
    nameless = [number for number, column in enumerate(returned) if column in {"", "*"}]
    for number in nameless:
        yield (
            query.line_of(number),
            "the SELECT must name each column it returns: write them out instead of *, give expressions an alias",
        )
    for number, column in enumerate(returned):
        if column not in {"", "*", *declared}:
            what = f"the SELECT returns the column {column!r}, which the header does not declare: declare it there"
            yield query.line_of(number), what
        elif column in returned[:number] and column not in {"", "*"}:
            yield query.line_of(number), f"the SELECT returns the column {column!r} a second time: take it out"
    if nameless:
        return
    for column in declared:
        if column not in returned:
            yield lines.of("columns", column), f"the column {column!r} is declared but the SELECT does not return it"
    if sorted(declared) == sorted(returned) and declared != returned:
        number = next(n for n, column in enumerate(returned) if column != declared[n])
        order = f"({', '.join(declared)}) stand in another order in the SELECT ({', '.join(returned)})"
        yield query.line_of(number), f"the header's columns {order}: write both in one order"


# ---- a folder's tables among each other


def _pipeline_of(folder: _Folder, problems: Problems) -> Pipeline | None:
    """The pipeline; None where something is wrong with it or its tables."""
    before = len(problems.found)
    tables = _in_build_order(folder, problems)
    _check_latest_views(folder, problems)
    if folder.config is None:
        return None
    pipeline = Pipeline(folder.name, folder.path, folder.config, tables)
    _check_sources(pipeline, problems)
    is_whole = len(tables) == len(folder.files) and len(problems.found) == before
    if is_whole:
        _check_retention(pipeline, problems)
    return pipeline if is_whole else None


def _in_build_order(folder: _Folder, problems: Problems) -> dict[Relation, Table]:
    """The tables that nothing is wrong with, each behind those that it reads."""
    sound = {}
    for table in folder.tables.values():
        own = Problems()
        _check_neighbours(table, folder, own)
        if not own.found:
            sound[table.relation] = table
        problems.found += own.found
    reads = {relation: [each for each in table.reads if each in sound] for relation, table in sound.items()}
    order = _sorted(reads, sound, problems)
    known = {}
    for relation in order:
        with problems.collected():
            known[relation] = _with_neighbours(sound[relation], folder.tables)
    return known


def _sorted(
    reads: Mapping[Relation, Sequence[Relation]], tables: Mapping[Relation, Table], problems: Problems
) -> list[Relation]:
    """The tables in build order, without those that read each other in a circle."""
    left = dict(reads)
    while True:
        try:
            return [each for each in TopologicalSorter(left).static_order() if each in left]
        except CycleError as error:
            first, reader = error.args[1][:2]  # each is read by the next
            circle = " -> ".join(map(str, error.args[1]))
            problems.add(
                tables[reader].path,
                tables[reader].mentions[first],
                f"the tables read each other in a circle: {circle}; let one of them read something else",
            )
            for relation in error.args[1]:
                left.pop(relation, None)


def _with_neighbours(table: Table, tables: Mapping[Relation, Table]) -> Table:
    """The table, knowing what the headers of those that it reads say: their types, and which rows of a window count."""
    if table.query is None:
        return table
    types = {relation: tables[relation].types for relation in table.query.reads if relation in tables}
    has_unknown_sums = check_replay(table.query, types, table.path)
    keys = {relation: _window_key(table, relation, tables) for relation in table.window_reads if relation in tables}
    query = replace(table.query, keys=keys, has_unknown_sums=has_unknown_sums)
    return replace(table, query=query, checks=tuple(check.with_keys(keys) for check in table.checks))


def _window_key(table: Table, relation: Relation, tables: Mapping[Relation, Table]) -> Key:
    """Which rows of another table a window of this one holds. Raises ModelError where neither of the two says it."""
    other, lookback = tables[relation], table.header.lookback
    assert lookback is not None
    if lookback.rows == "all":
        return None
    speaker = other
    if other.header.storage == "view" and other.query and other.query.projection:
        speaker = tables.get(other.shows[0], other)
    if speaker.header.versions == "latest":
        return tuple(other.header.grain)
    raise ModelError(
        table.path,
        table.mentions[relation],
        f"{relation} is read over {lookback.days} calendar days, and nothing says which of its rows count: write "
        f"`versions: latest` in the header of {speaker.relation} if only the latest row of each "
        f"{', '.join(speaker.header.grain)} does, or `lookback: {{days: {lookback.days}, rows: all}}` here if all do",
    )


def _check_neighbours(table: Table, folder: _Folder, problems: Problems) -> None:
    tables = folder.tables
    for relation, line in table.mentions.items():
        if relation == table.relation:
            problems.add(table.path, line, f"reads {relation}, which is itself: a check reads its build as {THIS}")
        elif relation not in folder.files:
            problems.add(
                table.path, line, f"reads {relation}, which has no file here: correct the name or add the file"
            )
    if table.header.storage == "view":
        with problems.collected():
            _check_view(table, folder)
    _check_summands(table, tables, problems)
    lines = {check.name: check.line for check in table.checks}
    for column, reference in table.header.checks.foreign_key.items():
        name, _, other = reference.rpartition(".")
        there = tables.get(Relation.parse(name))
        if there and other not in there.columns:
            problems.add(
                table.path,
                lines[f"foreign_key__{column}"],
                f"checks.foreign_key.{column}: {name} has no column {other!r}: it has {', '.join(there.columns)}",
            )
    of_checks = [check.queries for check in table.checks if not isinstance(check, ForeignKey)]
    for query in (*([table.query] if table.query else []), *(query for queries in of_checks for query in queries)):
        for relation, found in columns_read(query.tree):
            if relation in tables and found.name not in {LOAD_DATE, *tables[relation].columns}:
                problems.add(
                    table.path,
                    query.line_at(found),
                    f"reads the column {found.name!r} of {relation}, which has none of that name: correct it, or "
                    "declare the column there",
                )


def _check_summands(table: Table, tables: Mapping[Relation, Table], problems: Problems) -> None:
    """What reconcile adds up in a source must have an exact sum there."""
    for check in table.checks:
        if isinstance(check, Reconcile) and check.summed and check.total and check.source in tables:
            with problems.collected():
                check_summand(check.summed, tables[check.source].types, table.path, check.total.line)


def _check_view(table: Table, folder: _Folder) -> None:
    """A view shows rows as soon as its table does, so it promises nothing of them that the table does not."""
    if table.query is None or table.query.projection is None:
        raise ModelError(
            table.path, 1, "storage: view is for a SELECT of one table's columns as they are, where load_date is given"
        )
    relation, columns = table.shows
    if relation not in folder.tables:
        return
    shown, header = folder.tables[relation], table.header
    if shown.header.storage == "view":
        raise ModelError(table.path, 1, f"storage: view shows {relation}, which is a view itself: read what that shows")
    if [columns[column] for column in header.grain] != shown.header.grain:
        raise ModelError(table.path, 1, f"storage: view keeps the grain of {relation}: {', '.join(shown.header.grain)}")
    for name, there in columns.items():
        if there in shown.columns and header.columns[name].type != shown.header.columns[there].type:
            raise ModelError(
                table.path, 1, f"storage: view keeps the types of {relation}: {name!r} has another there, write that"
            )


def _check_sources(pipeline: Pipeline, problems: Problems) -> None:
    """Two raw tables must be told apart on S3 and in ops: each has an object of its own."""
    for one, other in combinations(sorted(pipeline.object_tables, key=lambda table: table.relation), 2):
        if one.relation.table == other.relation.table:
            problems.add(
                other.path,
                1,
                f"{one.relation} is a raw table of the same name, by which the object of each is known: rename one",
            )
            continue
        first, second = one.source, other.source
        shared = _same_key_on(first.object, second.object)
        if first.object == second.object or (shared and shared >= pipeline.config.start_date):
            when = f" of {shared}" if shared else ""
            problems.add(
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


def _check_retention(pipeline: Pipeline, problems: Problems) -> None:
    """A mart or KPI must not lose its rows with those that it shows, or a part of its window."""
    for relation, table in pipeline.tables.items():
        for window_input in pipeline.window_inputs_of(table):
            kept = pipeline.retention_days(pipeline.tables[window_input])
            if kept is not None and table.header.lookback and kept < table.header.lookback.days:
                problems.add(
                    table.path,
                    1,
                    f"lookback reads {table.header.lookback.days} calendar days of {window_input}, of which retention "
                    f"keeps {kept} ({PIPELINE_FILE}): look back on less, or keep more",
                )
        for view in pipeline.views_of(relation) if pipeline.retention_days(table) else ():
            if pipeline.layer(view) == "marts" or pipeline.tables[view].header.kpi:
                problems.add(
                    pipeline.tables[view].path,
                    1,
                    f"storage: view shows {relation}, whose rows retention drops ({PIPELINE_FILE}), and marts and KPIs "
                    "stay: take the word out, and it has rows of its own",
                )


# ---- names that are made of a pipeline's and its tables'


def _check_latest_views(folder: _Folder, problems: Problems) -> None:
    """The view for readers of a KPI is made beside it: no file may have its name."""
    for relation, table in folder.tables.items():
        if table.header.kpi and table.latest_view in folder.files:
            problems.add(
                folder.files[table.latest_view],
                1,
                f"{table.latest_view} is the view that readers of the KPI {relation} are given: give this file another "
                "name",
            )


def _check_jobs(folders: Collection[_Folder], problems: Problems) -> None:
    """Dagster knows the jobs of all pipelines by their names alone."""
    jobs = {f"{folder.name}_{what}": folder.name for folder in folders for what in TAKEN_JOBS}
    for folder in folders:
        if folder.name in jobs:
            job = f"a job of the pipeline {jobs[folder.name]!r}"
            problems.add(folder.config_path, 1, f"the folder is called like {job}: rename the folder")
        if folder.name == "run_history":
            problems.add(
                folder.config_path, 1, "the folder is called like the job that deletes old runs: rename the folder"
            )


def _check_generated_names(folders: Iterable[_Folder], problems: Problems) -> None:
    """Builds and Dagster's steps are called `<pipeline>__<schema>__<table>`, which two tables may have in common."""
    seen: dict[str, str] = {}
    for folder in folders:
        for relation, path in folder.files.items():
            keys = [(folder.name, *relation)]
            if relation in folder.tables and folder.tables[relation].has_object:
                keys.append((folder.name, "s3", relation.table))
            for key in keys:
                name, shown = "__".join(key), "/".join(key)
                other = seen.get(name)
                if other and other != shown:
                    problems.add(
                        path,
                        1,
                        f"{shown} and {other} give the same name to what is made of them ({name}): rename one of them",
                    )
                seen[name] = shown
