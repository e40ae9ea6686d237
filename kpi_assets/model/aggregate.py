"""Aggregates: the expression that a measure's `value` may be, and the SQL that is executed for it.

An expression is parsed, and its SQL is written anew from the parts that are known here. So nothing else reaches the
server: no function, no subquery, no cast and no other table. All numbers are computed as numeric, so that the value
is exact, and a division by zero gives no number instead of an error.

Belongs here: what an expression may contain, and its SQL. Not here: the other words of a measure (measure.py), and
executing it (materialize/measures.py).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from kpi_assets.model.column_types import NUMBERS, TEXTS, base_of
from kpi_assets.model.names import LOAD_DATE, quoted
from kpi_assets.model.sentences import shown

LONGEST = 2_000  # characters of an expression
DEEPEST = 60  # levels of an expression
_FEW_DIGITS = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?|\.[0-9]{1,40}")
_DAY = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_POSSIBLE = (
    "a measure is made of sum, count, avg, min and max over the columns of this table, `filter (where …)`, + - * /, "
    "comparisons, nullif and coalesce"
)
_AGGREGATES: Mapping[type[exp.Expr], str] = {
    exp.Sum: "sum",
    exp.Count: "count",
    exp.Avg: "avg",
    exp.Min: "min",
    exp.Max: "max",
}
_OPERATORS: Mapping[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
_COMPARISONS: Mapping[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_CONNECTIVES: Mapping[type[exp.Expr], str] = {exp.And: "and", exp.Or: "or"}
# What a part is, as far as comparisons and arithmetic ask; "quoted" is a text in quotes, and None is unknown.
_Kind = str | None
_NAMES = {"number": "a number", "truth": "true or false", "text": "a text", "day": "a date or time"}
# Kinds of nodes that authors try, with what to write instead.
_INSTEAD: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
    ((exp.Cast,), "take the cast out: numbers are computed exactly here"),
    ((exp.Case, exp.If), "write `sum(a) filter (where …)` instead of a case"),
    ((exp.Query, exp.Subquery), "a measure reads the rows of its own table only: add a column to its SELECT"),
    ((exp.Window,), "a measure has one value for all rows: compute windows in the SELECT of the table"),
    ((exp.Placeholder, exp.Parameter), "a measure has no parameters: compare with the column load_date"),
)


@dataclass(frozen=True)
class Aggregate:
    """The SQL of an expression, a numeric or NULL, and the columns that it reads, sorted."""

    sql: str
    columns: tuple[str, ...]


def aggregate(text: str, types: Mapping[str, str] | None = None) -> Aggregate:
    """Return an expression as SQL; `types` are those of the columns of its table, if they are known.

    Raises ValueError with a sentence if it is not one aggregate, or if its parts do not fit the types.

    >>> aggregate("sum(revenue) / count(*)").sql
    '(sum("revenue"))::numeric / nullif((count(*))::numeric, 0)'
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters, more than {LONGEST:,}: compute parts of it in the SELECT")
    if "%" in text:
        raise ValueError("it has a percent sign, which begins a parameter, and a measure has none: take it out")
    writer = _Writer(types)
    try:
        tree = _parsed(text)
        if max(node.depth for node in tree.walk()) > DEEPEST:
            raise RecursionError
        sql, kind = writer.write(tree)
    except RecursionError:
        raise ValueError("it is nested too deeply: compute parts of it in the SELECT") from None
    if not writer.has_aggregate:
        raise ValueError(
            f"{shown(text)} has no aggregate, and a load_date has one number: write sum(…), count(*), avg(…), min(…) "
            "or max(…)"
        )
    if kind not in ("number", None):
        raise ValueError(f"{shown(text)} is {_NAMES.get(kind, kind)}, and a measure is a number")
    return Aggregate(sql, tuple(sorted(writer.columns)))


