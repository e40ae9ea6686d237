"""What the SELECT of a question may read, and of which load_dates: an answer never mixes two days.

Every table must be tied, in the FROM or WHERE in which it stands, to one of these:

- the load_date: `load_date = %(load_date)s`, or a join using it;
- a fixed number of days before it: `load_date = %(load_date)s::date - 7`, to compare;
- the window of the word `lookback`: `load_date between %(window_start)s and %(load_date)s`.

A history is read as it was known on the load_date, and needs no condition. The relations of ops that readers may read,
and live views, are tied by their own date; they are not published, so their rows are those of the moment of asking.

Belongs here: these rules. Not here: how a condition ties a table (partition_filter.py), and which load_dates are
published (read/ask.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from kpi_assets.model.column_reads import unknown_columns
from kpi_assets.model.folder import Folder
from kpi_assets.model.live import whole_rows
from kpi_assets.model.lookback import WINDOW_START
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.neighbors import window_key
from kpi_assets.model.ops_relations import FOR_READERS, OF_NO_LOAD_DATE, OPS
from kpi_assets.model.partition_filter import DaysBefore, Given, Node, ties
from kpi_assets.model.pii_tables import personal_reads
from kpi_assets.model.pipeline_config import PIPELINE_FILE
from kpi_assets.model.portable.refusals import OF_LAKE
from kpi_assets.model.query import check_replaced
from kpi_assets.model.question import Question
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.table import Table
from kpi_assets.model.table_ref import TableRef, tables_in


@dataclass(frozen=True)
class _Mention:
    """One place at which a SELECT reads a relation, and what that is tied to there."""

    table: exp.Table
    relation: Relation
    tied: frozenset[Node]

    @property
    def is_of_window(self) -> bool:
        """Whether the relation is read over the window."""
        return self.tied == {Given.WINDOW}


def check_questions(folder: Folder, tables: Mapping[Relation, Table], problems: Problems) -> dict[str, Question]:
    """Return the questions of a folder without errors, by name, each with what it reads.

    `tables` are those of the folder without errors.
    """
    found = {}
    for name, question in sorted(folder.questions.items()):
        own = Problems()
        _check_names(question, folder, own)
        for line, problem in personal_reads(question.query, tables):
            own.add(question.path, line, problem)
        mentions = [] if own.found else list(_mentions(question, folder))
        _check_ties(question, mentions, folder, own)
        made = _with_tables(question, mentions, tables, own)
        if not own.found:
            found[name] = made
        problems.found += own.found
    return found


def _check_names(question: Question, folder: Folder, problems: Problems) -> None:
    """Add a problem for each relation and column that a question may not read or that nobody knows."""
    query = question.query
    for relation, line in query.mentions.items():
        if problem := _problem(relation, folder):
            problems.add(question.path, line, problem)
    types = {relation: other.readable_types for relation, other in folder.tables.items()}
    for line, problem in unknown_columns(query, types):
        problems.add(question.path, line, problem)
    for line, name in whole_rows(query) if any(each.schema == OPS for each in query.mentions) else ():
        what = f"{name} is a whole row, which may have columns that readers may not see: name the columns"
        problems.add(question.path, line, what)


def _mentions(question: Question, folder: Folder) -> Iterator[_Mention]:
    columns = {relation: _date_of(table) for relation, table in folder.tables.items()}
    other = {relation: name for relation, name in columns.items() if name and name != LOAD_DATE}
    for scope in traverse_scope(question.query.tree):
        tied = ties(scope, other)
        for table in tables_in(scope):
            yield _Mention(table, Relation(table.db, table.name), frozenset(tied[table]))


def _check_ties(question: Question, mentions: Sequence[_Mention], folder: Folder, problems: Problems) -> None:
    """Add a problem for each mention that is tied to nothing, and if nothing is read of the load_date itself."""
    if problems.found:
        return
    is_of_day = False
    for each in mentions:
        table = folder.tables.get(each.relation)
        is_history = table is not None and table.storage.keeps_versions
        if is_history and each.tied - {Given.LOAD_DATE}:
            what = f"{each.relation} is a history, which is read as known on the load_date: take the condition out"
            problems.add(question.path, question.query.line_at(each.table), what)
        is_of_day |= is_history or bool(each.tied & {Given.LOAD_DATE, Given.WINDOW})
        if not each.tied and not is_history:
            column = _date_of(table) if table else LOAD_DATE
            problems.add(question.path, question.query.line_at(each.table), _untied(question, each.relation, column))
    if not is_of_day and not problems.found:
        problems.add(
            question.path,
            question.query.line,
            f"the SELECT reads nothing of the load_date itself: limit a table by `{LOAD_DATE} = %({LOAD_DATE})s`",
        )


def _with_tables(
    question: Question, mentions: Sequence[_Mention], tables: Mapping[Relation, Table], problems: Problems
) -> Question:
    """Return the question with what it reads of which load_date; add a problem where a window says too little."""
    query, lookback = question.query, question.header.lookback
    histories = {
        relation: read
        for relation in query.mentions
        if relation in tables and (read := tables[relation].history_read_by_readers)
    }
    sources = {
        relation: tables[relation].rows_for_readers
        for relation in query.mentions
        if relation in tables and relation not in histories and tables[relation].pii.personal
    }
    published = {relation for relation, table in tables.items() if table.storage.has_load_date}
    windows = [each for each in mentions if each.is_of_window and each.relation in published]
    keys = {}
    for relation in sorted({each.relation for each in windows}):
        assert lookback, "window_start is known with this word only"
        with problems.collected():
            keys[relation] = window_key(relation, tables, lookback, question.path, query.mentions[relation])
            if personal := tables[relation].pii.personal.keys() & {*(keys[relation] or ())}:
                what = f"its latest rows are found by {min(personal)}, which readers may not read, since it is personal"
                problems.add(question.path, query.mentions[relation], f"reads {relation}: {what}: write `rows: all`")
    query = replace(
        query,
        windows=tuple(sorted(TableRef.of(each.table) for each in windows)),
        keys=keys,
        histories=histories,
        sources=sources,
    )
    if windows or histories or sources:
        check_replaced(query, question.path, problems)
    of_day = {each.relation for each in mentions if Given.LOAD_DATE in each.tied} | {*histories}
    days = {(each.relation, node.days) for each in mentions for node in each.tied if isinstance(node, DaysBefore)}
    return replace(
        question,
        query=query,
        of_day=tuple(sorted(of_day & published)),
        days_before=tuple(sorted((relation, n) for relation, n in days if relation in published)),
        of_window=tuple(sorted({each.relation for each in windows})),
    )


def _date_of(table: Table) -> str | None:
    """Return the column by which a table or live view is tied to a day; None for a live view without one."""
    if table.storage.has_load_date or LOAD_DATE in table.types:
        return LOAD_DATE
    dates = [name for name in table.header.grain if table.types[name] == "date"]
    return dates[0] if len(dates) == 1 else None


def _problem(relation: Relation, folder: Folder) -> str:
    """Return why a question may not read a relation; empty if it may."""
    if relation.schema == OPS:
        known = [name for name in FOR_READERS if name not in OF_NO_LOAD_DATE]
        if relation.table in known:
            return ""
        reason = "is not of one load_date" if relation.table in OF_NO_LOAD_DATE else "readers may not read"
        return f"reads {relation}, which {reason}: read {', '.join(f'{OPS}.{name}' for name in known)}"
    if relation not in folder.files:
        return f"reads {relation}, which has no file here: correct the name or add the file"
    readers = folder.config.readers if folder.config else [relation.schema]
    if relation.schema not in readers:
        known_schemas = f"read a table of {', '.join(readers)}" if readers else "name a schema there"
        return f"reads {relation}, which readers may not read (readers in {PIPELINE_FILE}): {known_schemas}"
    table = folder.tables.get(relation)
    return _unreadable(relation, table) if table else ""


def _unreadable(relation: Relation, table: Table) -> str:
    """Return why no question may read a table that readers may read; empty if it may."""
    if table.storage.in_lake:
        return f"reads {relation}, which is on the lake, and {OF_LAKE['question'].why}: select from a KPI of it"
    return f"reads {relation}, a live view without a date: add {LOAD_DATE} to its columns" * (_date_of(table) is None)


def _untied(question: Question, relation: Relation, column: str | None) -> str:
    window = f", or to the window by `{column} between %({WINDOW_START})s and %({LOAD_DATE})s`"
    return (
        f"{relation} is not tied to the load_date here: limit it by `{column} = %({LOAD_DATE})s`, or to a day before "
        f"it by `{column} = %({LOAD_DATE})s::date - 7`{window * bool(question.header.lookback)}"
    )
