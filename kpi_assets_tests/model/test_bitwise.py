"""Rows are compared bit by bit: values of most types by their equality, the others as they are stored."""

import pytest

from kpi_assets.model.bitwise import differs, is_plain
from kpi_assets.model.column_types import BASES

# Types with values that are equal and have other bits: 1.0 and 1.00, -0.0 and 0.0, 'a' and 'a ', or no equality at all.
OTHERS = {"numeric", "real", "double precision", "character", "json", "jsonb"}


@pytest.mark.parametrize("type_", BASES)
def test_values_of_a_type_are_compared_by_their_equality_or_by_their_bits(type_: str) -> None:
    assert is_plain(type_) is (type_ not in OTHERS)
    text = "row(a)::record *<> row(b)::record" if type_ in OTHERS else "a is distinct from b"
    assert differs([(type_, "a", "b")]) == text


def test_arrays_are_compared_by_their_bits() -> None:
    assert not is_plain("numeric[]")
    assert not is_plain("integer[]")
    assert is_plain("character varying(9)")
    assert not is_plain("numeric(9,2)")


def test_columns_are_compared_together() -> None:
    values = [("text", "a.t", "b.t"), ("numeric", "a.n", "b.n"), ("date", "a.d", "b.d"), ("jsonb", "a.j", "b.j")]
    assert differs(values) == (
        "a.t is distinct from b.t or a.d is distinct from b.d or row(a.n, a.j)::record *<> row(b.n, b.j)::record"
    )
    assert differs([]) == "false"
