"""The proof that a SELECT never reads a table for all load_dates at once.

A table holds many load_dates. A SELECT is executed for one of them, so every table that it reads must be *bound*: a
condition limits its rows to that load_date, or to the window of load_dates that ends there.

The proof looks at one scope at a time. A scope is one SELECT with its FROM. The subqueries and CTEs in it are scopes of
their own. The proof has three steps:

1. `equality_edges` reads the conditions. An edge `a -> b` means: if `a` is bound, so is `b`.
2. `closure` follows the edges from what is bound without any condition: the two parameters, and the sources of FROM
   that were proven where they were made.
3. `unbound_tables` are the tables that no edge reaches. One of them is enough to refuse the SELECT.

A third parameter binds a table that carries on to its own load_date before (carry_on.py), and `previous_tables` are
the tables that its edges reach. `ties` are those of a question, which may read a fixed number of days before its
load_date too (question_tables.py). The same proof with the column and the parameter `batch` shows that a SELECT that
grows reads one batch (growing.py); `batchless_tables` are the tables for which it fails.

The proof is conservative: a condition that it does not know gives no edge, and the table counts as unbound.

There are two assumptions. A column `load_date` of a CTE or subquery holds load_dates of the tables that it was made
from, and a column `batch` their batches. And every table of a pipeline has the column load_date.

The examples below are run as tests. In them `edges(sql)` are the edges of a SELECT as text and `unbound(sql)` the
names of its unbound tables, both sorted; `D` stands for `%(load_date)s` and `B` for `%(batch)s`.

Belongs here: the rules for one scope. Not here: finding the scopes, and the sentences for the author (query.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from typing import NamedTuple

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from kpi_assets.model.joins import Join, conjuncts, joins_of
from kpi_assets.model.lookback import WINDOW_START
from kpi_assets.model.names import BATCH, LOAD_DATE, PREVIOUS, Relation
from kpi_assets.model.table_ref import THIS, tables_in


class Given(Enum):
    """What is bound before any condition of the scope is read."""

    LOAD_DATE = "%(load_date)s"  # the parameter
    WINDOW = "%(window_start)s to %(load_date)s"  # both parameters, as in `between`
    PREVIOUS = "%(previous_load_date)s"  # the parameter of a table that carries on
    BATCH = "%(batch)s"  # the parameter of a table that grows
    OUTER = "outer query"  # any source of an enclosing SELECT, which is proven in its own scope


@dataclass(frozen=True)
class Source:
    """A table, CTE, subquery or function in the FROM of a scope, by its name in the scope."""

    name: str


@dataclass(frozen=True)
class DaysBefore:
    """So many days before the load_date, as in `%(load_date)s::date - 7`."""

    days: int


Node = Given | Source | DaysBefore
_PARAMETERS = {Given.LOAD_DATE, Given.WINDOW}  # those of any table
NO_COLUMNS: Mapping[Relation, str] = {}


class Edge(NamedTuple):
    """If `bound` is bound, so is `follows`."""

    bound: Node
    follows: Node


def unbound_tables(scope: Scope, histories: Collection[Relation] = (), *, carries_on: bool = False) -> list[exp.Table]:
    """Return the tables of a scope that no condition limits to the load_date or to the window.

    >>> unbound("select a from raw.t where load_date = D")
    []
    >>> unbound("select a from raw.t")
    ['raw.t']

    A table can be bound by another table, and that one by a third.

    >>> unbound("select 1 from raw.t join raw.u using (load_date) join raw.v using (load_date) where v.load_date = D")
    []
    >>> unbound("select 1 from raw.t join raw.u using (k) where t.load_date = D")
    ['raw.u']

    A CTE or subquery needs no condition here: it is proven in its own scope. So it can bind a table.

    >>> unbound("select 1 from (select k, load_date from raw.t where load_date = D) as s join raw.u using (load_date)")
    []

    `{this}`, the build that a check reads, has one load_date and can bind a table too.

    >>> unbound('select 1 from "{this}" as t join raw.u on t.load_date = u.load_date')
    []

    In a SELECT that `carries_on`, a CTE, a subquery and the outer query may have the load_date before, so they bind no
    table.

    >>> s = "(select k, load_date from raw.t where load_date = D) as s"
    >>> unbound(f"select 1 from {s} join raw.u using (load_date)", carries_on=True)
    ['raw.u']
    >>> unbound("select 1 from raw.t join raw.u using (load_date) where t.load_date = D", carries_on=True)
    []

    A history is read as it was known on the load_date (history.py), so it is bound and can bind a table.

    >>> unbound("select 1 from raw.h join raw.t using (load_date)", histories=[("raw", "h")])
    []
    """
    proven: set[Node] = {*_PARAMETERS, *_audited(scope), *_named(scope, histories)}
    if not carries_on:
        proven |= {Given.OUTER, *_derived(scope)}
    bound = closure(equality_edges(scope), proven)
    return [table for table in _tables(scope) if Source(table.alias_or_name) not in bound]


def window_tables(scope: Scope, histories: Collection[Relation] = ()) -> list[exp.Table]:
    """Return the tables of a scope that are bound, but not surely to the load_date: they are read over the window.

    A CTE or subquery may have been bound to the window where it was made, so it proves the window only. `{this}` has
    the load_date itself. In doubt a table counts as read over the window, which includes the load_date.

    >>> windows("select 1 from raw.t where load_date between %(window_start)s and D")
    ['raw.t']
    >>> windows("select 1 from raw.t join raw.u using (load_date) where t.load_date = D")
    []
    >>> windows("select 1 from raw.t join raw.u using (load_date) where t.load_date between %(window_start)s and D")
    ['raw.t', 'raw.u']
    >>> windows("select 1 from (select load_date from raw.t where load_date = D) as s join raw.u using (load_date)")
    ['raw.u']
    """
    edges = equality_edges(scope)
    of_load_date = {*_audited(scope), *_named(scope, histories)}
    bound = closure(edges, {*_PARAMETERS, Given.OUTER, *of_load_date, *_derived(scope)})
    to_load_date = closure(edges, {Given.LOAD_DATE, *of_load_date})
    return [table for table in _tables(scope) if Source(table.alias_or_name) in bound - to_load_date]


def previous_tables(scope: Scope) -> list[exp.Table]:
    """Return the tables of a scope that a condition limits to the load_date before, and no other one to the load_date.

    >>> previous("select a from raw.t where load_date = %(previous_load_date)s")
    ['raw.t']
    >>> previous("select 1 from raw.t join raw.u using (load_date) where t.load_date = %(previous_load_date)s")
    ['raw.t', 'raw.u']
    >>> previous("select 1 from raw.t where load_date = %(previous_load_date)s and load_date = D")
    []
    """
    edges = equality_edges(scope)
    bound = closure(edges, {Given.PREVIOUS}) - closure(edges, _PARAMETERS)
    return [table for table in _tables(scope) if Source(table.alias_or_name) in bound]


def batchless_tables(scope: Scope) -> list[exp.Table]:
    """Return the tables of a scope that no condition limits to the batch.

    >>> batchless("select a from raw.t where load_date = D and batch = B")
    []
    >>> batchless("select a from raw.t where load_date = D")
    ['raw.t']
    >>> batchless("select a from raw.t where batch = D and load_date = B")
    ['raw.t']
    >>> batchless("select 1 from raw.t join raw.u using (load_date, batch) where t.load_date = D and t.batch = B::int")
    []
    >>> batchless("select 1 from raw.t left join raw.u using (k) where t.batch = B or u.batch = B")
    ['raw.t', 'raw.u']

    A CTE or subquery is proven in its own scope, and `{this}` has one batch. So both can bind a table.

    >>> batchless("with s as (select batch from raw.t where batch = B) select 1 from s join raw.u using (batch)")
    []
    >>> batchless('select 1 from "{this}" as t join raw.u on t.batch = u.batch')
    []
    """
    proven: set[Node] = {Given.BATCH, Given.OUTER, *_audited(scope), *_derived(scope)}
    bound = closure(equality_edges(scope, column=BATCH), proven)
    return [table for table in _tables(scope) if Source(table.alias_or_name) not in bound]


def ties(scope: Scope, columns: Mapping[Relation, str]) -> dict[exp.Table, set[Node]]:
    """Return what each table of a scope is limited to by conditions of the scope itself: nothing if it is unbound.

    `columns` names the column that holds the load_date of a relation, where that is another one.

    >>> tied("select 1 from raw.t join raw.u using (load_date) where t.load_date = D")
    ['t: %(load_date)s', 'u: %(load_date)s']
    >>> tied("select 1 from raw.t join raw.t as b on b.load_date = D::date - 7 and b.k = t.k where t.load_date = D")
    ['b: 7 days before', 't: %(load_date)s']
    >>> tied("select 1 from raw.t where load_date between %(window_start)s and D")
    ['t: %(window_start)s to %(load_date)s']
    >>> tied("select 1 from raw.t join (select 1 as load_date) as s using (load_date)")
    ['t: ']
    >>> tied("select 1 from raw.t where load_date = D::date - k")
    ['t: ']
    >>> tied("select 1 from raw.t where made_on = D", columns={("raw", "t"): "made_on"})
    ['t: %(load_date)s']
    >>> tied("select 1 from raw.t where load_date = D", columns={("raw", "t"): "made_on"})
    ['t: ']
    """
    edges = equality_edges(scope, columns)
    given: list[Node] = [*_PARAMETERS, *{edge.bound for edge in edges if isinstance(edge.bound, DaysBefore)}]
    reached = {node: closure(edges, {node}) for node in given}
    return {
        table: {node for node, bound in reached.items() if Source(table.alias_or_name) in bound}
        for table in _tables(scope)
    }


def closure(edges: Iterable[Edge], roots: Iterable[Node]) -> set[Node]:
    """Return everything that is bound if the roots are bound: the roots, and all that edges lead to from them.

    >>> t, u, v = Source("t"), Source("u"), Source("v")
    >>> closure([Edge(Given.LOAD_DATE, t), Edge(t, u), Edge(v, t)], [Given.LOAD_DATE]) == {Given.LOAD_DATE, t, u}
    True
    """
    edges, bound = list(edges), set(roots)
    while found := {edge.follows for edge in edges if edge.bound in bound} - bound:
        bound |= found
    return bound


def equality_edges(scope: Scope, columns: Mapping[Relation, str] = NO_COLUMNS, *, column: str = LOAD_DATE) -> set[Edge]:
    """Return every edge that the conditions of a scope prove, of the load_date or of another `column`.

    **Equality.** `load_date = %(load_date)s` binds a table, and `t.load_date = u.load_date` binds each table by the
    other. Either side may be cast to date.

    >>> edges("select 1 from raw.t where load_date = D")
    ['%(load_date)s -> t']
    >>> edges("select 1 from raw.t, raw.u where t.load_date = u.load_date::date")
    ['t -> u', 'u -> t']

    **USING.** A join using load_date demands the same equality.

    >>> edges("select 1 from raw.t join raw.u using (load_date, k)")
    ['t -> u', 'u -> t']

    **Window.** `load_date between %(window_start)s and %(load_date)s` binds to the window.

    >>> edges("select 1 from raw.t where load_date between %(window_start)s and D")
    ['%(window_start)s to %(load_date)s -> t']

    **AND only.** A condition under OR, NOT or CASE need not hold, and any other comparison proves nothing.

    >>> edges("select 1 from raw.t where (load_date = D and a = 1) and b = 2")
    ['%(load_date)s -> t']
    >>> edges("select 1 from raw.t where load_date = D or a = 1")
    []
    >>> edges("select 1 from raw.t where load_date >= D")
    []

    **Outer joins.** A source is bound only by a condition that removes its rows. WHERE removes rows of every source. ON
    removes rows of the sources joined so far, but not of the side that an outer join keeps: in `t left join u` it
    removes rows of u, and in a full join none.

    >>> edges("select 1 from raw.t left join raw.u on t.load_date = u.load_date")
    ['t -> u']
    >>> edges("select 1 from raw.t right join raw.u on t.load_date = u.load_date")
    ['u -> t']
    >>> edges("select 1 from raw.t full join raw.u on t.load_date = D and u.load_date = D")
    []

    **Names.** `load_date` without a table's name belongs to the only source, or after USING to all sources. Otherwise
    only Postgres knows its table.

    >>> edges("select 1 from raw.t join raw.u using (load_date) where load_date = D")
    ['%(load_date)s -> t', '%(load_date)s -> u', 't -> u', 'u -> t']
    >>> edges("select 1 from raw.t join raw.u on true where load_date = D")
    []

    **Outer query.** A name that is not a source of this scope is a source of an enclosing SELECT.

    >>> edges("select 1 from raw.u where u.load_date = somewhere.load_date")
    ['outer query -> u']

    **New names.** If an alias gives a table's columns new names, its `load_date` may be any other column.

    >>> edges("select 1 from raw.t as x (a, load_date) where x.load_date = D")
    []
    """
    sources, joins = list(scope.selected_sources), joins_of(scope)
    where = scope.expression.args.get("where")
    is_unambiguous = len(sources) == 1 or any(column in join.using for join in joins)
    other = {
        table.alias_or_name: columns[relation]
        for table in _tables(scope)
        if (relation := Relation(table.db, table.name)) in columns
    }
    names = _Names(sources, sources if is_unambiguous else [], other, column)
    edges: set[Edge] = set()
    for join in joins:
        if column in join.using:
            edges.update(_edges(map(Source, join.before), [Source(join.joined)], _limited(join)))
    for condition, limited in [(where and where.this, sources), *((join.on, _limited(join)) for join in joins)]:
        for part in conjuncts(condition):
            edges.update(_edges(*names.equated(part), limited))
    renamed = {Source(table.alias_or_name) for table in _tables(scope) if table.alias_column_names}
    return {edge for edge in edges if renamed.isdisjoint(edge)}


def _edges(left: Iterable[Node], right: Iterable[Node], limited: Sequence[str]) -> Iterator[Edge]:
    """Yield edges from each side of an equality to the sources of the other side whose rows the condition limits."""
    pairs = list(product(left, right))
    for one, other in [*pairs, *((other, one) for one, other in pairs)]:
        if isinstance(other, Source) and other.name in limited:
            yield Edge(one, other)


def _limited(join: Join) -> list[str]:
    """Return the sources of which a join's condition removes rows: not those on the side that an outer join keeps."""
    return {"LEFT": [join.joined], "RIGHT": join.before, "FULL": []}.get(join.side, [*join.before, join.joined])


