"""The columns that a SELECT reads from each table, as far as its text shows them.

Not here: the columns that a returned column is computed from (query.py's lineage).
"""

from collections.abc import Collection, Iterator, Mapping

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import Query

_SYSTEM = {"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"}  # every table has these


def columns_read(tree: exp.Query) -> Iterator[tuple[Relation, exp.Column]]:
    """Yield each use of a column whose table is certain: it is named with its table, or there is only one source."""
    for scope in traverse_scope(tree):
        for column in scope.columns:
            owner = _owner(scope, column)
            if owner is not None and column.name not in _SYSTEM:
                yield Relation(owner.db, owner.name), column


def unknown_columns(query: Query, columns: Mapping[Relation, Collection[str]]) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for each column that a SELECT reads from one of these tables and that the table lacks.

    So for each column that is read from a name which nothing in the SELECT has.
    """
    for relation, found in columns_read(query.tree):
        if relation in columns and found.name not in {LOAD_DATE, *columns[relation]}:
            yield (
                query.line_at(found),
                f"reads the column {found.name!r} of {relation}, which has no such column: correct the name, or "
                "declare the column there",
            )

    names = _relation_names(query.tree)
    for found in query.tree.find_all(exp.Column):
        if names and found.table and found.table.casefold() not in names:
            yield (
                query.line_at(found),
                f"reads {found.sql('postgres')}, and nothing that it reads is called {found.table!r}: correct the "
                f"name, or give it as an alias (from ... as {found.table})",
            )


def _relation_names(tree: exp.Query) -> set[str]:
    """Return every name that something which a SELECT reads may have, in small letters; none if they are not known."""
    tables = list(tree.find_all(exp.Table))
    if any(isinstance(table.this, exp.Func) and not table.alias for table in tables):
        return set()  # a function has its own name, which the parser may have replaced by another one
    found = {table.name for table in tables} | {alias.name for alias in tree.find_all(exp.TableAlias)}
    return {name.casefold() for name in found}


def names_read(tree: exp.Query) -> set[str]:
    """Return every name in a SELECT that may be a column."""
    return {column.name for column in tree.find_all(exp.Column)} | {
        name.name for join in tree.find_all(exp.Join) for name in join.args.get("using") or []
    }


def _owner(scope: Scope, column: exp.Column) -> exp.Table | None:
    sources = scope.selected_sources
    if column.table:
        _, source = sources.get(column.table, (None, None))
    elif len(sources) == 1 and not _is_named_here(scope, column) and not scope.expression.args.get("laterals"):
        [(alias, (_, source))] = sources.items()
        if column.name == alias:
            return None  # it means the whole row
    else:
        return None
    return source if isinstance(source, exp.Table) and source.db else None


def _is_named_here(scope: Scope, column: exp.Column) -> bool:
    """Whether the name may mean a returned column (as in GROUP BY), or a column of an outer query."""
    query = scope.expression
    return scope.is_subquery or not isinstance(query, exp.Query) or column.name in query.named_selects
