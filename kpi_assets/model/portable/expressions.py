"""Expressions: for each kind of value that a SELECT may compute, the rule that checks, types and writes it.

A rule takes a node of Postgres' syntax tree and returns the node of the engine with its type, or raises
NotPortableError. Values are cast wherever an engine would choose another type than Postgres.
Belongs here: comparisons, conditions, choices and casts, and the rules of all kinds together. Not here: what computes
with numbers, dates and texts (numbers.py, dates.py, texts.py), aggregates and windows (aggregates.py), and what
surrounds the expressions of a SELECT (statement.py).
"""

from collections.abc import Mapping

from sqlglot import exp

from kpi_assets.model.portable import dates, numbers, texts
from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    INTEGER,
    NULL,
    SMALLINT,
    TEXT,
    TIMESTAMP,
    UNKNOWN,
    Type,
    as_numeric,
    declared,
)
from kpi_assets.model.portable.values import (
    Rule,
    Scope,
    Value,
    binary,
    call,
    cast,
    coerced,
    condition,
    negated,
    refused,
    together,
)

_ENDLESS = (DATE, TIMESTAMP)


def _paren(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    return Value(value.sql if isinstance(value.sql, exp.Paren) else exp.Paren(this=value.sql), value.type)


def _arithmetic(node: exp.Expr, scope: Scope) -> Value:
    left, right = scope.value(node.this), scope.value(node.expression)
    if left.type == right.type == NULL:
        raise NotPortableError("operands", node)
    if left.type in (DATE, TIMESTAMP) or right.type in (DATE, TIMESTAMP):
        return dates.shifted(node, left, right, scope)
    return numbers.computed(node, left, right, scope)


def _comparison(node: exp.Expr, scope: Scope) -> Value:
    if isinstance(node.expression, exp.Any):
        return _among_parameter(node, scope)
    plain = [each.this if isinstance(each, exp.Collate) else each for each in (node.this, node.expression)]
    left, right = map(scope.value, plain)
    if _is_beyond_infinity(node) and left.type in (*_ENDLESS, as_numeric(left.type)):
        never = exp.If(this=exp.Is(this=left.sql, expression=exp.Null()), true=exp.Null())
        return Value(cast(exp.Case(ifs=[never], default=exp.Boolean(this=False)), BOOLEAN, scope.engine), BOOLEAN)
    (one, other), type_ = together([left, right], scope, node)
    ordered = isinstance(node, (exp.LT, exp.LTE, exp.GT, exp.GTE))
    if ordered and type_ == TEXT and not any(map(texts.is_by_bytes, (node.this, node.expression))):
        raise NotPortableError("text_order", node)
    return Value(exp.Paren(this=type(node)(this=one, expression=other)), BOOLEAN)


def _is_beyond_infinity(node: exp.Expr) -> bool:
    """Whether a condition asks for infinity, which no engine's value of these types is; checks of ranges ask so."""
    end = node.expression.name if isinstance(node.expression, exp.Literal) else ""
    return (type(node), end) in ((exp.GTE, "infinity"), (exp.LTE, "-infinity"))


def _among_parameter(node: exp.Expr, scope: Scope) -> Value:
    """Return `x = any(%(list)s)`, which only the product itself writes."""
    found = node.expression.find(exp.Placeholder)
    if not isinstance(node, exp.EQ) or found is None:
        raise NotPortableError("array", node)
    value = scope.value(node.this)
    name = "array_contains" if scope.engine == "spark" else "list_contains"
    return Value(call(name, found.copy(), value.sql), BOOLEAN)


def _between(node: exp.Expr, scope: Scope) -> Value:
    low = exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())
    high = exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())
    return Value(
        exp.Paren(this=exp.And(this=_comparison(low, scope).sql, expression=_comparison(high, scope).sql)), BOOLEAN
    )


