"""Texts: functions of them, patterns, and the one order that all engines share.

Not here: comparing texts, and casts (expressions.py).
"""

from collections.abc import Mapping

from sqlglot import exp

from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.types import BOOLEAN, INTEGER, NULL, TEXT, UNKNOWN
from kpi_assets.model.portable.values import Rule, Scope, Value, call, cast, coerced, negated


def is_by_bytes(node: exp.Expr) -> bool:
    """Whether a text is compared by its bytes, `collate "C"`, as engines do. Raises NotPortableError for others."""
    if isinstance(node, exp.Collate) and node.expression.name != "C":
        raise NotPortableError("text_order", node)
    return isinstance(node, exp.Collate)


def _like(node: exp.Expr, scope: Scope) -> Value:
    value, pattern = scope.value(node.this), node.expression
    is_plain = isinstance(pattern, exp.Literal) and pattern.args.get("is_string") and "\\" not in pattern.name
    if value.type != TEXT or not is_plain:
        raise NotPortableError("pattern", node)
    return negated(node, exp.Paren(this=exp.Like(this=value.sql, expression=pattern.copy())))


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


RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Like: _like,
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
