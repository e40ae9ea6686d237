"""What the conditions of one SELECT demand of a row: the parts of an AND, and the columns that a join makes equal.

Belongs here: reading ON, USING and WHERE. Not here: what follows from them (partition_filter.py, pushdown.py).
"""

from collections.abc import Iterator

from sqlglot import exp


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    """The conditions that all hold wherever this one holds: its parts, split at AND and without parentheses.

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


def using_columns(join: exp.Join) -> list[str]:
    """The names of the columns that `join ... using (...)` makes equal; none where the join has no USING.

    >>> from sqlglot import parse_one
    >>> using_columns(parse_one("select * from t join u using (load_date, k)").args["joins"][0])
    ['load_date', 'k']
    """
    return [column.name for column in join.args.get("using") or []]
