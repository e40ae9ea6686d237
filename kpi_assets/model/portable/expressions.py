"""Expressions: for each kind of value that a SELECT may compute, the rule that checks, types and writes it.

A rule takes a node of Postgres' syntax tree and returns the node of the engine with its type, or raises
NotPortableError. Values are cast wherever an engine would choose another type than Postgres. Not here: aggregates and
windows (aggregates.py), and what surrounds the expressions of a SELECT (statement.py).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from sqlglot import exp

from kpi_assets.model.portable.refusals import OF_KIND, OF_NAME, NotPortableError
from kpi_assets.model.portable.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DIGITS,
    INTEGER,
    NULL,
    QUOTIENT,
    QUOTIENT_DIGITS,
    QUOTIENT_SCALE,
    SMALLINT,
    TEXT,
    TIMESTAMP,
    UNKNOWN,
    Engine,
    Type,
    as_numeric,
    common,
    declared,
    numeric,
)

PLACES = 6  # the most to which a quotient may be rounded
_LARGEST = 22  # the most digits before the point of what is divided: with 16 after it, an engine's 38
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,6})?")
_PARTS = {"year": "year", "quarter": "quarter", "month": "month", "week": "week", "day": "day", "doy": "doy"}
_OF_TIME = {"hour": "hour", "minute": "minute"}
_END = {INTEGER: 2**31, BIGINT: 2**63}
_ENDLESS = (DATE, TIMESTAMP)
_UNITS = {"year": "YEAR", "quarter": "QUARTER", "month": "MONTH", "week": "WEEK", "day": "DAY"}


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


def exact(value: Value, scope: Scope) -> Value:
    """Return an integer or a numeric as a numeric."""
    to = as_numeric(value.type)
    return value if value.type == to else Value(cast(value.sql, to, scope.engine), to)


def rounded(value: Value, places: int, scope: Scope, node: exp.Expr) -> Value:
    """Return a number in so many places, rounded half away from zero, as all engines do in casts of decimals."""
    if value.type == QUOTIENT:
        if places > PLACES:
            raise NotPortableError("places", node)
        to = numeric(QUOTIENT_DIGITS - QUOTIENT_SCALE + places, places)
    else:
        of = as_numeric(value.type)
        to = numeric(of.whole + places + (places < of.scale), places)
        if of.whole + places > DIGITS:
            raise NotPortableError("digits", node)
    return Value(cast(value.sql, to, scope.engine), to)


def divided(number: Value, by: Value, scope: Scope, node: exp.Expr) -> Value:
    """Return a quotient as a decimal of 16 places; a number too large for that raises on the engine."""
    number, by = exact(number, scope), exact(by, scope)
    whole = _LARGEST - by.type.scale
    if number.type.scale > QUOTIENT_SCALE or by.type.scale > QUOTIENT_SCALE - 4:
        raise NotPortableError("large_quotient", node)
    wide = cast(number.sql, numeric(whole + QUOTIENT_SCALE, QUOTIENT_SCALE), scope.engine)
    if scope.engine == "spark":
        made: exp.Expr = exp.Div(this=wide, expression=by.sql, typed=False, safe=False)
        return Value(cast(made, QUOTIENT, scope.engine), QUOTIENT)
    # DuckDB divides whole numbers only: those of the operands without their points, and it cuts the rest off.
    over = _unscaled(wide)
    if by.type.scale:
        over = exp.Paren(this=exp.Mul(this=over, expression=_power(by.type.scale)))
    quotient = exp.Paren(
        this=exp.IntDiv(this=over, expression=_not_zero(_unscaled(by.sql) if by.type.scale else _hugeint(by.sql)))
    )
    before = cast(exp.IntDiv(this=quotient, expression=_power(QUOTIENT_SCALE)), numeric(_LARGEST, 0), scope.engine)
    rest = exp.Mod(this=quotient.copy(), expression=_power(QUOTIENT_SCALE))
    unit = cast(
        constant("0." + "0" * (QUOTIENT_SCALE - 1) + "1"), numeric(QUOTIENT_SCALE, QUOTIENT_SCALE), scope.engine
    )
    after = exp.Mul(this=cast(rest, numeric(QUOTIENT_SCALE, 0), scope.engine), expression=unit)
    both = exp.Paren(this=exp.Add(this=before, expression=exp.Paren(this=after)))
    return Value(cast(both, QUOTIENT, scope.engine), QUOTIENT)


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


def _paren(node: exp.Expr, scope: Scope) -> Value:
    value = scope.value(node.this)
    return Value(value.sql if isinstance(value.sql, exp.Paren) else exp.Paren(this=value.sql), value.type)


def _arithmetic(node: exp.Expr, scope: Scope) -> Value:
    left, right = scope.value(node.this), scope.value(node.expression)
    if left.type == right.type == NULL:
        raise NotPortableError("operands", node)
    if left.type in (DATE, TIMESTAMP) or right.type in (DATE, TIMESTAMP):
        return _of_dates(node, left, right, scope)
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
        return Value(cast(_binary(type(node), *operands), to, scope.engine), to)
    if QUOTIENT in (left.type, right.type):
        return _with_quotient(node, left, right, scope)
    return _of_numerics(node, exact(left, scope), exact(right, scope), scope)


def _binary(kind: type[exp.Expr], left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.Paren(this=kind(this=left, expression=right))


def _division(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    if QUOTIENT in (left.type, right.type):
        raise NotPortableError("quotient", node)
    if not (left.type.is_integer and right.type.is_integer):
        return divided(left, right, scope, node)
    to = left.type if left.type.digits > right.type.digits else right.type
    operands = [coerced(each, to, scope, node) for each in (left, right)]
    if scope.engine == "duckdb":
        operands[1] = _not_zero(operands[1])
    return Value(cast(_binary(exp.IntDiv, *operands), to, scope.engine), to)


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
    return Value(cast(_binary(type(node), *operands), to, scope.engine), to)


def _with_quotient(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    """Return a quotient times or plus an exact number; of two quotients, ties would be rounded by chance."""
    number = right if left.type == QUOTIENT else left
    if number.type == QUOTIENT or isinstance(node, exp.Mod):
        raise NotPortableError("quotient", node)
    number = exact(number, scope)
    if isinstance(node, exp.Mul):
        if number.type.digits > QUOTIENT_SCALE or number.type.scale > 4:
            raise NotPortableError("large_quotient", node)
        narrow = numeric(QUOTIENT_DIGITS - number.type.digits, QUOTIENT_SCALE)
    else:
        if number.type.whole > QUOTIENT_DIGITS - QUOTIENT_SCALE or number.type.scale > QUOTIENT_SCALE:
            raise NotPortableError("large_quotient", node)
        narrow = QUOTIENT
        number = Value(cast(number.sql, QUOTIENT, scope.engine), QUOTIENT)
    is_left = left.type == QUOTIENT
    quotient = cast((left if is_left else right).sql, narrow, scope.engine)
    operands = (quotient, number.sql) if is_left else (number.sql, quotient)
    return Value(cast(_binary(type(node), *operands), QUOTIENT, scope.engine), QUOTIENT)


def _of_dates(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    days = cast(right.sql, INTEGER, scope.engine)
    whole = right.type.is_integer and right.type != BIGINT
    if left.type == DATE and whole and isinstance(node, (exp.Add, exp.Sub)):
        if scope.engine == "duckdb":
            return Value(cast(_binary(type(node), left.sql, days), DATE, scope.engine), DATE)
        return Value(call("date_add" if isinstance(node, exp.Add) else "date_sub", left.sql, days), DATE)
    right_day = right if right.type != UNKNOWN else Value(coerced(right, left.type, scope, node), left.type)
    if left.type == DATE == right_day.type and isinstance(node, exp.Sub):
        if scope.engine == "duckdb":
            return Value(cast(call("date_diff", "day", right_day.sql, left.sql), INTEGER, scope.engine), INTEGER)
        return Value(call("datediff", left.sql, right_day.sql), INTEGER)
    if left.type.is_integer and right.type == DATE and isinstance(node, exp.Add):
        return _of_dates(exp.Add(this=node.expression, expression=node.this), right, left, scope)
    raise NotPortableError("interval", node)


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
    if ordered and type_ == TEXT and not any(map(is_by_bytes, (node.this, node.expression))):
        raise NotPortableError("text_order", node)
    return Value(exp.Paren(this=type(node)(this=one, expression=other)), BOOLEAN)


def _is_beyond_infinity(node: exp.Expr) -> bool:
    """Whether a condition asks for infinity, which no engine's value of these types is; checks of ranges ask so."""
    end = node.expression.name if isinstance(node.expression, exp.Literal) else ""
    return (type(node), end) in ((exp.GTE, "infinity"), (exp.LTE, "-infinity"))


