"""Pushdown: which tables of a SELECT may be read in part when only some values of one returned column are wanted.

A build in slices wants the rows of a range of the key. PostgreSQL applies `key = 5` to the other tables of a join, but
it does not do so for a range. So the range is written into the SELECT's text, as a subquery in the place of each table
that may be read in part. The rules find these tables scope by scope. In doubt a table is read whole:

1. `_origin`: the returned column is a source's column as it is, and no outer join fills it with NULL.
2. `_returns_whole_rows`: leaving out values of that column leaves out rows of the result, and changes no other row.
3. `_equal_columns`: the joins make further columns equal to it.
4. The tables of these columns are targets. A subquery is looked into by the same rules, a CTE if it is read only once.

The examples below are run as tests: `targets(sql)` are the targets for the returned column `k`, sorted.

Belongs here: the rules. Not here: which ranges there are (slices.py), and writing them into the text (table_ref.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, build_scope

from kpi_assets.model.joins import Join, conjuncts, joins_of
from kpi_assets.model.table_ref import TableRef

_OVER_ALL_ROWS = ("limit", "offset", "distinct", "laterals", "windows")  # clauses that depend on more than one row
_NOT_OF_A_SUBQUERY = ("sample", "only")  # what SQL allows after a table, but not after a subquery in its place


class Column(NamedTuple):
    """A column of a scope, by the name of its source in the scope."""

    source: str
    name: str


@dataclass(frozen=True, order=True)
class Target:
    """A table that may be read in part, by the values of its `column`.

    `is_origin` says that the returned column is that very column. Then all rows of the result have a wanted value, so
    the caller need not filter them again.
    """

    table: TableRef
    column: str
    is_origin: bool


def pushdown_targets(tree: exp.Query, column: str) -> list[Target]:
    """Return the tables that may all be read in part by the values of the returned `column`; in doubt, none.

    >>> targets("select t.k from raw.t join raw.u on t.k = u.b")
    ['raw.t.k', 'raw.u.b']
    >>> targets("with c as (select b from raw.u) select t.k from raw.t left join c on t.k = c.b")
    ['raw.t.k', 'raw.u.b']
    >>> targets("with c as (select b from raw.u) select t.k from raw.t join c on t.k = c.b join c as d on true")
    ['raw.t.k']

    A column that is named with its table's schema would not be found in a subquery.

    >>> targets("select raw.t.k from raw.t")
    []
    """
    root = build_scope(tree)
    if root is None or any(found.args.get("db") for found in tree.find_all(exp.Column)):
        return []
    cte_uses = Counter(table.name for table in tree.find_all(exp.Table) if not table.db)
    return sorted(_targets(root, column, cte_uses))


def _targets(scope: Scope, name: str, cte_uses: Mapping[str, int]) -> Iterator[Target]:
    """Yield the targets for the column that a scope returns as `name`, in the scope and in the subqueries below it."""
    origin = _origin(scope, name)
    if origin is None or not _returns_whole_rows(scope, origin):
        return
    for column in _equal_columns(scope, origin):
        source = scope.sources.get(column.source)
        is_origin = column == origin
        if isinstance(source, exp.Table) and _may_be_subquery(source):
            yield Target(TableRef.of(source), column.name, is_origin)
        elif isinstance(source, Scope) and _is_read_once(scope, column.source, source, cte_uses):
            for found in _targets(source, column.name, cte_uses):
                yield Target(found.table, found.column, is_origin and found.is_origin)


def _may_be_subquery(table: exp.Table) -> bool:
    """Whether a subquery may take a table's place: it is a table with its schema, no function, and not `{this}`.

    >>> targets("select k from only raw.t")
    []
    """
    is_named = bool(table.db) and not isinstance(table.this, exp.Func)
    return is_named and not any(table.args.get(word) for word in _NOT_OF_A_SUBQUERY)


def _is_read_once(scope: Scope, alias: str, source: Scope, cte_uses: Mapping[str, int]) -> bool:
    """Whether a subquery or CTE is read once: a second place that reads it may want its other rows."""
    if not source.is_cte:
        return True
    node, _ = scope.selected_sources[alias]
    return cte_uses.get(str(node.name)) == 1


def _origin(scope: Scope, name: str) -> Column | None:
    """Return the source's column that a returned column is, or None if it is computed or may be filled with NULL.

    >>> targets("select k + 1 as k from raw.t")
    []
    >>> targets("select u.b as k from raw.t left join raw.u on t.k = u.b")
    []

    A column without its table's name is known if there is one source, or if USING makes one column of all.

    >>> targets("select k from raw.t join raw.u using (k)")
    ['raw.t.k', 'raw.u.k']
    >>> targets("select k from raw.t join raw.u on t.k = u.b")
    []
    """
    select = scope.expression
    if not isinstance(select, exp.Select):
        return None
    named = (returned.unalias() for returned in select.selects if returned.alias_or_name == name)
    column = next((each for each in named if isinstance(each, exp.Column)), None)
    sources, joins = list(scope.selected_sources), joins_of(scope)
    if column is None or not sources:
        return None
    is_known = column.table or len(sources) == 1 or any(column.name in join.using for join in joins)
    if not is_known or any(join.side not in {"", "LEFT"} for join in joins):
        return None
    owner = column.table or sources[0]
    return None if owner in {join.joined for join in joins if join.side} else Column(owner, column.name)


def _returns_whole_rows(scope: Scope, origin: Column) -> bool:
    """Whether leaving out values of a column leaves out rows of the result, and changes none of the others.

    It does not if a clause depends on several rows.

    >>> targets("select k from raw.t order by k limit 10")
    []
    >>> targets("select k, row_number() over (order by k) as n from raw.t")
    []

    With GROUP BY, the column must be one of the grouping columns, so that whole groups are left out.

    >>> targets("select k, count(*) as n from raw.t group by k, a")
    ['raw.t.k']
    >>> targets("select k, count(*) as n from raw.t group by rollup (k)")
    []
    """
    select = scope.expression
    assert isinstance(select, exp.Select)
    if any(select.args.get(clause) for clause in _OVER_ALL_ROWS) or select.find(exp.Window):
        return False
    group = select.args.get("group")
    if group is None:
        return not any(returned.find(exp.AggFunc) for returned in select.selects) and not select.args.get("having")
    if any(value for word, value in group.args.items() if word != "expressions"):
        return False  # rollup, cube, grouping sets
    return any(
        isinstance(column, exp.Column) and column.name == origin.name and column.table in {"", origin.source}
        for column in group.expressions
    )


def _equal_columns(scope: Scope, origin: Column) -> set[Column]:
    """Return the columns that equal the origin in every row that the joins let through or that an outer join adds.

    An inner join leads from each of its sides to the other. A left join leads only to the side that it adds.

    >>> targets("select t.k from raw.t left join raw.u on t.k = u.b join raw.v on u.b = v.c")
    ['raw.t.k', 'raw.u.b', 'raw.v.c']
    >>> targets("select t.k from raw.s left join raw.u on s.a = u.b join raw.t on u.b = t.k")
    ['raw.t.k', 'raw.u.b']
    """
    joins, found = joins_of(scope), {origin}
    for _ in joins:  # each pass may find one more link of a chain
        for join in joins:
            for earlier, joined in _equations(join):
                if earlier in found:
                    found.add(joined)
                elif joined in found and not join.side:
                    found.add(earlier)
    return found


def _equations(join: Join) -> Iterator[tuple[Column, Column]]:
    """Yield (column of an earlier source, column of the joined source) for each equality that a join demands."""
    for name in join.using if len(join.before) == 1 else []:
        yield Column(join.before[0], name), Column(join.joined, name)
    for part in conjuncts(join.on):
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Column):
            left, right = (Column(side.table, side.name) for side in (part.this, part.expression))
            if left.source == join.joined:
                left, right = right, left
            if right.source == join.joined and left.source in join.before:
                yield left, right
