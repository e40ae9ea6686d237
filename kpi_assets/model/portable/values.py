"""Values: what the rules of expressions have in common, and what a rule asks of the SELECT around it.

Not here: the rules (numbers.py, dates.py, texts.py, expressions.py).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from sqlglot import exp

from kpi_assets.model.portable.refusals import OF_KIND, OF_NAME, NotPortableError
from kpi_assets.model.portable.types import BOOLEAN, DATE, NULL, TEXT, TIMESTAMP, UNKNOWN, Engine, Type, common

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,6})?")


class Value(NamedTuple):
    """A value as the engine writes it, and its type."""

    sql: exp.Expr
    type: Type


class Scope(Protocol):
    """What the rules ask of the SELECT around them."""

    engine: Engine

    def value(self, node: exp.Expr) -> Value:
        """Apply the rule for a node."""

    def column(self, node: exp.Column) -> Value:
        """Return the column of a source."""

    def parameter(self, node: exp.Placeholder) -> Value:
        """Return a parameter."""

    def subquery(self, node: exp.Expr) -> Value:
        """Return a subquery that is a value."""

    def is_in_rows(self, node: exp.Expr, query: exp.Expr, value: Value) -> Value:
        """Return whether a value is one of those that a subquery returns."""

    def exists(self, node: exp.Exists) -> Value:
        """Return whether a subquery returns a row."""


Rule = Callable[[Any, Scope], Value]  # of a node of the kind for which it is registered


def call(name: str, *values: exp.Expr | int | str) -> exp.Expr:
    """Return a call by the engine's own name, which nothing translates."""
    return exp.Anonymous(
        this=name, expressions=[each if isinstance(each, exp.Expr) else constant(each) for each in values]
    )


def constant(value: int | str) -> exp.Expr:
    """Return a constant."""
    return exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)


def cast(value: exp.Expr, type_: Type, engine: Engine) -> exp.Expr:
    """Return a value in the engine's type."""
    return exp.Cast(this=value, to=type_.on(engine))


def coerced(value: Value, to: Type, scope: Scope, node: exp.Expr) -> exp.Expr:
    """Return a value in another type that holds it."""
    if value.type == to:
        return value.sql
    if value.type == UNKNOWN:
        return _constant_as(value, to, scope, node)
    return cast(value.sql, to, scope.engine)


def _constant_as(value: Value, to: Type, scope: Scope, node: exp.Expr) -> exp.Expr:
    if to in (TEXT, UNKNOWN):
        return value.sql
    form = {DATE: _DAY, TIMESTAMP: _MOMENT}.get(to)
    if not isinstance(value.sql, exp.Literal) or form is None or not form.fullmatch(value.sql.name):
        raise NotPortableError("quoted", node)
    return cast(value.sql, to, scope.engine)


def together(values: Sequence[Value], scope: Scope, node: exp.Expr, least: Type = NULL) -> tuple[list[exp.Expr], Type]:
    """Return values in the one type that Postgres gives to all of them."""
    found: Type | None = least
    for value in values:
        found = common(found, value.type) if found is not None else None
    if found is None:
        quoted = any(value.type == UNKNOWN for value in values)
        raise NotPortableError("quoted" if quoted else "operands", node)
    to = TEXT if found in (UNKNOWN, NULL) else found
    return [coerced(value, to, scope, node) for value in values], to


def condition(node: exp.Expr, scope: Scope) -> exp.Expr:
    """Return a condition. Raises NotPortableError for any other value."""
    value = scope.value(node)
    if value.type not in (BOOLEAN, NULL):
        raise NotPortableError("operands", node)
    return coerced(value, BOOLEAN, scope, node)


def refused(node: exp.Expr) -> NotPortableError:
    """Return the reason for a node that has no rule."""
    key = OF_NAME.get(node.name.lower(), "function") if isinstance(node, exp.Anonymous) else "function"
    return NotPortableError(OF_KIND.get(type(node), key), node)


def binary(kind: type[exp.Expr], left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Return an operator between two values, in brackets."""
    return exp.Paren(this=kind(this=left, expression=right))


def negated(node: exp.Expr, found: exp.Expr) -> Value:
    """Return a condition, or its opposite for a node with NOT in the middle, as in `is not null`."""
    return Value(exp.Paren(this=exp.Not(this=found)) if node.args.get("negate") else found, BOOLEAN)
