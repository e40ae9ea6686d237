"""Narrowing: which tables of a SELECT may be read in part, when only rows with certain values of a column are wanted.

A condition on a returned column is one on the table's column that it is, and on every column that a join equates with
it. Postgres itself carries a single value over a join, but not a range. Not here: which ranges (slices.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, build_scope

from kpi_assets.model.table_ref import TableRef

_BARRIERS = ("limit", "offset", "distinct", "laterals", "windows")  # what is computed over all rows
_IN_PART = ("sample", "only")  # what can be said of a table, but not of a subquery in its place
Column = tuple[str, str]  # (source, name)


@dataclass(frozen=True, order=True)
class Narrowable:
    """A table that may be narrowed, by which of its columns, and whether what is returned is that very column."""

    mention: TableRef
    column: str
    is_origin: bool


def mentions_to_narrow(tree: exp.Query, column: str) -> list[Narrowable]:
    """The tables that may be narrowed together by what the returned `column` is narrowed by; none where in doubt."""
    root = build_scope(tree)
    if root is None or any(found.args.get("db") for found in tree.find_all(exp.Column)):
        return []
    uses: dict[str, int] = {}
    for table in tree.find_all(exp.Table):
        uses[table.name if not table.db else ""] = uses.get(table.name if not table.db else "", 0) + 1
    return sorted(_narrow(root, column, uses))


def _narrow(scope: Scope, name: str, uses: Mapping[str, int]) -> Iterator[Narrowable]:
    select = scope.expression
    if not isinstance(select, exp.Select) or any(select.args.get(barrier) for barrier in _BARRIERS):
        return
    key = _key(scope, name)
    if key is None or select.find(exp.Window) or not _is_grouped_by(select, key):
        return
    for alias, column in _equals(scope, key):
        source = scope.sources.get(alias)
        is_key = (alias, column) == key
        if isinstance(source, exp.Table) and _is_plain(source):
            yield Narrowable(TableRef.of(source), column, is_key)
        elif isinstance(source, Scope) and (not source.is_cte or uses.get(_cte_name(scope, alias)) == 1):
            for found in _narrow(source, column, uses):
                yield Narrowable(found.mention, found.column, is_key and found.is_origin)


def _is_plain(table: exp.Table) -> bool:
    """Whether it is a table of a schema, all of it: no function, and not the build that is audited."""
    named = table.db and not isinstance(table.this, exp.Func)
    return bool(named) and not any(table.args.get(word) for word in _IN_PART)


def _cte_name(scope: Scope, alias: str) -> str:
    node, _ = scope.selected_sources[alias]
    return str(node.name)


def _key(scope: Scope, name: str) -> Column | None:
    """The source's column that a returned column is, where it is one as it is, and not from an outer join."""
    select = scope.expression
    assert isinstance(select, exp.Select)
    for projection in select.selects:
        column = projection.unalias()
        if projection.alias_or_name == name and isinstance(column, exp.Column):
            sources = list(scope.selected_sources)
            if not sources:
                return None
            joins = select.args.get("joins") or []
            using = any(column.name in _using(join) for join in joins)
            if not column.table and len(sources) > 1 and not using:
                return None
            owner = column.table or sources[0]
            outer = {join.alias_or_name for join in joins if join.side}
            return (
                None if owner in outer or any(join.side not in {"", "LEFT"} for join in joins) else (owner, column.name)
            )
    return None


def _using(join: exp.Join) -> list[str]:
    return [column.name for column in join.args.get("using") or []]


def _is_grouped_by(select: exp.Select, key: Column) -> bool:
    """Whether narrowing the key leaves out whole groups only; so it does where nothing is aggregated."""
    group = select.args.get("group")
    if group is None:
        return not any(projection.find(exp.AggFunc) for projection in select.selects) and not select.args.get("having")
    if any(value for word, value in group.args.items() if word != "expressions"):
        return False  # rollup, cube, grouping sets
    return any(
        isinstance(column, exp.Column) and column.name == key[1] and column.table in {"", key[0]}
        for column in group.expressions
    )


def _equals(scope: Scope, key: Column) -> set[Column]:
    """The columns that equal the key in every row that the joins let through, or that an outer join adds to one."""
    joins = scope.expression.args.get("joins") or []
    sources = list(scope.selected_sources)
    found = {key}
    for _ in joins:  # each pass may find one more link of a chain
        for join in joins:
            joined = join.alias_or_name
            before = sources[: sources.index(joined)] if joined in sources else []
            for one, other in _equations(join, before, joined):
                if one in found:
                    found.add(other)
                elif other in found and not join.side:
                    found.add(one)
    return found


def _equations(join: exp.Join, before: list[str], joined: str) -> Iterator[tuple[Column, Column]]:
    """(column of an earlier source, column of the joined one) of each equality that the join demands."""
    for name in _using(join):
        for source in before if len(before) == 1 else []:
            yield (source, name), (joined, name)
    on = join.args.get("on")
    parts = list(on.flatten()) if isinstance(on, exp.And) else [on] if on is not None else []
    for part in (each.unnest() for each in parts):
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Column):
            left, right = (part.this.table, part.this.name), (part.expression.table, part.expression.name)
            if left[0] == joined and right[0] in before:
                left, right = right, left
            if right[0] == joined and left[0] in before:
                yield left, right