def one_value_columns(text: str) -> list[str]:
    """Return the columns of which an expression gives the value of one row: those within min and max, sorted.

    >>> one_value_columns("max(b) - min(a) + sum(c)")
    ['a', 'b']
    """
    found = {column.name for node in _parsed(text).find_all(exp.Min, exp.Max) for column in node.find_all(exp.Column)}
    return sorted(found)


def _parsed(text: str) -> exp.Expr:
    try:
        trees = parse(f"select {text}\n", read="postgres")
    except (SqlglotError, ValueError):
        raise ValueError(f"{shown(text)} is no SQL expression: {_POSSIBLE}") from None
    select = trees[0]
    if len(trees) != 1 or ";" in re.sub(r"'[^']*'", "", text):
        raise ValueError(f"{shown(text)} has a semicolon: a measure is one expression")
    is_plain = isinstance(select, exp.Select) and not any(
        value for name, value in select.args.items() if name not in ("expressions", "kind")
    )
    if not isinstance(select, exp.Select) or not is_plain or len(select.selects) != 1:
        raise ValueError(f"{shown(text)} is not one expression: {_POSSIBLE}")
    return select.selects[0]


class _Writer:
    """Writes the SQL of an expression; `write` returns it with its kind, and refuses what is not known."""

    def __init__(self, types: Mapping[str, str] | None) -> None:
        self.types = types
        self.columns: set[str] = set()
        self.has_aggregate = False
        self._within = ""  # the aggregate or filter around the part that is written
        self._rules: tuple[tuple[Mapping[type[exp.Expr], object], Callable[[exp.Expr], tuple[str, _Kind]]], ...] = (
            ({exp.Column: ""}, self._column),
            (_AGGREGATES, self._aggregate),
            ({exp.Filter: ""}, self._filter),
            (_OPERATORS, self._operator),
            (_COMPARISONS, self._comparison),
            (_CONNECTIVES, self._connective),
            ({exp.Paren: ""}, self._paren),
            ({exp.Neg: ""}, self._negative),
            ({exp.Not: ""}, self._not),
            ({exp.Is: ""}, self._is),
            ({exp.In: ""}, self._in),
            ({exp.Between: ""}, self._between),
            ({exp.Nullif: "", exp.Coalesce: ""}, self._one_of),
            ({exp.Literal: "", exp.Boolean: "", exp.Null: ""}, self._literal),
        )

    def write(self, node: exp.Expr | None) -> tuple[str, _Kind]:
        """Return the SQL and the kind of a part."""
        rule = next((rule for nodes, rule in self._rules if type(node) in nodes), None)
        if rule is None or node is None:
            raise _refused(node)
        return rule(node)

    def _parts(self, node: exp.Expr, *names: str) -> list[exp.Expr]:
        """Return the parts of a node; refuse one with others, such as an aggregate with ORDER BY."""
        known = {*names, "big_int", "typed", "safe"}
        if any(value for name, value in node.args.items() if name not in known):
            raise _refused(node)
        found = (node.args.get(name) for name in names)
        return [part for each in found for part in (each if isinstance(each, list) else [each]) if part is not None]

    def _column(self, node: exp.Expr) -> tuple[str, _Kind]:
        name = node.this
        if len([part for part in node.args.values() if part]) > 1:
            raise ValueError(f"{node.sql('postgres')} names a table: write the column alone")
        if not isinstance(name, exp.Identifier):
            raise _refused(node)
        column = name.name if name.args.get("quoted") else name.name.lower()
        if not self._within:
            raise ValueError(
                f"{column!r} stands outside an aggregate, and a load_date has one number: write sum({column})"
            )
        self.columns.add(column)
        kind = self._kind_of(column)
        return (f"{quoted(column)}::numeric" if kind == "number" else quoted(column)), kind

    def _kind_of(self, column: str) -> _Kind:
        if self.types is None or column not in {*self.types, LOAD_DATE}:
            return None
        base = base_of(self.types.get(column, "date"))
        if base in NUMBERS:
            return "number"
        families = {"truth": ("boolean",), "text": TEXTS}
        families["day"] = ("date", "timestamp without time zone", "timestamp with time zone")
        return next((kind for kind, bases in families.items() if base in bases), f"of type {base}")

    def _aggregate(self, node: exp.Expr) -> tuple[str, _Kind]:
        if self._within:
            raise ValueError(f"{node.sql('postgres')} stands within {self._within}: write one aggregate a column")
        name = _AGGREGATES[type(node)]
        parts = self._parts(node, "this", "expressions")
        distinct = ""
        if parts and isinstance(parts[0], exp.Distinct):
            distinct, parts = "distinct ", [*self._parts(parts[0], "expressions"), *parts[1:]]
        if len(parts) != 1:
            raise ValueError(f"{name} must have one column: write {name}(column)")
        self.has_aggregate = True
        if isinstance(parts[0], exp.Star) and name == "count" and not distinct:
            return "(count(*))::numeric", "number"
        self._within = f"{name}()"
        sql, kind = self.write(parts[0])
        self._within = ""
        if name != "count":
            self._must_be("number", parts[0], kind)
        return f"({name}({distinct}{sql}))::numeric", "number"

    def _filter(self, node: exp.Expr) -> tuple[str, _Kind]:
        inner, where = self._parts(node, "this", "expression")
        if type(inner) not in _AGGREGATES or not isinstance(where, exp.Where):
            raise _refused(node)
        sql, _ = self.write(inner)
        self._within = "filter (where …)"
        condition = self._truth(self._parts(where, "this")[0])
        self._within = ""
        return f"({sql.removesuffix('::numeric')[1:-1]} filter (where {condition}))::numeric", "number"

    def _operator(self, node: exp.Expr) -> tuple[str, _Kind]:
        left, right = (self._number(each) for each in self._parts(node, "this", "expression"))
        if isinstance(node, exp.Div):
            right = f"nullif({right}, 0)"
        return f"{left} {_OPERATORS[type(node)]} {right}", "number"

    def _comparison(self, node: exp.Expr) -> tuple[str, _Kind]:
        left, right = self._parts(node, "this", "expression")
        return f"{self._alike(left, right, _COMPARISONS[type(node)])}", "truth"

    def _alike(self, left: exp.Expr, right: exp.Expr, between: str) -> str:
        """Return two parts of one kind with an operator between them; refuse those that Postgres cannot compare."""
        (one, kind), (other, other_kind) = self.write(left), self.write(right)
        self._compared(left, kind, right, other_kind)
        return f"{one} {between} {other}"

    def _compared(self, left: exp.Expr, kind: _Kind, right: exp.Expr, other: _Kind) -> None:
        for part in (left, right):
            if isinstance(part, exp.Null):
                raise ValueError("nothing equals null: write `is null` or `is not null`")
        kinds = {kind, other} - {None}
        text = (left if kind == "quoted" else right).name
        if kinds == {"quoted", "text"}:
            return
        if kinds == {"quoted", "day"}:
            if not _is_day(text):
                raise ValueError(f"{shown(text)} is no date: write '2025-01-31' or '2025-01-31 23:59:59'")
            return
        if kinds == {"quoted", "of type uuid"}:
            if not _UUID.fullmatch(text):
                raise ValueError(f"{shown(text)} is no uuid: write its 32 hex digits in five groups")
            return
        if len(kinds) > 1 or any(each.startswith("of type") for each in kinds if each):
            texts = " and ".join(part.sql("postgres") for part in (left, right))
            raise ValueError(f"{texts} cannot be compared: they must be numbers, texts or dates, both of one kind")

    def _connective(self, node: exp.Expr) -> tuple[str, _Kind]:
        left, right = (self._truth(each) for each in self._parts(node, "this", "expression"))
        return f"({left} {_CONNECTIVES[type(node)]} {right})", "truth"

    def _paren(self, node: exp.Expr) -> tuple[str, _Kind]:
        sql, kind = self.write(self._parts(node, "this")[0])
        return f"({sql})", kind

    def _negative(self, node: exp.Expr) -> tuple[str, _Kind]:
        return f"(- {self._number(self._parts(node, 'this')[0])})", "number"

    def _not(self, node: exp.Expr) -> tuple[str, _Kind]:
        return f"(not {self._truth(self._parts(node, 'this')[0])})", "truth"

    def _is(self, node: exp.Expr) -> tuple[str, _Kind]:
        negated = bool(node.args.get("negate"))  # a flag, beside the two parts
        left, right = (node.this, node.args.get("expression"))
        between = "is not" if negated else "is"
        if isinstance(right, exp.Boolean):
            return f"({self._truth(left)} {between} {_boolean(right)})", "truth"
        if not isinstance(right, exp.Null):
            raise _refused(node)
        return f"({self.write(left)[0]} {between} null)", "truth"

    def _in(self, node: exp.Expr) -> tuple[str, _Kind]:
        left, *values = self._parts(node, "this", "expressions")
        sql, kind = self.write(left)
        found = []
        for value in values:
            one, of_value = self.write(value)
            self._compared(left, kind, value, of_value)
            found.append(one)
        return f"({sql} in ({', '.join(found)}))", "truth"

    def _between(self, node: exp.Expr) -> tuple[str, _Kind]:
        this, low, high = self._parts(node, "this", "low", "high")
        return f"({self._alike(this, low, '>=')} and {self._alike(this, high, '<=')})", "truth"

    def _one_of(self, node: exp.Expr) -> tuple[str, _Kind]:
        parts = self._parts(node, "this", "expression", "expressions")
        found = [(part, *self.write(part)) for part in parts if not isinstance(part, exp.Null)]
        if len(found) != len(parts) or len(found) < 2:
            raise _refused(node)
        first, _, kind = found[0]
        for part, _, other in found[1:]:
            self._compared(first, kind, part, other)
        name = "nullif" if isinstance(node, exp.Nullif) else "coalesce"
        return f"{name}({', '.join(sql for _, sql, _ in found)})", kind

    def _literal(self, node: exp.Expr) -> tuple[str, _Kind]:
        if isinstance(node, exp.Null):
            return "null", None
        if isinstance(node, exp.Boolean):
            return _boolean(node), "truth"
        if node.args.get("is_string"):
            doubled = node.name.replace("'", "''")
            return f"'{doubled}'", "quoted"
        if not _FEW_DIGITS.fullmatch(node.name):
            raise ValueError(f"{shown(node.name)} is not a plain decimal number: write digits and a point")
        return f"{node.name}::numeric", "number"

    def _number(self, node: exp.Expr) -> str:
        sql, kind = self.write(node)
        self._must_be("number", node, kind)
        return sql if not isinstance(node, tuple(_OPERATORS)) else f"({sql})"

    def _truth(self, node: exp.Expr) -> str:
        sql, kind = self.write(node)
        self._must_be("truth", node, kind)
        return sql

    def _must_be(self, wanted: str, node: exp.Expr, kind: _Kind) -> None:
        if kind not in (wanted, None):
            found = "a text" if kind == "quoted" else _NAMES.get(str(kind), str(kind))
            raise ValueError(f"{shown(node.sql('postgres'))} is {found}: {_NAMES[wanted]} must stand here")


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def _boolean(node: exp.Expr) -> str:
    return "true" if node.this else "false"


def _refused(node: exp.Expr | None) -> ValueError:
    text = shown(node.sql("postgres", comments=False)) if node is not None else "this"
    for nodes, instead in _INSTEAD:
        if isinstance(node, nodes):
            return ValueError(f"{text} cannot stand in a measure: {instead}")
    return ValueError(f"{text} cannot stand in a measure: {_POSSIBLE}")
