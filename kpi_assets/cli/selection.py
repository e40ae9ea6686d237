"""The option `--select`: which objects and tables its keys name, in build order.

Belongs here: keys, and the tables upstream and downstream of a table. Not here: building what was selected.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from kpi_assets.errors import UsageError
from kpi_assets.model.names import is_object
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.sentences import known_names
from kpi_assets.model.table import Table


def select_names(pipeline: Pipeline, keys: str) -> list[str]:
    """Return the names (`schema.table`, `s3.object`) that --select selects, in build order. Raises UsageError."""
    parents = parents_of(pipeline)
    if not keys:
        return list(parents)
    children = {name: [child for child, of in parents.items() if name in of] for name in parents}
    chosen: set[str] = set()
    for word in keys.split(","):
        name = word.strip().strip("+")
        found = [known for known in parents if known == name or known.partition(".")[0] == name]
        if not found:
            raise UsageError(f"{pipeline.name} has no {name!r}: {known_names(name, [*parents])}.")
        chosen.update(found)
        if word.strip().startswith("+"):
            chosen.update(_reachable(found, parents))
        if word.strip().endswith("+"):
            chosen.update(_reachable(found, children))
    return [name for name in parents if name in chosen]


def parents_of(pipeline: Pipeline) -> dict[str, list[str]]:
    """Map each object and table of a pipeline, in build order, to those that it reads."""
    parents: dict[str, list[str]] = {table.object_name: [] for table in pipeline.object_tables}
    for relation, table in pipeline.tables.items():
        own_object = [table.object_name] if table.has_object else []
        parents[str(relation)] = [*own_object, *(str(other) for other in table.reads)]
    return parents


def table_of(pipeline: Pipeline, name: str) -> Table:
    """Return the table of a name: `schema.table`, or the raw table that reads the object `s3.table`."""
    if not is_object(name):
        return pipeline.table(name)
    return next(table for table in pipeline.object_tables if table.object_name == name)


def due_names(pipeline: Pipeline, names: Sequence[str], load_date: date) -> list[str]:
    """Return those of the named objects and tables that are due on a load_date."""
    return [name for name in names if pipeline.is_table_due(table_of(pipeline, name), load_date)]


def _reachable(names: Sequence[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        for name in edges[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
