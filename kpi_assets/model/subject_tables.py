"""Subjects across the tables of a pipeline: each person who can be found where the rows come from is gone everywhere.

A table that is made of raw rows loses a person when it is built again; where retention has dropped the raw rows, the
objects make them again. In a history and in a table that carries on, rows of one load_date hold what came on others:
such a table must show the key of the person, so that the person is found in it, or the number of a version of a history
that shows it: a number of which that history has no version any more is that of somebody who is gone. A table without
personal columns has nothing of the person.
Not here: the words of one header (subject.py), and how a SELECT passes a column on (pii.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kpi_assets.model.names import Relation
from kpi_assets.model.pii import Kind, Read, passed_on
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.table import Table

_KEY: Kind = "id"  # how the columns that hold the key of a person are marked


@dataclass(frozen=True)
class Holder:
    """A table that is made of rows about persons: the raw tables, and the columns that hold keys of the persons.

    `versions` are columns that hold numbers of versions, each with the history that has these and shows the key.
    """

    table: Table
    raw: frozenset[Relation]
    columns: frozenset[str]
    versions: Mapping[str, Relation]


def holders_of(pipeline: Pipeline) -> dict[Relation, Holder]:
    """Return the tables with rows about persons who may be erased, and those that are made of them, in build order."""
    found: dict[Relation, Holder] = {}
    for relation, table in pipeline.tables.items():
        if table.header.subject:
            keys = frozenset(each.column for each in table.header.subjects)
            found[relation] = Holder(table, frozenset([relation]), keys, {})
        elif reads := [found[each].raw for each in table.query_reads if each in found]:
            found[relation] = Holder(
                table,
                frozenset().union(*reads),
                frozenset(_keys(table, pipeline.tables, found)),
                _versions(table, pipeline.tables, found),
            )
    return found


def check_subjects(pipeline: Pipeline, problems: Problems) -> None:
    """Add a problem for each table in which a person could not be found who is erased from a raw table."""
    for holder in holders_of(pipeline).values():
        is_found = holder.columns or holder.versions or not holder.table.pii.personal
        if not is_found and (why := _why_it_stays(holder.table)):
            raw = ", ".join(map(str, sorted(holder.raw)))
            problems.add(
                holder.table.path,
                1,
                f"{why}, and no column of it holds the key of the persons of {raw}, so that nobody can be erased from "
                "it: select that column too",
            )


def _keys(table: Table, tables: Mapping[Relation, Table], holders: Mapping[Relation, Holder]) -> set[str]:
    """Return the columns of a table that hold the key of a person."""
    assert table.query is not None
    found = set[str]()
    while True:  # a table that carries on passes its own columns on to itself
        read = {
            relation: Read(
                [*tables[relation].header.readable],
                dict.fromkeys(holders[relation].columns if relation in holders else (), _KEY),
            )
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
    return ""
