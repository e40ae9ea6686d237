"""Aggregates and windows: what is computed over several rows, the same on each engine whatever order they come in.

Not here: values of one row (expressions.py).
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from sqlglot import exp

from kpi_assets.model.portable.numbers import divided, exact
from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.texts import is_by_bytes
from kpi_assets.model.portable.types import BIGINT, BOOLEAN, DATE, DIGITS, TEXT, TIMESTAMP, numeric
from kpi_assets.model.portable.values import Scope, Value, call, cast, condition, constant, refused, together

_ORDERED = (exp.RowNumber, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue)
_RANKS: Mapping[type[exp.Expr], str] = {exp.RowNumber: "row_number", exp.Rank: "rank", exp.DenseRank: "dense_rank"}
_OFFSETS: Mapping[type[exp.Expr], str] = {exp.Lag: "lag", exp.Lead: "lead"}
_ROWS = 9  # digits that a sum has more than its largest value: it holds 10^9 of them
_OF_AVERAGE = 21  # the most digits before the point of a sum that is divided


class RowScope(Scope, Protocol):
    """What aggregates ask of the SELECT around them."""

    def has_key(self, columns: Collection[exp.Expr]) -> bool:
        """Whether no two rows have the same values in these expressions."""

    def without_subqueries(self) -> Scope:
        """Return the scope for a place where no subquery may stand."""


class Aggregates:
    """One aggregate, with its FILTER and its OVER, which each part of a rewritten one gets."""

    def __init__(self, scope: RowScope, where: exp.Expr | None = None, over: exp.Window | None = None) -> None:
        self._scope, self._where, self._over = scope, where, over

    def value(self, node: exp.Expr) -> Value:
        """Return an aggregate or a window function."""
        if isinstance(node, exp.Window):
            return Aggregates(self._scope, over=node)._window()
        if isinstance(node, exp.Filter):
            where = condition(node.expression.this, self._scope.without_subqueries())
            return Aggregates(self._scope, where, self._over).value(node.this)
        if isinstance(node, exp.Count):
            return self._count(node)
        if isinstance(node, (exp.Sum, exp.Avg)):
            return self._sum(node) if isinstance(node, exp.Sum) else self._average(node)
        if isinstance(node, (exp.Min, exp.Max)):
            return self._extreme(node)
        if isinstance(node, (exp.LogicalAnd, exp.LogicalOr)):
            return self._every(node)
        raise refused(node)

    def _every(self, node: exp.Expr) -> Value:
        name = "bool_and" if isinstance(node, exp.LogicalAnd) else "bool_or"
        return Value(self._made(call(name, condition(node.this, self._scope))), BOOLEAN)

    def _count(self, node: exp.Expr) -> Value:
        what, distinct = _argument(node)
        if isinstance(what, exp.Star) or what is None:
            return Value(self._made(exp.Count(this=exp.Star())), BIGINT)
        return Value(self._counted(self._scope.value(what).sql, distinct=distinct), BIGINT)

    def _counted(self, value: exp.Expr, *, distinct: bool) -> exp.Expr:
        return self._made(exp.Count(this=exp.Distinct(expressions=[value]) if distinct else value))

    def _sum(self, node: exp.Expr) -> Value:
        what, distinct = _argument(node)
        return self._summed(self._scope.value(what), node, distinct=distinct)

    def _summed(self, value: Value, node: exp.Expr, *, distinct: bool, most: int = DIGITS) -> Value:
        """Return a sum in a type that holds it; a sum that is too large for the engine raises there."""
        if value.type.is_quotient:
            raise NotPortableError("quotient", node)
        if not value.type.is_exact:
            raise NotPortableError("operands", node)
        sql = value.sql
        if value.type == BIGINT:
            sql, type_ = cast(sql, numeric(DIGITS - 10, 0), self._scope.engine), numeric(min(most, DIGITS), 0)
        elif value.type.is_integer:
            type_ = BIGINT
        else:
            type_ = numeric(min(value.type.whole + _ROWS, most) + value.type.scale, value.type.scale)
        made = self._made(exp.Sum(this=exp.Distinct(expressions=[sql]) if distinct else sql))
        return Value(cast(made, type_, self._scope.engine), type_)

    def _average(self, node: exp.Expr) -> Value:
        what, distinct = _argument(node)
        value = self._scope.value(what)
        if not value.type.is_number:
            raise NotPortableError("operands", node)
        total = exact(self._summed(value, node, distinct=distinct, most=_OF_AVERAGE), self._scope)
        count = call("nullif", self._counted(value.sql.copy(), distinct=distinct), constant(0))
        return divided(total, Value(count, BIGINT), self._scope, node)

    def _extreme(self, node: exp.Expr) -> Value:
        what = node.this
        by_bytes = is_by_bytes(what)
        value = self._scope.value(what.this if by_bytes else what)
        if node.expressions or not (value.type.is_number or value.type in (DATE, TIMESTAMP, TEXT)):
            raise NotPortableError("operands", node)
        if value.type == TEXT and not by_bytes:
            raise NotPortableError("text_order", node)
        return Value(self._made(type(node)(this=value.sql)), value.type)

    def _made(self, sql: exp.Expr) -> exp.Expr:
        """Return an aggregate with its FILTER and its OVER."""
        if self._where is not None:
            sql = exp.Filter(this=sql, expression=exp.Where(this=self._where.copy()))
        if self._over is not None:
            sql = exp.Window(this=sql, **self._over_parts(self._over))
        return sql

    def _over_parts(self, over: exp.Window) -> dict[str, object]:
        partition = [self._scope.value(each).sql for each in over.args.get("partition_by") or []]
        order = over.args.get("order")
        terms = [ordered(each, self._scope) for each in order.expressions] if order else []
        spec = over.args.get("spec")
        return {
            "partition_by": partition,
            "order": exp.Order(expressions=terms) if terms else None,
            "spec": spec.copy() if spec else None,
        }

    def _window(self) -> Value:
        over = self._over
        assert over is not None
        function = over.this
        spec, order = over.args.get("spec"), over.args.get("order")
        if isinstance(function, exp.Filter):
            raise NotPortableError("filter_over", over)
        unsorted = isinstance(function, (*_RANKS, *_ORDERED)) and order is None
        if (
            unsorted
            or isinstance(function.this, exp.Distinct)
            or over.args.get("alias")
            or isinstance(function, (exp.IgnoreNulls, exp.RespectNulls))
        ):
            raise NotPortableError("function", over)
        by_rows = spec is not None and (spec.args.get("kind") or "").upper() != "RANGE"
        if isinstance(function, _ORDERED) or by_rows:
            given = [
                *(over.args.get("partition_by") or []),
                *(each.this for each in (order.expressions if order else [])),
            ]
            if not self._scope.has_key(given):
                raise NotPortableError("row_order", over)
        _check_frame(spec, over)
        if type(function) in _RANKS:
            return Value(cast(self._made(call(_RANKS[type(function)])), BIGINT, self._scope.engine), BIGINT)
        if isinstance(function, (exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue)):
            return self._of_another_row(function)
        return self.value(function)

    def _of_another_row(self, core: exp.Expr) -> Value:
        value = self._scope.value(core.this)
        if isinstance(core, (exp.FirstValue, exp.LastValue)):
            name = "first_value" if isinstance(core, exp.FirstValue) else "last_value"
            return Value(self._made(call(name, value.sql)), value.type)
        offset, default = core.args.get("offset"), core.args.get("default")
        if offset is not None and not (isinstance(offset, exp.Literal) and offset.name.isdigit()):
            raise NotPortableError("position", core)
        given = [value, *([self._scope.value(default)] if default is not None else [])]
        (first, *others), type_ = together(given, self._scope, core)
        parts = [first, offset.copy() if offset else constant(1), *others]
        return Value(self._made(call(_OFFSETS[type(core)], *parts)), type_)


def _check_frame(spec: exp.Expr | None, over: exp.Expr) -> None:
    """Raise NotPortableError for a frame other than of rows, or of all rows up to the equal ones."""
    if spec is None:
        return
    kind = (spec.args.get("kind") or "").upper()
    bounds = [spec.args.get("start"), spec.args.get("end")]
    by_value = [each for each in bounds if isinstance(each, exp.Expr) and not each.name.isdigit()]
    if kind not in ("ROWS", "RANGE") or spec.args.get("exclude") or (by_value and kind == "ROWS"):
        raise NotPortableError("function", over)
    if kind == "RANGE" and any(isinstance(each, exp.Expr) for each in bounds):
        raise NotPortableError("function", over)


def ordered(node: exp.Expr, scope: Scope) -> exp.Expr:
    """Return a term of ORDER BY, in which the place of NULL is written out."""
    by_bytes = is_by_bytes(node.this)
    value = scope.value(node.this.this if by_bytes else node.this)
    if value.type == TEXT and not by_bytes:
        raise NotPortableError("text_order", node)
    return exp.Ordered(this=value.sql, desc=bool(node.args.get("desc")), nulls_first=bool(node.args.get("nulls_first")))


def _argument(node: exp.Expr) -> tuple[exp.Expr, bool]:
    """Return what an aggregate is over, and whether over each value once."""
    what = node.this
    if isinstance(what, exp.Distinct):
        if len(what.expressions) != 1:
            raise NotPortableError("array", node)
        return what.expressions[0], True
    if isinstance(what, exp.Order):
        raise NotPortableError("ordered_aggregate", node)
    return what, False


KINDS = (*(exp.Window, exp.Filter, exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr),)
