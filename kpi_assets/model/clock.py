"""Expressions that give another result each time, whatever they read: the clock and chance."""

from collections.abc import Collection

from sqlglot import exp

_CLOCKS = ("clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday")
_CLOCK_TYPES = (exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Localtime, exp.Localtimestamp)
_CLOCK_WORDS = ("now", "today", "tomorrow", "yesterday")
_CHANCE = ("random", "random_normal", "uuidv4", "uuidv7", "gen_random_bytes", "nextval")
_CHANCE_TYPES = (exp.Rand, exp.Uuid)


def is_clock(node: exp.Expr) -> bool:
    """Return whether an expression reads the clock."""
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        return node.this.name.strip().lower() in _CLOCK_WORDS and bool(node.to.is_type(*exp.DataType.TEMPORAL_TYPES))
    is_age = is_called(node, ("age",)) and len(node.expressions) == 1
    return is_age or isinstance(node, _CLOCK_TYPES) or is_called(node, _CLOCKS)


def is_chance(node: exp.Expr) -> bool:
    """Return whether an expression is a number or a row by chance."""
    return isinstance(node, (*_CHANCE_TYPES, exp.TableSample)) or is_called(node, _CHANCE)


def is_called(node: exp.Expr, names: Collection[str]) -> bool:
    """Return whether a node calls one of these functions, for which the parser has no class."""
    return isinstance(node, exp.Anonymous) and node.name.lower() in names
