"""Numbers: arithmetic, division and rounding, and the digits that each result has.

Not here: sums and averages of several rows (aggregates.py), and casts to and from other types (expressions.py).
"""

from collections.abc import Mapping

from sqlglot import exp

from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.types import (
    BIGINT,
    DIGITS,
    FINE,
    INTEGER,
    NULL,
    QUOTIENT,
    UNKNOWN,
    Type,
    as_numeric,
    numeric,
)
from kpi_assets.model.portable.values import Rule, Scope, Value, binary, call, cast, coerced, constant

_END = {INTEGER: 2**31, BIGINT: 2**63}


def exact(value: Value, scope: Scope) -> Value:
    """Return an integer or a numeric as a numeric."""
    to = as_numeric(value.type)
    return value if value.type == to else Value(cast(value.sql, to, scope.engine), to)


def rounded(value: Value, places: int, scope: Scope, node: exp.Expr) -> Value:
    """Return a number in so many places, rounded half away from zero, as all engines do in casts of decimals."""
    if value.type.is_quotient:
        if places > value.type.places:
            raise NotPortableError("places", node)
        to = numeric(value.type.whole + places, places)
    else:
        of = as_numeric(value.type)
        to = numeric(of.whole + places + (places < of.scale), places)
        if of.whole + places > DIGITS:
            raise NotPortableError("digits", node)
    return Value(cast(value.sql, to, scope.engine), to)


def divided(number: Value, by: Value, scope: Scope, node: exp.Expr) -> Value:
    """Return a quotient, with as many places as there is room for; a number too large for that raises on the engine."""
    number, by = exact(number, scope), exact(by, scope)
    if number.type.scale > QUOTIENT.scale or by.type.scale > QUOTIENT.scale - 4:
        raise NotPortableError("large_quotient", node)
    to = FINE if number.type.whole + by.type.scale <= FINE.whole else QUOTIENT
    wide = cast(number.sql, numeric(DIGITS - by.type.scale, to.scale), scope.engine)
    if scope.engine == "spark":
        made: exp.Expr = exp.Div(this=wide, expression=by.sql, typed=False, safe=False)
        return Value(cast(made, to, scope.engine), to)
    # DuckDB divides whole numbers only: those of the operands without their points, and it cuts the rest off.
    over = _unscaled(wide)
    if by.type.scale:
        over = exp.Paren(this=exp.Mul(this=over, expression=_power(by.type.scale)))
    quotient = exp.Paren(
        this=exp.IntDiv(this=over, expression=_not_zero(_unscaled(by.sql) if by.type.scale else _hugeint(by.sql)))
    )
    before = cast(exp.IntDiv(this=quotient, expression=_power(to.scale)), numeric(DIGITS - to.scale, 0), scope.engine)
    rest = exp.Mod(this=quotient.copy(), expression=_power(to.scale))
    unit = cast(constant("0." + "0" * (to.scale - 1) + "1"), numeric(to.scale, to.scale), scope.engine)
    after = exp.Mul(this=cast(rest, numeric(to.scale, 0), scope.engine), expression=unit)
    both = exp.Paren(this=exp.Add(this=before, expression=exp.Paren(this=after)))
    return Value(cast(both, to, scope.engine), to)


def _power(places: int) -> exp.Expr:
    """Return a power of ten as DuckDB's largest integer."""
    return _hugeint(constant("1" + "0" * places))


def _hugeint(value: exp.Expr) -> exp.Expr:
    """Return a number as DuckDB's largest integer."""
    return exp.Cast(this=value, to=exp.DataType.build("hugeint", dialect="duckdb"))


def _unscaled(value: exp.Expr) -> exp.Expr:
    """Return a decimal without its point, as DuckDB's largest integer."""
    text = exp.Cast(this=value, to=exp.DataType.build("varchar", dialect="duckdb"))
    return _hugeint(call("replace", text, ".", ""))


def _not_zero(value: exp.Expr) -> exp.Expr:
    """Return a divisor that raises if it is 0, as DuckDB does not."""
    zero = exp.EQ(this=value, expression=constant(0))
    return exp.Case(ifs=[exp.If(this=zero, true=call("error", "division by zero"))], default=value.copy())


def _number(node: exp.Expr, scope: Scope) -> Value:
    if node.args.get("is_string"):
        return Value(node.copy(), UNKNOWN)
    before, point, after = node.name.partition(".")
    if not (before + after).isdigit():
        raise NotPortableError("float", node)
    digits = len(before.lstrip("0"))
    if not point:
        type_ = next((each for each in (INTEGER, BIGINT) if int(before) < _END[each]), numeric(digits, 0))
    else:
        type_ = Type("numeric", max(1, digits + len(after)), len(after))
    if type_.digits > DIGITS or digits > DIGITS:
        raise NotPortableError("digits", node)
    return Value(cast(constant(node.name) if type_.base == "numeric" else node.copy(), type_, scope.engine), type_)


