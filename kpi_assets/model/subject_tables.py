"""Subjects across the tables of a pipeline: each person who can be found where the rows come from is gone everywhere.

A table that is made of raw rows loses a person when it is built again; where retention has dropped the raw rows, the
objects make them again. In a history and in a table that carries on, rows of one load_date hold what came on others:
such a table must show the key of the person, so that the person is found in it, or the number of a version of a history
that shows it: a number of which that history has no version any more is that of somebody who is gone. A table without
personal columns has nothing of the person. Decisions quote the rows that they are on, so a table whose rows are decided
on must show the key, too, and must not name its rows by the numbers of records: those behind an erased one are counted
anew.
Not here: the words of one header (subject.py), and how a SELECT passes a column on (pii.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kpi_assets.model.names import Relation
from kpi_assets.model.pii import Kind, Read, passed_on
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.subject import Subject
from kpi_assets.model.table import Table

_KEY: Kind = "id"  # how the columns that hold the key of a person are marked


@dataclass(frozen=True)
class Holder:
    """A table that is made of rows about persons: the raw tables, and the columns that hold keys of the persons.

    `subjects` say how the raw tables spell the keys. `versions` are columns that hold numbers of versions, each with
    the history that has these and shows the key.
    """

    table: Table
    raw: frozenset[Relation]
    subjects: Sequence[Subject]
    columns: frozenset[str]
    versions: Mapping[str, Relation]


def holders_of(pipeline: Pipeline) -> dict[Relation, Holder]:
    """Return the tables with rows about persons who may be erased, and those that are made of them, in build order."""
    found: dict[Relation, Holder] = {}
    for relation, table in pipeline.tables.items():
        if table.header.subject:
            subjects = table.header.subjects
            keys = frozenset(each.column for each in subjects)
            found[relation] = Holder(table, frozenset([relation]), subjects, keys, {})
        elif reads := [found[each] for each in table.query_reads if each in found]:
            spelled = {(each.kind, str(each.expression)): each for holder in reads for each in holder.subjects}
            found[relation] = Holder(
                table,
                frozenset().union(*(each.raw for each in reads)),
                [*spelled.values()],
                frozenset(_made_of(table, pipeline.tables, {name: each.columns for name, each in found.items()})),
                _versions(table, pipeline.tables, found),
            )
    return found


def check_subjects(pipeline: Pipeline, problems: Problems) -> None:
    """Add a problem for each table in which a person could not be found who is erased from a raw table."""
    holders, numbers = holders_of(pipeline), dict[Relation, Collection[str]]()
    for holder in holders.values():
        table = holder.table
        is_found = holder.columns or (holder.versions and not _is_decided_on(table)) or not table.pii.personal
        if not is_found and (why := _why_it_stays(table)):
            raw = ", ".join(map(str, sorted(holder.raw)))
            problems.add(
                table.path,
                1,
                f"{why}, and no column of it holds the key of the persons of {raw}, so that nobody can be erased from "
                "it: select that column too",
            )
        names = _numbers(table, holders, numbers) if _is_decided_on(table) else ()
        for name in (each for each in table.header.grain if each in names):
            problems.add(
                table.path,
                table.line_of(name),
                f"grain: {name!r} is the number of a record, which is another one once somebody was erased from its "
                "object, so that no decision on a row would find it again: name the rows by other columns",
            )


def _is_decided_on(table: Table) -> bool:
    """Return whether there may be decisions on rows of a table with a SELECT."""
    return table.header.quarantine is not None and not table.header.is_raw and not table.stream


def _numbers(
    table: Table, holders: Mapping[Relation, Holder], known: dict[Relation, Collection[str]]
) -> Collection[str]:
    """Return the columns of a table that hold numbers of records; `known` has those of tables that were asked for."""
    if table.relation not in known:
        source, tables = table.header.source, {relation: each.table for relation, each in holders.items()}
        read = [each for each in table.query_reads if each in holders and each != table.relation]
        known[table.relation] = (
            [name for name in (source.position,) if name]
            if source
            else _made_of(table, tables, {each: _numbers(tables[each], holders, known) for each in read})
        )
    return known[table.relation]


def _made_of(table: Table, tables: Mapping[Relation, Table], columns: Mapping[Relation, Collection[str]]) -> set[str]:
    """Return the columns of a table that are made of columns of others."""
    assert table.query is not None
    found = set[str]()
    while True:  # a table that carries on passes its own columns on to itself
        read = {
            relation: Read([*tables[relation].header.readable], dict.fromkeys(columns.get(relation, ()), _KEY))
            for relation in table.query_reads
            if relation in tables and relation != table.relation
        }
        itself = {table.query.itself: Read(table.columns, dict.fromkeys(found, _KEY))} if table.query.itself else {}
        more = {*passed_on(table.query, {**read, **itself})} - found
        found |= more
        if not more or not table.query.itself:
            return found


def _versions(
    table: Table, tables: Mapping[Relation, Table], holders: Mapping[Relation, Holder]
) -> dict[str, Relation]:
    """Return the columns of a table that hold numbers of versions, each with the history that has these."""
    assert table.query is not None
    numbers: dict[Relation, dict[Relation, list[str]]] = {}  # by history, what each table that is read has of them
    for relation in (each for each in table.query_reads if each in holders):
        history = tables[relation].header.history
        if history and holders[relation].columns:
            numbers.setdefault(relation, {})[relation] = [history.surrogate_key]
        for column, of in holders[relation].versions.items():
            numbers.setdefault(of, {}).setdefault(relation, []).append(column)
    found: dict[str, Relation] = {}
    for of, columns in numbers.items():
        read = {
            relation: Read([*tables[relation].header.readable], dict.fromkeys(columns.get(relation, ()), _KEY))
            for relation in table.query_reads
            if relation in tables
        }
        found |= dict.fromkeys(passed_on(table.query, read), of)
    return found


def _why_it_stays(table: Table) -> str:
    """Return why rows of a load_date may hold what was delivered on others; empty if they do not."""
    if table.storage.keeps_versions:
        return "a history keeps what was delivered on other load_dates"
    if table.carries_on:
        return "a table that carries on keeps what was delivered on other load_dates"
    if _is_decided_on(table):
        return "decisions on rows that are set aside quote them"
    return ""