def _in(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    if query := node.args.get("query"):
        return scope.is_in_rows(node, query, value)
    values = [value, *map(scope.value, node.expressions)]
    first, *others = together(values, scope, node)[0]
    return Value(exp.Paren(this=exp.In(this=first, expressions=others)), BOOLEAN)


def _logical(node: exp.Expr, scope: Scope) -> Value:
    both = (condition(node.this, scope), condition(node.expression, scope))
    return Value(binary(type(node), *both), BOOLEAN)


def _not(node: exp.Expr, scope: Scope) -> Value:
    return Value(exp.Paren(this=exp.Not(this=exp.Paren(this=condition(node.this, scope)))), BOOLEAN)


def _is(node: exp.Expr, scope: Scope) -> Value:
    of = node.expression
    found: exp.Expr
    if isinstance(of, exp.Null):
        found = exp.Paren(this=exp.Is(this=scope.value(node.this).sql, expression=exp.Null()))
    elif isinstance(of, exp.Boolean):
        found = call("coalesce", condition(node.this, scope), exp.Boolean(this=not of.this))
        found = found if of.this else exp.Paren(this=exp.Not(this=found))
    else:
        raise NotPortableError("function", node)
    return negated(node, found)


def _case(node: exp.Expr, scope: Scope) -> Value:
    of = node.args.get("this")
    tests = [exp.EQ(this=of.copy(), expression=each.this.copy()) if of else each.this for each in node.args["ifs"]]
    conditions = [condition(each, scope) for each in tests]
    values = [scope.value(each.args["true"]) for each in node.args["ifs"]]
    default = node.args.get("default")
    values.append(scope.value(default) if default else Value(exp.Null(), NULL))
    results, type_ = together(values, scope, node)
    ifs = [exp.If(this=test, true=result) for test, result in zip(conditions, results, strict=False)]
    return Value(exp.Case(ifs=ifs, default=results[-1]), type_)


def _one_of(node: exp.Expr, scope: Scope) -> Value:
    values, type_ = together([scope.value(each) for each in (node.this, *node.expressions)], scope, node)
    if isinstance(node, (exp.Greatest, exp.Least)) and type_ in (TEXT, BOOLEAN):
        raise NotPortableError("text_order" if type_ == TEXT else "operands", node)
    if len(values) == 1:
        return Value(values[0], type_)
    name = "coalesce" if isinstance(node, exp.Coalesce) else "greatest" if isinstance(node, exp.Greatest) else "least"
    return Value(call(name, *values), type_)


def _nullif(node: exp.Expr, scope: Scope) -> Value:
    first = scope.value(node.this)
    (one, other), type_ = together([first, scope.value(node.expression)], scope, node)
    result = type_ if first.type in (UNKNOWN, NULL) or type_.base == "numeric" else first.type
    return Value(cast(call("nullif", one, other), result, scope.engine), result)


def _cast(node: exp.Expr, scope: Scope) -> Value:
    to = _type_of(node)
    truncated = node.this
    if to == DATE and isinstance(truncated, (exp.TimestampTrunc, exp.DateTrunc)):
        return dates.start_of(truncated, scope)
    if isinstance(truncated, exp.Collate) and texts.is_by_bytes(truncated):
        truncated = truncated.this
    value = scope.value(truncated)
    if value.type == UNKNOWN:
        value = Value(coerced(value, to, scope, node), to)
    elif value.type.is_number and (to.base == "numeric" or to.is_integer):
        rounds = value.type.is_quotient or to.scale < value.type.scale
        value = numbers.rounded(value, to.scale, scope, node) if rounds else value
    elif not (value.type in (NULL, to) or _may_be_cast(value.type, to)):
        raise NotPortableError("cast", node)
    return Value(cast(value.sql, to, scope.engine), to)


def _may_be_cast(of: Type, to: Type) -> bool:
    """Whether engines agree on a cast between two types that are not both numbers."""
    to_text = to == TEXT and (of.is_integer or of in (DATE, BOOLEAN))
    return to_text or (of, to) in ((BOOLEAN, INTEGER), (DATE, TIMESTAMP), (TIMESTAMP, DATE))


_CASTS = {
    exp.DataType.Type.SMALLINT: SMALLINT,
    exp.DataType.Type.INT: INTEGER,
    exp.DataType.Type.BIGINT: BIGINT,
    exp.DataType.Type.BOOLEAN: BOOLEAN,
    exp.DataType.Type.TEXT: TEXT,
    exp.DataType.Type.DATE: DATE,
    exp.DataType.Type.TIMESTAMP: TIMESTAMP,
}


def _type_of(node: exp.Expr) -> Type:
    """Return the type to which a cast casts."""
    to = node.args["to"]
    if to.this == exp.DataType.Type.DECIMAL:
        if not to.expressions:
            raise NotPortableError("numeric", node)
        numbers = [int(each.name) for each in to.expressions]
        found = declared(f"numeric({numbers[0]},{numbers[1] if len(numbers) > 1 else 0})")
    else:
        found = _CASTS.get(to.this) if not to.expressions else None
    if found is None or isinstance(node, exp.TryCast):
        raise NotPortableError("digits" if to.this == exp.DataType.Type.DECIMAL else "type", node)
    return found


RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Null: lambda _node, _scope: Value(exp.Null(), NULL),
    exp.Boolean: lambda node, _scope: Value(node.copy(), BOOLEAN),
    exp.Column: lambda node, scope: scope.column(node),
    exp.Placeholder: lambda node, scope: scope.parameter(node),
    exp.Subquery: lambda node, scope: scope.subquery(node),
    exp.Exists: lambda node, scope: scope.exists(node),
    exp.Paren: _paren,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), _arithmetic),
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ), _comparison),
    exp.Between: _between,
    exp.In: _in,
    **dict.fromkeys((exp.And, exp.Or), _logical),
    exp.Not: _not,
    exp.Is: _is,
    exp.Case: _case,
    **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least), _one_of),
    exp.Nullif: _nullif,
    exp.Cast: _cast,
    **numbers.RULES,
    **dates.RULES,
    **texts.RULES,
}

# What a node may have besides `this`, `expression` and `expressions`; a rule knows nothing of other words.
_WORDS: dict[type[exp.Expr], set[str]] = {
    exp.Literal: {"is_string"},
    exp.Column: {"table"},
    exp.Subquery: {"alias"},
    exp.Cast: {"to"},
    exp.Between: {"low", "high"},
    exp.In: {"query"},
    exp.Case: {"ifs", "default"},
    exp.Is: {"negate"},
    exp.Like: {"negate"},
    exp.Greatest: {"ignore_nulls"},
    exp.Least: {"ignore_nulls"},
    exp.DPipe: {"safe"},
    exp.Concat: {"safe", "coalesce"},
    exp.Div: {"typed", "safe"},
    exp.TimestampTrunc: {"unit"},
    exp.DateTrunc: {"unit"},
    exp.Round: {"decimals"},
    exp.Trim: {"position"},
    exp.Substring: {"start", "length"},
    exp.SplitPart: {"delimiter", "part_index"},
    exp.StrPosition: {"substr"},
    exp.Replace: {"replacement"},
    exp.Translate: {"from_", "to"},
    exp.Count: {"big_int"},
    exp.Window: {"partition_by", "order", "spec", "over"},
}
_ANY = {"this", "expression", "expressions"}


def check_words(node: exp.Expr) -> None:
    """Raise NotPortableError for a node with a word of which its rule knows nothing."""
    if {name for name, value in node.args.items() if value} - _ANY - _WORDS.get(type(node), set()):
        raise refused(node)
