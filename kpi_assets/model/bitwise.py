"""Comparison of rows bit by bit, as SQL: NULL and '', 1.0 and 1.00 differ.

A history keeps what its load_dates delivered without loss, so its rows are the same only if every bit of them is.
"""

from collections.abc import Iterable

from kpi_assets.model.column_types import INTEGERS, base_of, element_of

# Values of these types are equal only if their bits are: IS DISTINCT FROM, which is far faster, finds the same.
_PLAIN = {
    *INTEGERS,
    *("boolean", "text", "character varying", "uuid", "date"),
    *("time without time zone", "timestamp without time zone", "timestamp with time zone"),
}


def is_plain(type_: str) -> bool:
    """Return whether two values of a type that are equal have the same bits."""
    return element_of(type_) is None and base_of(type_) in _PLAIN


def differs(values: Iterable[tuple[str, str, str]]) -> str:
    """Return the condition that some of these differ, each given as (type, SQL of one value, SQL of the other)."""
    conditions, others = [], []
    for type_, one, other in values:
        if is_plain(type_):
            conditions.append(f"{one} is distinct from {other}")
        else:
            others.append((one, other))
    if others:
        left, right = (", ".join(side) for side in zip(*others, strict=True))
        conditions.append(f"row({left})::record *<> row({right})::record")
    return " or ".join(conditions) or "false"