def is_by_bytes(node: exp.Expr) -> bool:
    """Whether a text is compared by its bytes, `collate "C"`, as engines do. Raises NotPortableError for others."""
    if isinstance(node, exp.Collate) and node.expression.name != "C":
        raise NotPortableError("text_order", node)
    return isinstance(node, exp.Collate)


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
    return Value(_binary(type(node), *both), BOOLEAN)


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
    return _negated(node, found)


def _negated(node: exp.Expr, found: exp.Expr) -> Value:
    """Return a condition, or its opposite for a node with NOT in the middle, as in `is not null`."""
    return Value(exp.Paren(this=exp.Not(this=found)) if node.args.get("negate") else found, BOOLEAN)


def _like(node: exp.Expr, scope: Scope) -> Value:
    value, pattern = scope.value(node.this), node.expression
    is_plain = isinstance(pattern, exp.Literal) and pattern.args.get("is_string") and "\\" not in pattern.name
    if value.type != TEXT or not is_plain:
        raise NotPortableError("pattern", node)
    return _negated(node, exp.Paren(this=exp.Like(this=value.sql, expression=pattern.copy())))


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
        return _start_of(truncated, scope)
    if isinstance(truncated, exp.Collate) and is_by_bytes(truncated):
        truncated = truncated.this
    value = scope.value(truncated)
    if value.type == UNKNOWN:
        value = Value(coerced(value, to, scope, node), to)
    elif value.type.is_number and (to.base == "numeric" or to.is_integer):
        rounds = value.type == QUOTIENT or to.scale < value.type.scale
        value = rounded(value, to.scale, scope, node) if rounds else value
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


