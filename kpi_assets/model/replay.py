"""Replay: refuses a SELECT whose result depends on more than its rows, because a replay could give another result.

Belongs here: expressions that certainly depend on the order in which rows arrive (floating-point sums, lists and limits
without an order), on the clock, or on chance. Those that only may depend on it pass, such as an ORDER BY with ties.
Not here: sums whose type only Postgres knows (warehouse/float_sums.py).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from kpi_assets.model.clock import is_called, is_chance, is_clock
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import Query, line_of
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.value_types import KindOf, argument, in_scope

# Aggregates that sum: for floating-point numbers, the last digits depend on the order of the rows.
SUMS = ("sum", "avg", "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp")
PAIRS = (  # these compute in floating point for arguments of any type
    *("corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_intercept", "regr_r2", "regr_slope"),
    *("regr_sxx", "regr_sxy", "regr_syy"),
)
_SUM_TYPES = (exp.Sum, exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop)
_PAIR_TYPES = (
    *(exp.Corr, exp.CovarPop, exp.CovarSamp, exp.RegrAvgx, exp.RegrAvgy, exp.RegrIntercept, exp.RegrR2),
    *(exp.RegrSlope, exp.RegrSxx, exp.RegrSxy, exp.RegrSyy),
)
_LISTS = ("string_agg", "array_agg", "json_agg", "jsonb_agg", "json_object_agg", "xmlagg", "json_arrayagg")
_LIST_TYPES = (exp.GroupConcat, exp.ArrayAgg, exp.JSONArrayAgg, exp.JSONObjectAgg)
_PLACES = (exp.RowNumber, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Lag, exp.Lead, exp.Ntile)


def check_replay(query: Query, types: Mapping[Relation, Mapping[str, str]], path: Path) -> bool:
    """Raise ModelError for expressions that may give another result in a replay; `types` has the tables that it reads.

    Return whether there are sums whose type only Postgres knows.
    """
    unknown, problems = False, Problems()
    for scope in traverse_scope(query.tree):
        for node, problem in _problems(scope):
            problems.add(path, line_of(node, query.line), problem)
        for node in scope.find_all(exp.Func, exp.Anonymous):
            found = _float_sum(node, in_scope(scope, types))
            if found:
                problems.add(path, line_of(node, query.line), found)
            unknown = unknown or found is None
    problems.raise_any()
    return unknown


def _float_sum(call: exp.Expr, kind: KindOf) -> str | None:
    """Return the problem of an aggregate, an empty text if there is none, or None if only Postgres knows."""
    is_sum = isinstance(call, _SUM_TYPES) or is_called(call, SUMS)
    is_pair = isinstance(call, _PAIR_TYPES) or is_called(call, PAIRS)
    given = _arguments(call)
    if not (is_sum or is_pair) or not given or (_is_ordered(given) and not _window(call)):
        return ""
    of = [argument(each) for each in given]
    found = "float" if is_pair else kind(of[0])
    if found != "float":
        return None if found is None else ""
    written = ", ".join(each.sql(dialect="postgres") for each in of)
    name = call.name.lower() if isinstance(call, exp.Anonymous) else _name(call)
    reason = f"{name}({written}) adds up floating-point numbers, and another order of the rows gives another result"
    if is_pair:
        return f"{reason}: give it an order, as in {name}({written} order by {written})"
    cast = f"{written}::numeric" if isinstance(of[0], exp.Column) else f"({written})::numeric"
    return f"{reason}: cast them to numeric, as in {name}({cast})"


def _name(call: exp.Expr) -> str:
    return call.sql(dialect="postgres").partition("(")[0].lower()


def _arguments(call: exp.Expr) -> list[exp.Expr]:
    if isinstance(call, exp.Anonymous):
        return list(call.expressions)
    return [each for each in (call.args.get("this"), call.args.get("expression")) if each is not None]


def _is_ordered(given: list[exp.Expr]) -> bool:
    """Whether the order of the rows is fixed: they are sorted by everything that is summed, or DISTINCT."""
    order = next((each for each in given if isinstance(each, exp.Order)), None)
    keys = [each.this for each in order.expressions] if order is not None else []
    return isinstance(given[0], exp.Distinct) or all(argument(each) in keys for each in given)


def _problems(scope: Scope) -> Iterator[tuple[exp.Expr, str]]:
    """Yield the expressions that depend on the order of the rows, the clock or chance, whatever their types."""
    select = scope.expression
    ordered = bool(select.args.get("order"))
    if (select.args.get("limit") or select.args.get("offset")) and not ordered and not select.find_ancestor(exp.Exists):
        yield select, "LIMIT and OFFSET without ORDER BY may keep other rows each time: give the SELECT an ORDER BY"
    distinct = select.args.get("distinct")
    if isinstance(distinct, exp.Distinct) and distinct.args.get("on") and not ordered:
        yield select, "DISTINCT ON without ORDER BY may keep other rows each time: give the SELECT an ORDER BY"
    for node in scope.walk():
        if problem := _problem(node, select):
            yield node, problem


def _problem(node: exp.Expr, select: exp.Expr) -> str:
    return next((sentence for is_so, sentence in _PROBLEMS if is_so(node, select)), "")


def _is_unordered_list(node: exp.Expr, select: exp.Expr) -> bool:
    if isinstance(node, exp.Array):
        return any(isinstance(each, exp.Query) and not each.args.get("order") for each in node.expressions)
    if not (isinstance(node, _LIST_TYPES) or is_called(node, _LISTS)):
        return False
    is_sorted = any(isinstance(each, (exp.Order, exp.Distinct)) for each in [*_arguments(node), *node.expressions])
    return not is_sorted and not _has_order(_window(node), select)


def _is_place_without_order(node: exp.Expr, select: exp.Expr) -> bool:
    return isinstance(node, _PLACES) and not _has_order(_window(node), select)


_PROBLEMS: list[tuple[Callable[[exp.Expr, exp.Expr], bool], str]] = [
    (lambda node, _: is_clock(node), f"this reads the clock, so a replay gives another answer: use %({LOAD_DATE})s"),
    (lambda node, _: is_chance(node), "this gives another result each time: compute it from the rows"),
    (
        _is_unordered_list,
        "a list of values without ORDER BY may have another order each time: write an ORDER BY within its brackets",
    ),
    (
        _is_place_without_order,
        "the position of a row in a window without ORDER BY may differ each time: write OVER (... ORDER BY ...)",
    ),
]


def _window(call: exp.Expr) -> exp.Window | None:
    """Return the OVER clause of a call; a FILTER or IGNORE NULLS may come between the two."""
    parent = call.parent
    while isinstance(parent, (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)):
        parent = parent.parent
    return parent if isinstance(parent, exp.Window) else None


def _has_order(window: exp.Expr | None, select: exp.Expr) -> bool:
    """Whether a window is sorted, by itself or by the named window that it refers to."""
    if window is None or window.args.get("order"):
        return window is not None
    named = [each for each in select.args.get("windows") or [] if each.name == window.alias and each is not window]
    return any(_has_order(each, select) for each in named)
