"""Problems: what of a pipeline another engine would refuse, as errors with file and line.

Belongs here: which words, SELECTs and columns of a table are looked at, and with which sources. Questions and live
views are not looked at: readers ask them on Postgres. Not here: the rules.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from kpi_assets.model.checks.reconcile import Reconcile
from kpi_assets.model.names import BATCH, LOAD_DATE, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.portable.raw_words import refused_words
from kpi_assets.model.portable.refusals import OF_OBJECTS, OF_TABLES, NotPortableError
from kpi_assets.model.portable.statement import AUDITED, Portable, Source, source, translate
from kpi_assets.model.portable.types import PORTABLE, Engine, declared
from kpi_assets.model.query import Query, line_of, parse_query
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.table import Table
from kpi_assets.model.table_ref import THIS


def sources_of(pipeline: Pipeline, table: Table, query: Query) -> dict[Relation, Source]:
    """Return what a query of a table may read: other tables as their headers say, and the build itself."""
    one_day = not query.windows and query.itself is None
    found = {
        relation: _source(each, each.readable_types, one_day=one_day) for relation, each in pipeline.tables.items()
    }
    return {**found, AUDITED: _source(table, table.types, one_day=True)}


def _source(table: Table, types: Mapping[str, str], *, one_day: bool) -> Source:
    """Return a table; of one load_date, its grain is its key, and of several that and the load_date are."""
    key = [] if table.header.history else [*table.header.grain, *([] if one_day else [LOAD_DATE])]
    with_day = {LOAD_DATE: "date", **({BATCH: "bigint"} if table.grows else {}), **types}
    return source(with_day, key)


def translated(
    pipeline: Pipeline, table: Table, query: Query, engine: Engine, place: Callable[[Relation], str] | None = None
) -> Portable:
    """Return a query of a table for an engine, with `place` as in `translate`. Raises NotPortableError."""
    return translate(query.executed, engine, sources_of(pipeline, table, query), place)


def problems(pipeline: Pipeline, engine: Engine) -> Iterator[ModelError]:
    """Yield what an engine would refuse of a pipeline, in the order of its tables and of the lines of their files."""
    for table in pipeline.tables.values():
        yield from of_table(pipeline, table, engine, table.queries)


def of_table(
    pipeline: Pipeline, table: Table, engine: Engine, queries: Iterable[Query], *, is_audited: bool = True
) -> Sequence[ModelError]:
    """Return what an engine would refuse of a table and of some of its queries, in the order of the lines.

    Without `is_audited`, its rows are checked in Postgres.
    """
    wrong = _of_table(pipeline, table, engine, [*queries], is_audited=is_audited)
    found = {(error.line, error.problem): error for error in wrong}
    return [found[key] for key in sorted(found)]


def _of_table(
    pipeline: Pipeline, table: Table, engine: Engine, queries: Sequence[Query], *, is_audited: bool
) -> Iterator[ModelError]:
    mentions = table.mentions if is_audited else table.query.mentions if table.query else {}
    for key, line, what in _beside_sql(pipeline, table, mentions):
        yield ModelError(table.path, line, f"{what} is not portable, because {OF_TABLES[key].sentence}")
    for key, column, what in refused_words(table):
        line = table.line_of(column) if column else table.word_lines["source"]
        yield ModelError(table.path, line, f"{what} is not portable, because {OF_OBJECTS[key].sentence}")
    for name, type_ in table.readable_types.items():
        if declared(type_) is None:
            line = table.lines.get(name, 1)
            text = f"the column {name} is not portable, because no other engine holds a {type_} as Postgres does"
            yield ModelError(table.path, line, f"{text}: declare one of {', '.join(PORTABLE)}")
    for query in (*queries, *(_counted_here(table) if is_audited else ())):
        try:
            translated(pipeline, table, query, engine)
        except NotPortableError as refused:
            yield ModelError(table.path, line_of(refused.node, query.line), str(refused))


def _beside_sql(pipeline: Pipeline, table: Table, mentions: Mapping[Relation, int]) -> Iterator[tuple[str, int, str]]:
    """Yield (key of the refusal, line, what is refused) of what Postgres does with the rows besides the SELECT."""
    if table.header.history:
        yield "history", table.word_lines["storage"], "storage: history"
    for relation, line in mentions.items():
        if relation in pipeline.tables and pipeline.tables[relation].header.history:
            yield "history_read", line, f"reading the history {relation}"
    if table.stream:
        yield "stream", table.word_lines["source"], "a stream"
    elif table.grows:
        yield "grows", table.query.line if table.query else 1, "a table that grows"
    if table.rules:
        yield "rules", table.word_lines["quarantine"], "quarantine.rules"


def _counted_here(table: Table) -> Iterator[Query]:
    """Yield what checks compute over the build in the scan that they share, as queries."""
    for check in table.checks:
        if isinstance(check, Reconcile):
            yield parse_query(f"select {check.here} as here from {THIS}", table.path, check.line)  # noqa: S608