def _start_of(node: exp.Expr, scope: Scope) -> Value:
    unit, value = _UNITS.get(node.args["unit"].name.lower()), scope.value(node.this)
    if unit is None or value.type not in (DATE, TIMESTAMP) or node.args.get("zone"):
        raise NotPortableError("date_trunc", node)
    day = cast(value.sql, DATE, scope.engine)
    if unit == "DAY":
        return Value(day, DATE)
    if scope.engine == "spark":
        return Value(call("trunc", day, unit), DATE)
    return Value(cast(call("date_trunc", unit.lower(), day), DATE, scope.engine), DATE)


def _start_of_moment(node: exp.Expr, scope: Scope) -> Value:
    if scope.value(node.this).type != TIMESTAMP:
        raise NotPortableError("date_trunc", node)
    return Value(cast(_start_of(node, scope).sql, TIMESTAMP, scope.engine), TIMESTAMP)


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


def _extract(node: exp.Expr, scope: Scope) -> Value:
    part, value = node.this.name.lower(), scope.value(node.expression)
    if value.type not in (DATE, TIMESTAMP) or (part in _OF_TIME and value.type != TIMESTAMP):
        raise NotPortableError("date_part", node)
    if part in ("dow", "isodow"):
        number = _day_of_week(part, value.sql, scope.engine)
    elif part in _PARTS or part in _OF_TIME:
        number = exp.Extract(this=exp.var(part.upper()), expression=value.sql)
    else:
        raise NotPortableError("date_part", node)
    type_ = numeric(10, 0)
    return Value(cast(number, type_, scope.engine), type_)


def _day_of_week(part: str, value: exp.Expr, engine: Engine) -> exp.Expr:
    if engine == "duckdb":
        return call("dayofweek" if part == "dow" else "isodow", value)
    # Spark's weekday counts from 0 for Monday.
    monday = exp.Paren(this=exp.Add(this=call("weekday", value), expression=constant(1)))
    return exp.Paren(this=exp.Mod(this=monday, expression=constant(7))) if part == "dow" else monday


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


def _texts(node: exp.Expr, scope: Scope, *parts: exp.Expr) -> list[exp.Expr]:
    """Return the arguments of a function of texts."""
    values = [scope.value(each) for each in parts]
    if any(value.type not in (TEXT, UNKNOWN, NULL) for value in values):
        raise NotPortableError("operands", node)
    return [coerced(value, TEXT, scope, node) for value in values]


def _joined(node: exp.Expr, scope: Scope) -> Value:
    return Value(
        exp.Paren(
            this=exp.DPipe(this=(both := _texts(node, scope, node.this, node.expression))[0], expression=both[1])
        ),
        TEXT,
    )


def _concat(node: exp.Expr, scope: Scope) -> Value:
    """Return `concat`, for which NULL is an empty text."""
    parts = [call("coalesce", each, "") for each in _texts(node, scope, *node.expressions)]
    return Value(call("concat", *parts), TEXT)


def _length(node: exp.Expr, scope: Scope) -> Value:
    return Value(cast(call("length", *_texts(node, scope, node.this)), INTEGER, scope.engine), INTEGER)


def _trim(node: exp.Expr, scope: Scope) -> Value:
    """Return a text without blanks at its ends."""
    if node.args.get("expression") is not None:
        raise NotPortableError("function", node)
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
    [text] = _texts(node, scope, node.this)
    return Value(call(name, text, *([] if scope.engine == "spark" else [" "])), TEXT)


