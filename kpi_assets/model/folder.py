"""Reads the folder of one pipeline below sql/: its pipeline.yaml, and each of its files by itself.

Belongs here: finding the files, and errors in a path, a file, or a SELECT that does not match its header. Not here: the
meaning of the words of a file (header.py, query.py, checks/), and checks against other tables (neighbors.py).
"""

import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from kpi_assets.model import carry_on, growing
from kpi_assets.model.calendar import EVERY_DAY, Calendar, dates_in, words_of
from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.expand import expand, expand_rules
from kpi_assets.model.differences import column_differences
from kpi_assets.model.header import Header, cut, read_words
from kpi_assets.model.kinds import STORAGES, StorageKind
from kpi_assets.model.lookback import WINDOW_START
from kpi_assets.model.names import BATCH, LOAD_DATE, LONGEST, Relation, name_problem
from kpi_assets.model.pipeline_config import PIPELINE_FILE, TAKEN_DATABASES, PipelineConfig
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.question import QUESTIONS, Question, read_question
from kpi_assets.model.strict_yaml import Lines, ModelError, Problems, read
from kpi_assets.model.table import Table

LARGEST = 1 << 20  # bytes of one file
# In a header that cannot be read; the word `history` stands beside the storage of that name.
_STORAGE = re.compile(r"^storage: *(\w+)", re.MULTILINE)
_HISTORY = re.compile(r"^(history):", re.MULTILINE)
MinimumRows = Mapping[str, int]  # KPI_MIN_ROWS of the environment, by `pipeline.schema.table`


@dataclass
class Folder:
    """The content of one folder: the files whose path names a table, and the tables whose file could be read."""

    path: Path
    config: PipelineConfig | None = None
    lines: Lines | None = None  # of pipeline.yaml
    calendar: Calendar = EVERY_DAY  # the word `calendar` of pipeline.yaml
    files: dict[Relation, Path] = field(default_factory=dict)
    tables: dict[Relation, Table] = field(default_factory=dict)  # and live views
    questions: dict[str, Question] = field(default_factory=dict)  # those whose file could be read

    @property
    def name(self) -> str:
        """The name of the pipeline."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The path of pipeline.yaml."""
        return self.path / PIPELINE_FILE


def read_folder(path: Path, minimum_rows: MinimumRows, problems: Problems) -> Folder:
    """Read pipeline.yaml and every file of a folder; add all their errors to `problems`."""
    folder = Folder(path)
    if problem := name_problem(path.name):
        problems.add(folder.config_path, 1, f"the folder names a database: {problem}")
    if path.name in TAKEN_DATABASES:
        problems.add(
            folder.config_path, 1, f"a database called {path.name!r} is there for another purpose: rename the folder"
        )
    with problems.collected():
        folder.config, lines = read(PipelineConfig, text_of(folder.config_path), folder.config_path)
        folder.lines = lines
        excepted = _dates_of(path, folder.config.calendar.except_, folder.config_path, lines, ("calendar", "except"))
        folder.calendar = Calendar.of(words_of(folder.config.calendar.every), excepted)
    below = sorted(path.rglob("*"))
    for link in (each for each in below if each.is_symlink() and each.is_dir()):
        problems.add(link, 1, "is a link to a folder, which is not followed: put the folder itself here")
    files: dict[Relation, _File] = {}
    for file in (each for each in below if each.suffix.lower() == ".sql"):
        with problems.collected():
            if file.relative_to(path).parts[0] == QUESTIONS:
                question = read_question(_question_path(path, file), text_of(file))
                folder.questions[question.name] = question
                continue
            relation = _relation_of(path, file, folder.config)
            folder.files[relation] = file
            files[relation] = _read_file(file, problems)
    # How a SELECT may read a table depends on the header of that.
    histories = {relation for relation, each in files.items() if each.storage_kind.keeps_versions}
    for relation, each in files.items():
        if table := _read_table(folder, relation, each, histories, minimum_rows, problems):
            folder.tables[relation] = table
    return folder


def _dates_of(
    folder: Path, written: Sequence[date] | str, path: Path, lines: Lines, loc: tuple[str, ...]
) -> frozenset[date]:
    """Return the dates of the word `except` at `loc` of a file. Raises ModelError."""
    if not isinstance(written, str):
        return frozenset(written)
    file, word = folder / written, f"{'.'.join(loc)}: {written!r}"
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(path, lines.of(*loc), f"{word} leads out of the pipeline's folder: put the file itself there")
    if not file.exists():
        raise ModelError(
            path,
            lines.of(*loc),
            f"{word} is not in the pipeline's folder: write its path from there, or list the dates",
        )
    found, problems = set(), Problems()
    for line, day in dates_in(text_of(file)):
        if isinstance(day, str):
            problems.add(file, line, day)
        else:
            found.add(day)
    problems.raise_any()
    return frozenset(found)


def text_of(path: Path) -> str:
    """Return the text of a file. Raises ModelError if it is no regular file, is too large, or is not UTF-8."""
    try:
        # Checked before opening: opening a pipe waits for a writer, and reading a device may never end.
        if not stat.S_ISREG((found := path.stat()).st_mode):
            raise ModelError(path, 1, "is not a regular file: put one in its place")
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
        raise ModelError(path, line, "contains the control character U+0000: take it out")
    return text