def _negative(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    if not value.type.is_number:
        raise NotPortableError("operands", node)
    for type_, end in _END.items():  # the smallest number of a type is written with digits that the type has not
        if isinstance(node.this, exp.Literal) and node.this.name == str(end):
            return Value(cast(exp.Neg(this=value.sql), type_, scope.engine), type_)
    return Value(exp.Paren(this=exp.Neg(this=exp.Paren(this=value.sql))), value.type)


def computed(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    """Return a sum, a difference, a product, a quotient or a rest of two numbers, of which one may be NULL."""
    left, right = (
        Value(cast(each.sql, INTEGER, scope.engine), INTEGER) if each.type == NULL else each for each in (left, right)
    )
    if not (left.type.is_number and right.type.is_number):
        raise NotPortableError("quoted" if UNKNOWN in (left.type, right.type) else "operands", node)
    if isinstance(node, exp.Div):
        return _division(node, left, right, scope)
    if left.type.is_integer and right.type.is_integer:
        to = left.type if left.type.digits > right.type.digits else right.type
        operands = [coerced(each, to, scope, node) for each in (left, right)]
        if isinstance(node, exp.Mod) and scope.engine == "duckdb":  # the smallest number modulo -1 raises there
            operands = [_hugeint(operands[0]), _not_zero(_hugeint(operands[1]))]
        return Value(cast(binary(type(node), *operands), to, scope.engine), to)
    if left.type.is_quotient or right.type.is_quotient:
        return _with_quotient(node, left, right, scope)
    return _of_numerics(node, exact(left, scope), exact(right, scope), scope)


def _division(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    if left.type.is_quotient or right.type.is_quotient:
        raise NotPortableError("quotient", node)
    if not (left.type.is_integer and right.type.is_integer):
        return divided(left, right, scope, node)
    to = left.type if left.type.digits > right.type.digits else right.type
    operands = [coerced(each, to, scope, node) for each in (left, right)]
    if scope.engine == "duckdb":
        operands[1] = _not_zero(operands[1])
    return Value(cast(binary(exp.IntDiv, *operands), to, scope.engine), to)


def _of_numerics(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    one, other = left.type, right.type
    if isinstance(node, exp.Mul):
        scale, whole = one.scale + other.scale, one.whole + other.whole
    elif isinstance(node, exp.Mod):
        raise NotPortableError("operands", node)
    else:
        scale, whole = max(one.scale, other.scale), max(one.whole, other.whole) + 1
    if scale + whole + 1 > DIGITS:  # Spark adds a digit of its own, and takes it from the scale where there is no place
        raise NotPortableError("digits", node)
    to = numeric(scale + whole, scale)
    operands = (left.sql, right.sql)
    if not isinstance(node, exp.Mul):
        operands = (cast(left.sql, to, scope.engine), cast(right.sql, to, scope.engine))
    return Value(cast(binary(type(node), *operands), to, scope.engine), to)


def _with_quotient(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    """Return a quotient times or plus an exact number; of two quotients, ties would be rounded by chance."""
    number = right if left.type.is_quotient else left
    if number.type.is_quotient or isinstance(node, exp.Mod):
        raise NotPortableError("quotient", node)
    number, narrow = exact(number, scope), QUOTIENT
    if isinstance(node, exp.Mul):
        if number.type.digits > QUOTIENT.scale or number.type.scale > 4:
            raise NotPortableError("large_quotient", node)
        narrow = numeric(QUOTIENT.digits - number.type.digits, QUOTIENT.scale)
    else:
        if number.type.whole > QUOTIENT.whole or number.type.scale > QUOTIENT.scale:
            raise NotPortableError("large_quotient", node)
        number = Value(cast(number.sql, QUOTIENT, scope.engine), QUOTIENT)
    is_left = left.type.is_quotient
    quotient = cast((left if is_left else right).sql, narrow, scope.engine)
    operands = (quotient, number.sql) if is_left else (number.sql, quotient)
    return Value(cast(binary(type(node), *operands), QUOTIENT, scope.engine), QUOTIENT)


def _truncated(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    if value.type.base != "numeric" or node.args.get("decimals") is not None:
        raise NotPortableError("round", node)
    type_ = numeric(value.type.whole, 0) if value.type.whole else numeric(1, 0)
    is_negative = exp.LT(this=value.sql, expression=constant(0))
    ends = exp.Case(
        ifs=[exp.If(this=is_negative, true=call("ceil", value.sql.copy()))], default=call("floor", value.sql.copy())
    )
    return Value(cast(ends, type_, scope.engine), type_)


def _round(node: exp.Expr, scope: Scope) -> Value:
    value, places = scope.value(node.this), node.args.get("decimals")
    if places is not None and (not isinstance(places, exp.Literal) or not places.name.isdigit()):
        raise NotPortableError("round", node)
    if not (value.type.base in ("numeric", "quotient") or (value.type.is_integer and places is not None)):
        raise NotPortableError("round", node)
    return rounded(value, int(places.name) if places is not None else 0, scope, node)


def _ceil_or_floor(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    if value.type.base != "numeric" or node.args.get("decimals") is not None:
        raise NotPortableError("round", node)
    type_ = numeric(value.type.whole + 1, 0)
    return Value(cast(call("ceil" if isinstance(node, exp.Ceil) else "floor", value.sql), type_, scope.engine), type_)


def _abs(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    if not value.type.is_number:
        raise NotPortableError("operands", node)
    return Value(call("abs", value.sql), value.type)


RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Literal: _number,
    exp.Neg: _negative,
    exp.Round: _round,
    **dict.fromkeys((exp.Ceil, exp.Floor), _ceil_or_floor),
    exp.Trunc: _truncated,
    exp.Abs: _abs,
}
