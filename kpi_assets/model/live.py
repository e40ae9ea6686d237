"""Live views: files with `storage: live`, which show what the schema ops records now.

They have no load_dates. So they are not among the tables of a pipeline, and no plan, run or backfill knows them:
materialize/prepare.py makes them.

Belongs here: what the SELECT of a live view may read. Not here: making it (warehouse/live_views.py).
"""

from collections.abc import Iterator

from sqlglot import exp

from kpi_assets.model.folder import Folder
from kpi_assets.model.names import Relation
from kpi_assets.model.ops_relations import FOR_READERS, OPS
from kpi_assets.model.query import Query
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.table import Table


def check_live(table: Table, folder: Folder, problems: Problems) -> None:
    """Add a problem for each relation that a live view reads and may not, and for each use of a whole row."""
    for relation, line in table.mentions.items():
        if problem := _problem(table, relation, folder):
            problems.add(table.path, line, problem)
    for line, name in whole_rows(table.query) if table.query else ():
        problems.add(
            table.path,
            line,
            f"{name} is a whole row, which may have columns that readers may not see: name the columns that are shown",
        )


def _problem(table: Table, relation: Relation, folder: Folder) -> str:
    """Return what is wrong with a relation that a live view reads; empty if it may read it."""
    if relation == table.relation:
        return f"reads {relation}, which is itself: let it read something else"
    if relation.schema == OPS:
        known = ", ".join(f"{OPS}.{name}" for name in FOR_READERS)
        return "" if relation.table in FOR_READERS else f"reads {relation}, which readers may not read: read {known}"
    other = folder.tables.get(relation)
    if relation not in folder.files or (other and other.storage.has_load_date):
        word = f"storage: {table.storage.name}"
        return f"reads {relation}, and {word} reads only {OPS} and other live views: read these, or take the word out"
    return ""


def whole_rows(query: Query) -> Iterator[tuple[int, str]]:
    """Yield (line, name) where the name of a relation stands for its row: the server does not know its columns then."""
    aliases = {table.alias_or_name for table in query.tree.find_all(exp.Table)}
    aliases |= {alias.name for alias in query.tree.find_all(exp.TableAlias)}
    for column in query.tree.find_all(exp.Column):
        if column.is_star and not isinstance(column.parent, exp.Select):
            yield query.line_at(column), column.sql("postgres")
        elif not column.table and column.name in aliases:
            yield query.line_at(column), column.name
