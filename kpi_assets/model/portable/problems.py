"""Problems: what of a pipeline another engine would refuse, as errors with file and line.

Belongs here: which SELECTs and columns of a table are looked at, and with which sources. Not here: the rules.
"""

from collections.abc import Iterator, Mapping

from kpi_assets.model.names import BATCH, LOAD_DATE, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.statement import AUDITED, Portable, Source, source, translate
from kpi_assets.model.portable.types import PORTABLE, Engine, declared
from kpi_assets.model.query import Query, line_of
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.table import Table


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


def translated(pipeline: Pipeline, table: Table, query: Query, engine: Engine) -> Portable:
    """Return a query of a table for an engine. Raises NotPortableError."""
    return translate(query.executed, engine, sources_of(pipeline, table, query))


def problems(pipeline: Pipeline, engine: Engine) -> Iterator[ModelError]:
    """Yield what an engine would refuse of a pipeline, in the order of its tables and of the lines of their files."""
    for table in pipeline.tables.values():
        found = {(error.line, error.problem): error for error in _of_table(pipeline, table, engine)}
        yield from (found[key] for key in sorted(found))


def _of_table(pipeline: Pipeline, table: Table, engine: Engine) -> Iterator[ModelError]:
    for name, type_ in table.readable_types.items():
        if declared(type_) is None:
            line = table.lines.get(name, 1)
            text = f"the column {name} is not portable, because no other engine holds a {type_} as Postgres does"
            yield ModelError(table.path, line, f"{text}: declare one of {', '.join(PORTABLE)}")
    for query in table.queries:
        try:
            translated(pipeline, table, query, engine)
        except NotPortableError as refused:
            yield ModelError(table.path, line_of(refused.node, query.line), str(refused))
