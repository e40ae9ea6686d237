"""Sums: the expressions with which `reconcile` compares a table with its source, and whether they are exact.

Belongs here: what may be counted and what may be summed, by the types that headers declare.
Not here: the comparison (warehouse/audit.py), and the sums of a table's own SELECT (replay.py).
"""

from collections.abc import Mapping
from pathlib import Path

from sqlglot import exp

from kpi_assets.model.query import parse_query
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.table_ref import THIS
from kpi_assets.model.value_types import KindOf, argument, of_columns

_SAME = (exp.Paren, exp.Neg, exp.Filter)
_BOTH = (exp.Add, exp.Sub, exp.Mul)


def check_count(text: str, types: Mapping[str, str], path: Path, line: int) -> None:
    """Raise ModelError unless `text` counts rows, over a table with columns of these types."""
    found = _one_expression(text, path, line)
    if not found.find(exp.AggFunc) or not _is_count(found, of_columns(types)):
        raise ModelError(
            path,
            line,
            f"counted: {text!r} is not known to count rows: write count(...), or sum(...) of smallint, integer or "
            "bigint; amounts are compared by `sum: <expression of the source>`",
        )


def check_summand(text: str, types: Mapping[str, str], path: Path, line: int) -> None:
    """Raise ModelError if `text` has no exact sum, over the rows of a table with columns of these types."""
    found = _one_expression(text, path, line)
    if found.find(exp.AggFunc, exp.Window):
        raise ModelError(path, line, f"{text!r} is added up already: write what a single row adds, without sum(...)")
    kind = of_columns(types)(found)
    if kind == "float":
        raise ModelError(path, line, f"{text!r} is floating-point and has no exact sum: write ({text})::numeric")
    if kind == "other":
        raise ModelError(path, line, f"{text!r} is not a number that can be added up: name one, or cast it to numeric")


def _one_expression(text: str, path: Path, line: int) -> exp.Expr:
    selects = parse_query(f"select {text} from {THIS}", path, line).tree.selects  # noqa: S608  parsed, not executed
    if len(selects) != 1:
        raise ModelError(path, line, f"{text!r} must be one expression, without a comma outside of brackets")
    return selects[0].unalias()


def _is_count(value: exp.Expr, kind: KindOf) -> bool:
    """Whether an expression consists only of counts, sums of whole numbers, and whole constants."""
    if isinstance(value, exp.Count):
        return True
    if isinstance(value, exp.Sum):
        return kind(argument(value.this)) in {"integer", "bigint"}
    if isinstance(value, exp.Literal):
        return kind(value) == "integer"
    if isinstance(value, _BOTH):
        return _is_count(value.this, kind) and _is_count(value.expression, kind)
    if isinstance(value, exp.Coalesce):
        return all(_is_count(each, kind) for each in (value.this, *value.expressions))
    return isinstance(value, _SAME) and _is_count(value.this, kind)
