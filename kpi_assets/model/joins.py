"""The joins of a SELECT, and the parts of its conditions.

Belongs here: reading ON, USING and WHERE. Not here: conclusions from them (partition_filter.py, pushdown.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope


@dataclass(frozen=True)
class Join:
    """One join of a SELECT: `joined` is joined to the sources `before` it, each by its name in the SELECT."""

    before: list[str]
    joined: str
    side: str  # LEFT, RIGHT, FULL, or empty for an inner or cross join
    on: exp.Expr | None
    using: list[str]  # the columns of USING


def joins_of(scope: Scope) -> list[Join]:
    """Return the joins of a scope, in the order of its FROM."""
    sources = list(scope.selected_sources)
    found = []
    for join in scope.expression.args.get("joins") or []:
        name = join.alias_or_name
        before = sources[: sources.index(name)] if name in sources else sources
        using = [column.name for column in join.args.get("using") or []]
        found.append(Join(before, name, join.side, join.args.get("on"), using))
    return found


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    """Yield the parts of a condition, split at AND and without parentheses: all are true where the condition is true.

    >>> from sqlglot import parse_one
    >>> [part.sql() for part in conjuncts(parse_one("a = 1 and (b = 2 and (c = 3 or d = 4))"))]
    ['a = 1', 'b = 2', 'c = 3 OR d = 4']
    >>> list(conjuncts(None))
    []
    """
    if condition is None:
        return
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        yield from conjuncts(condition.this)
        yield from conjuncts(condition.expression)
    else:
        yield condition