def _question_path(folder: Path, path: Path) -> Path:
    """Return the path of a question's file. Raises ModelError if it names no question."""
    parts = path.relative_to(folder).parts
    if len(parts) != 2 or path.suffix != ".sql" or name_problem(path.stem):
        raise ModelError(
            path, 1, f"must lie at {QUESTIONS}/<name>.sql, in lower case and at most {LONGEST} letters long"
        )
    return path


def _relation_of(folder: Path, path: Path, config: PipelineConfig | None) -> Relation:
    """Return the table that the path of a file names. Raises ModelError for any other path."""
    parts = path.relative_to(folder).with_suffix("").parts
    if len(parts) != 2 or path.suffix != ".sql" or any(map(name_problem, parts)):
        raise ModelError(
            path, 1, f"must lie at <schema>/<table>.sql, both in lower case and at most {LONGEST} letters long"
        )
    if config and parts[0] not in config.layers:
        raise ModelError(path, 1, f"the schema {parts[0]!r} is not one of the layers of {PIPELINE_FILE}")
    return Relation(*parts)


@dataclass(frozen=True)
class _File:
    """A file whose header could be cut out: its words and body, and the header with its lines if that is sound."""

    words: str
    body: str
    read: tuple[Header, Lines] | None

    @property
    def storage_kind(self) -> StorageKind:
        """The storage that the header declares, also if it has errors; by default that of a header without the word."""
        if self.read:
            return self.read[0].storage_kind
        named = [*_STORAGE.findall(self.words), *_HISTORY.findall(self.words)]
        return next((STORAGES[name] for name in named if name in STORAGES), STORAGES["rows"])


def _read_file(path: Path, problems: Problems) -> _File:
    """Read the header of a file; add its errors to `problems`. Raises ModelError if there is none."""
    words, body = cut(path, text_of(path))
    found = None
    with problems.collected():
        found = read_words(path, words, body)
    return _File(words, body, found)


def _read_table(
    folder: Folder,
    relation: Relation,
    file: _File,
    histories: Collection[Relation],
    minimum_rows: MinimumRows,
    problems: Problems,
) -> Table | None:
    """Make the table of one file. If it has errors, add them to `problems` and return None."""
    path, own = folder.files[relation], Problems()
    query = None
    checks: tuple[TableCheck, ...] = ()
    rules: tuple[BadRows, ...] = ()
    calendar = delivery_calendar = EVERY_DAY
    if file.read is None:
        if file.body.strip():
            with problems.collected():
                parse_query(
                    file.body,
                    path,
                    lookback=True,
                    has_load_date=file.storage_kind.has_load_date,
                    itself=relation,
                    histories=histories,
                    grows=growing.has_batch(file.body),
                )
        return None
    header, lines = file.read
    with own.collected():
        default = folder.config.defaults.min_rows if folder.config else None
        minimum = minimum_rows.get(f"{folder.name}.{relation}")
        checks = expand(header, path, lines, minimum, default, histories=histories)
    with own.collected():
        rules = expand_rules(header, path, lines, histories=histories)
    with own.collected():
        query = _query_of(relation, header, lines, file.body, path, histories)
    if source := header.source:
        with own.collected():
            excepted = _dates_of(folder.path, source.except_, path, lines, ("source", "except"))
            delivery_calendar = Calendar.of(words_of(source.every), excepted, source.since)
            calendar = delivery_calendar.carried() if source.carried_days else delivery_calendar
    problems.found += own.found
    if own.found:
        return None
    at = {name: lines.of("columns", name) for name in header.columns}
    table = Table(folder.name, relation, path, header, query, checks, rules, calendar, delivery_calendar, at)
    return replace(table, word_lines={word: lines.of(word) for word in header.model_fields_set})


def _query_of(
    relation: Relation, header: Header, lines: Lines, body: str, path: Path, histories: Collection[Relation]
) -> Query | None:
    """Return the SELECT of a file, or None for a raw table, whose file has only a header. Raises ModelError."""
    if header.is_raw and body.strip():
        raise ModelError(
            path, lines.of("source"), "has both a source and a SELECT: a raw table's file ends with its header"
        )
    if header.is_raw:
        return None
    if not body.strip():
        raise ModelError(path, 1, "has neither a source nor a SELECT: write the SELECT below the header")
    query = parse_query(
        body,
        path,
        lookback=header.lookback is not None,
        has_load_date=header.storage_kind.has_load_date,
        itself=relation,
        histories=histories,
        grows=header.grows,
    )
    problems = Problems()
    if header.grows:
        of_rows = [] if BATCH in header.grain else growing.across_rows(query.tree)
        for node, problem in (*growing.across_tables(query.tree), *of_rows):
            problems.add(path, query.line_at(node), problem)
    if header.history and query.itself:
        problems.add(path, query.line, carry_on.of_history(relation))
    for line, problem in column_differences(header.selected, lines, query):
        problems.add(path, line, problem)
    if header.lookback and not query.windows:
        problems.add(
            path,
            lines.of("lookback"),
            f"the SELECT reads no window of {header.lookback.days} calendar days: limit a table to it by `{LOAD_DATE} "
            f"between %({WINDOW_START})s and %({LOAD_DATE})s`, or take lookback out",
        )
    problems.raise_any()
    return query
