"""Value types: the kind of number that an expression of a SELECT gives, if that is known without a server.

Belongs here: Postgres' rules for the types of operators, casts and common functions, reduced to five kinds. None means
a kind that only Postgres knows. Not here: what follows from a kind (replay.py, checks/).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from kpi_assets.model.column_types import base_of
from kpi_assets.model.names import LOAD_DATE, Relation

Kind = Literal["integer", "bigint", "numeric", "float", "other"]  # integer includes smallint
KindOf = Callable[[exp.Expr], "Kind | None"]

_NUMBERS: tuple[Kind, ...] = (
    "integer",
    "bigint",
    "numeric",
    "float",
)  # an operator gives the later kind of its two operands
_CAST: dict[object, Kind] = {
    exp.DataType.Type.SMALLINT: "integer",
    exp.DataType.Type.INT: "integer",
    exp.DataType.Type.BIGINT: "bigint",
    exp.DataType.Type.DECIMAL: "numeric",
    exp.DataType.Type.FLOAT: "float",
    exp.DataType.Type.DOUBLE: "float",
}
_SAME = (exp.Paren, exp.Alias, exp.Neg, exp.Abs, exp.Min, exp.Max, exp.AnyValue, exp.Filter, exp.Window, exp.Order)
_SAME_OF_A_ROW = (exp.FirstValue, exp.LastValue, exp.NthValue, exp.Lag, exp.Lead, exp.Nullif)
_EITHER = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)
_ONE_OF = (exp.Coalesce, exp.Greatest, exp.Least)
_COUNTS = (exp.Count, exp.RowNumber, exp.Rank, exp.DenseRank, exp.RegrCount)
_SUMS = (exp.Sum, exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop)
_ROOTS = (exp.Sqrt, exp.Exp, exp.Ln, exp.Pow, exp.Ceil, exp.Floor)  # double precision for whole numbers
_FLOATS = (exp.Rand, exp.Cbrt, exp.Corr, exp.CovarPop, exp.CovarSamp)


def declared(type_: str) -> Kind:
    """Return the kind of a column type of a header."""
    base = base_of(type_)
    if base in {"real", "double precision"}:
        return "float"
    if base in {"smallint", "integer"}:
        return "integer"
    return "bigint" if base == "bigint" else "numeric" if base == "numeric" else "other"


def of_columns(types: Mapping[str, str]) -> KindOf:
    """Return a function for the kinds of expressions over one table, whose columns have these types."""
    return lambda expression: kind_of(expression, lambda column: _declared_in(types, column.name))


def in_scope(scope: Scope, types: Mapping[Relation, Mapping[str, str]]) -> KindOf:
    """Return a function for the kinds of expressions in a scope of a SELECT that reads tables with these columns."""
    return lambda expression: kind_of(expression, lambda column: _column_in(scope, column, types))


def kind_of(expression: exp.Expr, column: Callable[[exp.Column], Kind | None]) -> Kind | None:
    """Return the kind of an expression, from the kinds of its columns."""

    def kind(each: exp.Expr) -> Kind | None:
        return kind_of(each, column)

    for types, rule in _RULES:
        if isinstance(expression, types):
            return rule(expression, kind)
    return column(expression) if isinstance(expression, exp.Column) else None


def _literal(value: exp.Expr, _kind: KindOf) -> Kind | None:
    if value.args.get("is_string"):
        return None  # its type depends on the context
    return "integer" if value.name.isdigit() else "numeric"


def _sum(call: exp.Expr, kind: KindOf) -> Kind | None:
    of = kind(argument(call.this))
    if of == "integer" and isinstance(call, exp.Sum):
        return "bigint"
    return "numeric" if of in {"integer", "bigint"} else of


def _root(call: exp.Expr, kind: KindOf) -> Kind | None:
    of = _widest(kind(each) for each in (call.this, call.args.get("expression")) if each is not None)
    return "float" if of in {"integer", "bigint"} else of


def _round(call: exp.Expr, kind: KindOf) -> Kind | None:
    return "numeric" if call.args.get("decimals") is not None else _root(call, kind)


def _one_of(call: exp.Expr, kind: KindOf) -> Kind | None:
    values = [call.this, *call.expressions]
    return _widest(kind(each) for each in values if not isinstance(each, exp.Null))


def _case(call: exp.Expr, kind: KindOf) -> Kind | None:
    values = [*(each.args.get("true") for each in call.args.get("ifs") or [call]), call.args.get("default")]
    return _widest(kind(each) for each in values if each is not None and not isinstance(each, exp.Null))


_RULES: list[tuple[tuple[type[exp.Expr], ...], Callable[[exp.Expr, KindOf], Kind | None]]] = [
    ((exp.Literal,), _literal),
    ((exp.Boolean, exp.Predicate), lambda _call, _kind: "other"),
    ((exp.Cast,), lambda call, _kind: _CAST.get(call.args["to"].this, "other") if _is_builtin(call) else None),
    (_SAME, lambda call, kind: kind(argument(call.this))),
    (_SAME_OF_A_ROW, lambda call, kind: kind(call.this)),
    (_EITHER, lambda call, kind: _widest([kind(call.this), kind(call.args["expression"])])),
    (_ONE_OF, _one_of),
    ((exp.Case, exp.If), _case),
    (_COUNTS, lambda _call, _kind: "bigint"),
    (_SUMS, _sum),
    ((exp.Round,), _round),
    (_ROOTS, _root),
    (_FLOATS, lambda _call, _kind: "float"),
]


def argument(value: exp.Expr) -> exp.Expr:
    """Return the argument of an aggregate, without DISTINCT and ORDER BY."""
    if isinstance(value, exp.Order) and value.this is not None:
        value = value.this
    if isinstance(value, exp.Distinct) and len(value.expressions) == 1:
        value = value.expressions[0]
    return value


def _is_builtin(cast: exp.Expr) -> bool:
    return bool(cast.args["to"].this != exp.DataType.Type.USERDEFINED)


def _widest(kinds: Iterable[Kind | None]) -> Kind | None:
    """Return the kind that Postgres computes in for these kinds of numbers; None for dates, intervals and the like."""
    found = list(kinds)
    if not found or None in found or "other" in found:
        return None
    return max((kind for kind in found if kind), key=_NUMBERS.index)


def _declared_in(types: Mapping[str, str], name: str) -> Kind | None:
    if name == LOAD_DATE:
        return "other"
    return declared(types[name]) if name in types else None


def _column_in(scope: Scope | None, column: exp.Column, types: Mapping[Relation, Mapping[str, str]]) -> Kind | None:
    """Return the kind of a column, found in the sources of its scope, or else in those of the enclosing queries."""
    while scope is not None:
        named = scope.selected_sources
        sources = [named[column.table][1]] if column.table in named else []
        if not column.table:
            sources = [source for _, source in named.values() if _has(source, column.name, types)]
        if sources:
            kinds = {_source_column(source, column.name, types) for source in sources}
            return kinds.pop() if len(kinds) == 1 else None
        scope = None if scope.is_cte or scope.is_derived_table else scope.parent  # neither sees the query around it
    return None


def _has(source: exp.Expr | Scope, name: str, types: Mapping[Relation, Mapping[str, str]]) -> bool:
    if isinstance(source, Scope):
        return isinstance(source.expression, exp.Query) and name in source.expression.named_selects
    return isinstance(source, exp.Table) and name in types.get(Relation(source.db, source.name), {})


def _source_column(source: exp.Expr | Scope, name: str, types: Mapping[Relation, Mapping[str, str]]) -> Kind | None:
    if isinstance(source, exp.Table):
        return _declared_in(types.get(Relation(source.db, source.name), {}), name)
    if not isinstance(source, Scope) or not isinstance(source.expression, exp.Select):
        return None  # a UNION, or rows that a function makes
    for projection in source.expression.selects:
        if projection.alias_or_name == name:
            return in_scope(source, types)(projection.unalias())
    return None