@dataclass(frozen=True)
class _Names:
    """Finds the source of a load_date in a scope; `unqualified` are the sources of one without a table's name.

    `columns` are those that hold the load_date of a source under another name.
    """

    sources: Sequence[str]
    unqualified: Sequence[str]
    columns: Mapping[str, str] = field(default_factory=dict)
    column: str = LOAD_DATE  # the one whose equality is looked for

    def equated(self, part: exp.Expr) -> tuple[list[Node], list[Node]]:
        """Return the owners on both sides of a condition that makes load_dates equal, or limits them to the window."""
        if isinstance(part, exp.EQ):
            return self._owners(part.this), self._owners(part.expression)
        if _is_window(part):
            return [Given.WINDOW], self._owners(part.this)
        return [], []

    def _owners(self, side: exp.Expr) -> list[Node]:
        """Return the owners of the load_date on one side; none if the side is something else."""
        side = _without_cast(side, "int" if self.column == BATCH else "date")
        if _is_parameter(side, BATCH):
            return [Given.BATCH]
        if _is_parameter(side, LOAD_DATE):
            return [Given.LOAD_DATE]
        if _is_parameter(side, PREVIOUS):
            return [Given.PREVIOUS]
        if days := _days_before(side):
            return [DaysBefore(days)]
        if not isinstance(side, exp.Column):
            return []
        owners = [side.table] if side.table else self.unqualified
        named = [owner for owner in owners if side.name == self.columns.get(owner, self.column)]
        return [Source(owner) if owner in self.sources else Given.OUTER for owner in named]


