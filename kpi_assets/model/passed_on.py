"""Which rows of its inputs a row of a SELECT comes from, as far as columns are passed on without a change.

A SELECT names tables at several places. Each place is a `Reading`: a row that the SELECT returns comes from those rows
of the table that have the same values in the columns that are passed on, and that meet the conditions of the SELECT on
this table alone. A column is also passed on by a join: in `t join u on t.k = u.b`, the returned `t.k` is `u.b` too.

The examples below are run as tests: `passed(sql)` are the readings as text, sorted.

Belongs here: the rules, on the syntax tree. Not here: all columns that a column is computed from (query.py's lineage),
the stricter proof for reading a table in part (pushdown.py), and finding the rows (read/trace.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from kpi_assets.model.joins import conjuncts, joins_of
from kpi_assets.model.names import LOAD_DATE, Relation

ROW = "t"  # the name of the table in `Reading.conditions`
_NOT_OF_ONE_ROW = (exp.Query, exp.AggFunc, exp.Window, exp.Placeholder)


class Passed(NamedTuple):
    """A returned column, and the column of a table whose value it is."""

    column: str
    there: str


class Link(NamedTuple):
    """A join to another reading: its number, its column, and the equal column here."""

    reading: int
    column: str
    there: str


@dataclass(frozen=True)
class Reading:
    """One place at which a SELECT reads a table.

    `columns` are passed on from there to the returned row; none if all are computed, and then `links` are the joins to
    readings of which columns are. `conditions` are SQL that the rows of the table meet, under the name ROW. `start` is
    where the text of the SELECT names the table, and `number` the place in PassedOn.readings.
    """

    number: int
    relation: Relation
    start: int
    columns: tuple[Passed, ...]
    conditions: tuple[str, ...]
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class PassedOn:
    """The readings of a SELECT, and the expression of each returned column that is computed."""

    readings: tuple[Reading, ...]
    computed: Mapping[str, str]


class _Column(NamedTuple):
    """A column of a scope, by the name of its source in the scope."""

    source: str
    name: str


def passed_on(tree: exp.Query, schemas: Mapping[Relation, Sequence[str]]) -> PassedOn | None:
    """Return what a SELECT passes on; None if it has a column name that only Postgres can resolve.

    >>> passed("select k, a + 1 as n from raw.t where load_date = D")
    ['raw.t k=k']
    >>> passed("select t.k, u.a as b from raw.t left join raw.u on t.k = u.b where t.load_date = D")
    ['raw.t k=k', 'raw.u b=a k=b']
    >>> passed("select k, u.b from raw.t join raw.u using (k)")
    ['raw.t k=k', 'raw.u b=b k=k']

    A table is read at two places if it is named twice, or if a CTE that reads it is.

    >>> passed("with c as (select k, a from raw.t) select c.k, d.a from c left join c as d on c.a = d.k")
    ['raw.t a=a', 'raw.t k=k']

    A table of which no column is passed on may be joined to one of which some are.

    >>> passed("select u.b, count(*) as n from raw.t join raw.u on t.k = u.k group by u.b")
    ['raw.t joined k=k of raw.u', 'raw.u b=b']

    A column of a group, of a union and of a window is passed on; an aggregate is computed.

    >>> passed("select a, count(*) as n from raw.t where b = 'x' and k > 0 group by a")
    ["raw.t a=a where t.b = 'x' and t.k > 0"]
    >>> passed("select distinct on (k) k, a from raw.t order by k, a desc")
    ['raw.t a=a k=k']
    >>> passed("select k from raw.t union all select b from raw.u")
    ['raw.t k=k', 'raw.u k=b']
    >>> passed("select k, row_number() over (order by a) as n from raw.t")
    ['raw.t k=k']
    >>> passed("select max(k) as k from raw.t")
    ['raw.t']

    So is one of a lateral subquery.

    >>> passed("select t.k, d.b from raw.t cross join lateral (select b from raw.u where u.k = t.k limit 1) as d")
    ['raw.t k=k', 'raw.u b=b']

    A condition in an outer join does not limit the rows on the side that the join keeps.

    >>> passed("select t.k from raw.t left join raw.u on t.k = u.k and u.a = 1 and t.a = 2")
    ['raw.t k=k', 'raw.u k=k where t.a = 1']
    """
    known: dict[str, Any] = {}
    for relation, columns in schemas.items():
        known.setdefault(relation.schema, {})[relation.table] = dict.fromkeys([LOAD_DATE, *columns], "unknown")
    try:
        qualified = qualify(
            tree.copy(), dialect="postgres", schema=known, validate_qualify_columns=False, identify=False
        )
        root = build_scope(qualified)
    except SqlglotError:
        return None
    if root is None or any(not column.table for column in qualified.find_all(exp.Column) if not _only_orders(column)):
        return None
    names = [returned.alias_or_name for returned in tree.selects]
    found: dict[tuple[int, ...], tuple[Scope, exp.Table, list[Passed]]] = {}
    for number, name in enumerate(names):
        for path, scope, table, there in _followed(root, number):
            passed = found.setdefault(path, (scope, table, []))[2]
            if there != LOAD_DATE and Passed(name, there) not in passed:
                passed.append(Passed(name, there))
    for path, scope, table in _tables(root):
        found.setdefault(path, (scope, table, []))
    paths = list(found)
    readings = [_reading(number, *found[path]) for number, path in enumerate(paths)]
    for number, path in enumerate(paths):
        beside = [other for other, of in enumerate(paths) if of[:-1] == path[:-1] and readings[other].columns]
        if not readings[number].columns:
            aliases = {found[paths[other]][1].alias_or_name: other for other in beside}
            links = _links(found[path][0], found[path][1].alias_or_name, aliases)
            readings[number] = replace(readings[number], links=tuple(links))
    computed = {name: text for number, name in enumerate(names) if (text := _computed(root, number))}
    return PassedOn(tuple(readings), computed)


def _only_orders(column: exp.Column) -> bool:
    """Return whether a column is of ORDER BY or DISTINCT ON, which pass nothing on and may name a returned column."""
    return isinstance(column.find_ancestor(exp.Order, exp.Distinct, exp.Select), (exp.Order, exp.Distinct))


def _links(scope: Scope, alias: str, others: Mapping[str, int]) -> Iterator[Link]:
    """Yield the joins of one table of a scope to the others, which are named by alias."""
    for columns in _equations(scope):
        for here in (each for each in columns if each.source == alias and each.name != LOAD_DATE):
            yield from (Link(others[each.source], each.name, here.name) for each in columns if each.source in others)


def _equations(scope: Scope) -> list[set[_Column]]:
    """Return the sets of columns that the joins of a scope make equal."""
    conditions = [part for join in joins_of(scope) for part in conjuncts(join.on) if isinstance(part, exp.EQ)]
    return [{*_columns(part.this), *_columns(part.expression)} for part in conditions]


def _selects(scope: Scope) -> list[exp.Expr]:
    """Return the expressions that a scope returns; none for a function in FROM."""
    return scope.expression.selects if isinstance(scope.expression, exp.Query) else []


def _reading(number: int, scope: Scope, table: exp.Table, columns: Sequence[Passed]) -> Reading:
    relation, start = Relation(table.db, table.name), table.args["db"].meta.get("start", 0)
    return Reading(number, relation, start, tuple(columns), tuple(_conditions(scope, table.alias_or_name)))


_Path = tuple[int, ...]


def _followed(scope: Scope, number: int, path: _Path = ()) -> Iterator[tuple[_Path, Scope, exp.Table, str]]:
    """Yield (path, its scope, table, column) for each table column that the returned column `number` is.

    The path says through which subqueries the table is reached, so that each place has its own.
    """
    if isinstance(scope.expression, exp.SetOperation):
        for part in scope.set_operation_scopes:
            yield from _followed(part, number, (*path, id(part)))
        return
    selects = _selects(scope)
    if number >= len(selects):
        return
    for column in _equal(scope, _columns(selects[number].unalias())):
        yield from _below(scope, column, path)


def _below(scope: Scope, column: _Column, path: _Path) -> Iterator[tuple[_Path, Scope, exp.Table, str]]:
    node, source = _sources(scope).get(column.source, (None, None))
    if isinstance(source, exp.Table) and source.db:
        yield (*path, id(node)), scope, source, column.name
    elif isinstance(source, Scope):
        returned = [each.alias_or_name for each in _selects(source)]
        if column.name in returned:
            yield from _followed(source, returned.index(column.name), (*path, id(node)))


def _sources(scope: Scope) -> dict[str, tuple[exp.Expr, exp.Table | Scope]]:
    """Return what a scope reads, by name: (its node, the table or the scope of the subquery, also of a lateral one)."""
    found: dict[str, tuple[exp.Expr, exp.Table | Scope]] = {**scope.selected_sources}
    for name, (node, source) in found.items():
        if isinstance(source, Scope) and isinstance(source.expression, exp.Lateral) and source.subquery_scopes:
            found[name] = (node, source.subquery_scopes[0])
    return found


def _tables(scope: Scope, path: _Path = ()) -> Iterator[tuple[_Path, Scope, exp.Table]]:
    """Yield (path, its scope, table) for each table that a SELECT and the subqueries in its FROM read."""
    for part in scope.set_operation_scopes:
        yield from _tables(part, (*path, id(part)))
    for node, source in _sources(scope).values():
        if isinstance(source, exp.Table) and source.db:
            yield (*path, id(node)), scope, source
        elif isinstance(source, Scope):
            yield from _tables(source, (*path, id(node)))


def _columns(expression: exp.Expr) -> list[_Column]:
    """Return the columns whose value an expression is: one column, or those that USING makes one of."""
    if isinstance(expression, exp.Coalesce):
        columns = [expression.this, *expression.expressions]
        same = all(isinstance(each, exp.Column) for each in columns) and len({each.name for each in columns}) == 1
        return [_Column(each.table, each.name) for each in columns] if same else []
    return [_Column(expression.table, expression.name)] if isinstance(expression, exp.Column) else []


def _equal(scope: Scope, columns: Sequence[_Column]) -> set[_Column]:
    """Return the columns, and those that the joins make equal to them in every row that has both."""
    equations, found = _equations(scope), {*columns}
    for _ in equations:  # each pass may find one more link of a chain
        for equal in equations:
            if found & equal:
                found |= equal
    return found


def _conditions(scope: Scope, alias: str) -> Iterator[str]:
    """Yield the conditions of a scope on one of its tables alone."""
    where = scope.expression.args.get("where")
    parts = list(conjuncts(where.this if where else None))
    for join in joins_of(scope):
        limited = {"LEFT": [join.joined], "RIGHT": join.before, "FULL": []}.get(join.side, [*join.before, join.joined])
        parts += conjuncts(join.on) if alias in limited else []
    for part in parts:
        named = {column.table for column in part.find_all(exp.Column)}
        if named == {alias} and not part.find(*_NOT_OF_ONE_ROW):
            condition = part.copy()
            for column in condition.find_all(exp.Column):
                column.set("table", exp.to_identifier(ROW))
            yield condition.sql(dialect="postgres", comments=False)


def _computed(scope: Scope, number: int) -> str:
    """Return the expression that makes a returned column, wherever it is; empty for a column that is passed on."""
    if isinstance(scope.expression, exp.SetOperation):
        return next((text for part in scope.set_operation_scopes if (text := _computed(part, number))), "")
    selects = _selects(scope)
    if number >= len(selects):
        return ""
    expression = selects[number].unalias()
    columns = _columns(expression)
    if not columns:
        return str(expression.sql(dialect="postgres", comments=False))
    for column in columns:
        _, source = _sources(scope).get(column.source, (None, None))
        if isinstance(source, Scope):
            returned = [each.alias_or_name for each in _selects(source)]
            if column.name in returned and (text := _computed(source, returned.index(column.name))):
                return text
    return ""
