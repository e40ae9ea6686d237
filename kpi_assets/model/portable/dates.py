"""Dates: days added and counted, the beginning of a month, and parts of a date.

Not here: comparing dates, and casts (expressions.py).
"""

from collections.abc import Mapping

from sqlglot import exp

from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.types import BIGINT, DATE, INTEGER, TIMESTAMP, UNKNOWN, Engine, numeric
from kpi_assets.model.portable.values import Rule, Scope, Value, binary, call, cast, coerced, constant

_PARTS = {"year": "year", "quarter": "quarter", "month": "month", "week": "week", "day": "day", "doy": "doy"}
_OF_TIME = {"hour": "hour", "minute": "minute"}
_UNITS = {"year": "YEAR", "quarter": "QUARTER", "month": "MONTH", "week": "WEEK", "day": "DAY"}


def shifted(node: exp.Expr, left: Value, right: Value, scope: Scope) -> Value:
    """Return a date some days away, or the days between two dates."""
    days = cast(right.sql, INTEGER, scope.engine)
    whole = right.type.is_integer and right.type != BIGINT
    if left.type == DATE and whole and isinstance(node, (exp.Add, exp.Sub)):
        if scope.engine == "duckdb":
            return Value(cast(binary(type(node), left.sql, days), DATE, scope.engine), DATE)
        return Value(call("date_add" if isinstance(node, exp.Add) else "date_sub", left.sql, days), DATE)
    right_day = right if right.type != UNKNOWN else Value(coerced(right, left.type, scope, node), left.type)
    if left.type == DATE == right_day.type and isinstance(node, exp.Sub):
        if scope.engine == "duckdb":
            return Value(cast(call("date_diff", "day", right_day.sql, left.sql), INTEGER, scope.engine), INTEGER)
        return Value(call("datediff", left.sql, right_day.sql), INTEGER)
    if left.type.is_integer and right.type == DATE and isinstance(node, exp.Add):
        return shifted(exp.Add(this=node.expression, expression=node.this), right, left, scope)
    raise NotPortableError("interval", node)


def start_of(node: exp.Expr, scope: Scope) -> Value:
    """Return the first day of a year, quarter, month or week, as a date."""
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
    return Value(cast(start_of(node, scope).sql, TIMESTAMP, scope.engine), TIMESTAMP)


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


RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Extract: _extract,
    **dict.fromkeys((exp.TimestampTrunc, exp.DateTrunc), _start_of_moment),
}