def _is_window(part: exp.Expr) -> bool:
    """Whether a condition has the form `... between %(window_start)s and %(load_date)s`."""
    return (
        isinstance(part, exp.Between)
        and _is_parameter(_without_cast(part.args["low"]), WINDOW_START)
        and _is_parameter(_without_cast(part.args["high"]), LOAD_DATE)
    )


def _days_before(side: exp.Expr) -> int | None:
    """Return the number of days of `%(load_date)s::date - 7`; None for anything else."""
    side = _without_cast(side.unnest())
    if not isinstance(side, exp.Sub) or not isinstance(day := side.this, exp.Cast) or not day.to.is_type("date"):
        return None
    days = side.expression
    is_whole = isinstance(days, exp.Literal) and not days.is_string and days.name.isdigit()
    return int(days.name) if is_whole and _is_parameter(day.this, LOAD_DATE) else None


def _without_cast(side: exp.Expr, to: str = "date") -> exp.Expr:
    """Return the value below a cast to the column's type; another cast may make different values equal, and is kept."""
    return side.this if isinstance(side, exp.Cast) and side.to.is_type(to) else side


def _is_parameter(side: exp.Expr, name: str) -> bool:
    return isinstance(side, exp.Placeholder) and side.name == name


def _tables(scope: Scope) -> list[exp.Table]:
    """Return the tables of the warehouse in a scope, which have to be bound."""
    return [table for table in tables_in(scope) if table.name != THIS]


def _audited(scope: Scope) -> set[Source]:
    """Return `{this}`, under its names in the scope."""
    return {Source(table.alias_or_name) for table in tables_in(scope) if table.name == THIS}


def _named(scope: Scope, relations: Collection[Relation]) -> set[Source]:
    """Return those of the relations that a scope names, under their names there."""
    return {Source(table.alias_or_name) for table in tables_in(scope) if Relation(table.db, table.name) in relations}


def _derived(scope: Scope) -> set[Source]:
    """Return the CTEs, subqueries and functions of a scope."""
    named = {Source(table.alias_or_name) for table in tables_in(scope)}
    return {Source(name) for name in scope.selected_sources} - named