def _place(value: exp.Expr | None, node: exp.Expr, least: int) -> exp.Expr:
    if not isinstance(value, exp.Literal) or not value.name.isdigit() or int(value.name) < least:
        raise NotPortableError("position", node)
    return value.copy()


def _substring(node: exp.Expr, scope: Scope) -> Value:
    [text] = _texts(node, scope, node.this)
    start, length = node.args.get("start"), node.args.get("length")
    places = [_place(start, node, 1), *([_place(length, node, 0)] if length is not None else [])]
    return Value(call("substring", text, *places), TEXT)


def _ends(node: exp.Expr, scope: Scope) -> Value:
    [text] = _texts(node, scope, node.this)
    return Value(call("left" if isinstance(node, exp.Left) else "right", text, _place(node.expression, node, 0)), TEXT)


def _split_part(node: exp.Expr, scope: Scope) -> Value:
    delimiter, place = node.args.get("delimiter"), node.args.get("part_index")
    if not isinstance(delimiter, exp.Literal) or not delimiter.name:
        raise NotPortableError("position", node)
    texts = _texts(node, scope, node.this, delimiter)
    return Value(call("split_part", *texts, _place(place, node, 1)), TEXT)


def _position(node: exp.Expr, scope: Scope) -> Value:
    text, wanted = _texts(node, scope, node.this, node.args["substr"])
    if node.args.get("position") is not None:
        raise NotPortableError("function", node)
    name = "instr"
    return Value(cast(call(name, text, wanted), INTEGER, scope.engine), INTEGER)


def _replace(node: exp.Expr, scope: Scope) -> Value:
    given = [node.this, node.args.get("expression"), node.args.get("replacement")]
    if any(each is None for each in given) or not given[1].name:
        raise NotPortableError("function", node)
    return Value(call("replace", *_texts(node, scope, *given)), TEXT)


def _translate(node: exp.Expr, scope: Scope) -> Value:
    given = [node.this, node.args.get("from_") or node.args.get("from"), node.args.get("to")]
    if not all(isinstance(each, exp.Literal) for each in given[1:]) or len(given[1].name) != len(given[2].name):
        raise NotPortableError("position", node)
    return Value(call("translate", *_texts(node, scope, *given)), TEXT)


def _starts_with(node: exp.Expr, scope: Scope) -> Value:
    name = "startswith" if scope.engine == "spark" else "starts_with"
    return Value(call(name, *_texts(node, scope, node.this, node.expression)), BOOLEAN)


def _refused_alone(node: exp.Expr, _scope: Scope) -> Value:
    raise NotPortableError("text_order", node)


RULES: dict[type[exp.Expr], Rule] = {
    exp.Literal: _number,
    exp.Null: lambda _node, _scope: Value(exp.Null(), NULL),
    exp.Boolean: lambda node, _scope: Value(node.copy(), BOOLEAN),
    exp.Column: lambda node, scope: scope.column(node),
    exp.Placeholder: lambda node, scope: scope.parameter(node),
    exp.Subquery: lambda node, scope: scope.subquery(node),
    exp.Exists: lambda node, scope: scope.exists(node),
    exp.Paren: _paren,
    exp.Neg: _negative,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), _arithmetic),
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ), _comparison),
    exp.Between: _between,
    exp.In: _in,
    **dict.fromkeys((exp.And, exp.Or), _logical),
    exp.Not: _not,
    exp.Is: _is,
    exp.Like: _like,
    exp.Case: _case,
    **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least), _one_of),
    exp.Nullif: _nullif,
    exp.Cast: _cast,
    exp.Extract: _extract,
    exp.Round: _round,
    **dict.fromkeys((exp.Ceil, exp.Floor), _ceil_or_floor),
    exp.Trunc: _truncated,
    exp.Abs: _abs,
    **dict.fromkeys((exp.TimestampTrunc, exp.DateTrunc), _start_of_moment),
    exp.DPipe: _joined,
    exp.Concat: _concat,
    exp.Length: _length,
    exp.Trim: _trim,
    exp.Substring: _substring,
    **dict.fromkeys((exp.Left, exp.Right), _ends),
    exp.SplitPart: _split_part,
    exp.StrPosition: _position,
    exp.Replace: _replace,
    exp.Translate: _translate,
    exp.StartsWith: _starts_with,
    exp.Collate: _refused_alone,
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


def refused(node: exp.Expr) -> NotPortableError:
    """Return the reason for a node that has no rule."""
    key = OF_NAME.get(node.name.lower(), "function") if isinstance(node, exp.Anonymous) else "function"
    return NotPortableError(OF_KIND.get(type(node), key), node)
