"""The tables of a pipeline that an engine computes: what they may read, and how their versions know of the engine.

A table with `storage: lake` is computed on the engine, and so is each that selects from one. The rows of such a table
that has another storage are copied into Postgres, where they are checked and published as all others.

Belongs here: what needs several tables. Not here: the words of one header (lake.py), and what SQL an engine refuses
(portable/). What needs the optimizer of sqlglot is imported where a table is on the lake, so that no other pipeline
waits for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.reconcile import Reconcile
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.portable.refusals import OF_LAKE
from kpi_assets.model.query import Query, digest
from kpi_assets.model.strict_yaml import ModelError, Problems
from kpi_assets.model.table import Table

MOST_ROWS = 10_000_000  # of a result that is copied from the engine into Postgres: one client carries them all
# How a raw table is read on the engine. Raise it when the same object would give other rows.
RAW_READER = 1


def check_lake(pipeline: Pipeline, problems: Problems) -> Pipeline:
    """Return the pipeline with what is computed on the engine; add a problem for each table that cannot be."""
    if not any(table.storage.in_lake for table in pipeline.tables.values()):
        return pipeline
    if pipeline.config.lake is None:
        for table in (each for each in pipeline.tables.values() if each.storage.in_lake):
            problems.add(table.path, _line(table, "storage"), _sentence(f"storage: {table.storage.name}", "no_lake"))
        return pipeline
    found = {}
    for relation, table in pipeline.tables.items():
        wrong = sorted({(each.line, each.problem) for each in _structure(pipeline, table)})
        problems.found += [ModelError(table.path, line, problem) for line, problem in wrong]
        found[relation] = table if wrong or not pipeline.on_engine(table) else _translated(pipeline, table, problems)
    return replace(pipeline, tables=found)


def engine_queries(pipeline: Pipeline, table: Table) -> Sequence[Query]:
    """Return the queries of a table that the engine executes.

    They are all of a table on the lake; of another one the SELECT, and what its checks count in tables of the lake.
    """
    if table.storage.in_lake:
        return table.queries
    selects = [table.query] if table.query else []
    return [*selects, *(query for check in table.checks for query in of_source(pipeline, check))]


def of_source(pipeline: Pipeline, check: TableCheck) -> Sequence[Query]:
    """Return the queries of a check of a table in Postgres that count in a table of the lake: those of `reconcile`."""
    if not isinstance(check, Reconcile) or not pipeline.tables[check.source].storage.in_lake:
        return ()
    return check.of_source


def _line(table: Table, word: str) -> int:
    return table.word_lines.get(word, 1)


def _sentence(what: str, key: str) -> str:
    return f"{what} is not possible, because {OF_LAKE[key].sentence}"


def _structure(pipeline: Pipeline, table: Table) -> Iterator[ModelError]:
    """Yield what is wrong with what a table reads, whatever its SQL says."""
    on_lake, on_postgres = _reads(pipeline, table.query.mentions if table.query else {})
    if on_lake and not table.storage.stores_rows:
        [(relation, line), *_] = on_lake.items()
        yield ModelError(table.path, line, _sentence(f"a {table.storage.name} of {relation}", "view"))
        return
    if pipeline.on_engine(table) and table.carries_on:
        yield ModelError(table.path, table.query.line if table.query else 1, _sentence("carrying on", "carry_on"))
        on_postgres.pop(table.relation, None)
    for relation, line in on_postgres.items() if pipeline.on_engine(table) else ():
        yield ModelError(table.path, line, _both(pipeline, table, relation, [*on_lake]))
    for check in (*table.checks, *table.rules):
        yield from _of_check(pipeline, table, check)


def _reads(pipeline: Pipeline, mentions: Mapping[Relation, int]) -> tuple[dict[Relation, int], dict[Relation, int]]:
    """Divide what is read into the tables of the lake and those of Postgres."""
    known = {each: line for each, line in mentions.items() if each in pipeline.tables}
    on_lake = {each: line for each, line in known.items() if pipeline.tables[each].storage.in_lake}
    return on_lake, {each: line for each, line in known.items() if each not in on_lake}


def _both(pipeline: Pipeline, table: Table, relation: Relation, on_lake: Sequence[Relation]) -> str:
    """Return the problem of a table on the engine that selects from a table of Postgres."""
    other = pipeline.tables[relation].path
    if on_lake:
        named = " and ".join(map(str, on_lake))
        what = f"reads {relation}, which is in Postgres, beside {named} of the lake, and {OF_LAKE['both'].why}"
        of = f"take storage: lake out of {named}"
        return f"{what}: write storage: lake in {other}, or {of}"
    what = f"reads {relation}, which is in Postgres, and a table of the lake is computed from tables of the lake"
    return f"{what}: write storage: lake in {other}, or take it out of {table.path.name}"


def _of_check(pipeline: Pipeline, table: Table, check: TableCheck) -> Iterator[ModelError]:
    """Yield the tables that a check reads and that do not lie where its own queries are executed."""
    on_lake, on_postgres = _reads(pipeline, check.mentions)
    if table.storage.in_lake:
        for relation, line in on_postgres.items():
            what = f"the check {check.name} of a table of the lake that reads {relation} of Postgres"
            yield ModelError(table.path, line, _sentence(what, "check_of_lake"))
        return
    counted = of_source(pipeline, check) if pipeline.on_engine(table) else ()  # else the ledger alone has its rows
    for query in (each for each in check.queries if each not in counted):
        for relation, line in _reads(pipeline, query.mentions)[0].items():
            yield ModelError(table.path, check.mentions.get(relation, line), _in_postgres(check, relation))
    for query in counted:
        for relation, line in _reads(pipeline, query.mentions)[1].items():
            yield ModelError(table.path, line, _both(pipeline, table, relation, [*on_lake]))


def _in_postgres(check: TableCheck, relation: Relation) -> str:
    return _sentence(f"the check {check.name} of a table of Postgres that reads {relation} of the lake", "check")


def _translated(pipeline: Pipeline, table: Table, problems: Problems) -> Table:
    """Return a table that the engine computes with its version there; add a problem for what is not portable."""
    from kpi_assets.model.portable.problems import of_table, translated  # noqa: PLC0415  see above

    assert pipeline.config.lake is not None
    engine = pipeline.config.lake.engine
    wrong = of_table(pipeline, table, engine, engine_queries(pipeline, table), is_audited=table.storage.in_lake)
    problems.found += wrong
    if wrong:
        return table
    if table.query is None:
        return replace(table, engine_version=digest(engine, f"raw reader {RAW_READER}"))
    portable = translated(pipeline, table, table.query, engine)
    for name, type_ in portable.columns.items():
        if name in table.types and str(type_) != table.types[name]:
            text = f"the column {name!r} is declared as {table.types[name]}, but the SELECT returns {type_}: cast it"
            problems.add(table.path, table.query.line, text)
    types = ", ".join(f"{name} {type_}" for name, type_ in portable.columns.items())
    return replace(table, engine_version=digest(engine, portable.sql, types))
