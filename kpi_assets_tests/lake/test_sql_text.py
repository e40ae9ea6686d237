"""Spark SQL as text: nothing that a value holds becomes SQL."""

from datetime import date, datetime
from decimal import Decimal

import pytest

from kpi_assets.lake.sql_text import constant, name_of, quoted, with_values

DAY = date(2025, 1, 31)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (-3, "-3"),
        (Decimal("1.50"), "1.50"),
        (DAY, "date '2025-01-31'"),
        (datetime.fromisoformat("2025-01-31 12:00:00"), "timestamp_ntz '2025-01-31 12:00:00'"),
        ("it's \\ a\nb", "'it\\'s \\\\ a\\nb'"),
        ([DAY], "array(date '2025-01-31')"),
        ([], "array(cast(null as date))"),
    ],
)
def test_a_constant(value: object, text: str) -> None:
    assert constant(value) == text


def test_no_constant_is_made_of_other_kinds() -> None:
    with pytest.raises(TypeError, match="no constant is made of a float"):
        constant(1.5)


def test_names_and_types() -> None:
    assert quoted("kpi", "a`b") == "`kpi`.`a``b`"
    names = ("numeric(10,2)", "timestamp without time zone", "smallint", "integer", "text")
    assert [name_of(each) for each in names] == ["decimal(10,2)", "timestamp_ntz", "smallint", "int", "string"]
    with pytest.raises(ValueError, match="jsonb is not portable"):
        name_of("jsonb")


def test_values_are_put_where_parameters_are_and_nowhere_else() -> None:
    text = "select ':day', `a:day`, x from t where d = :day and e = cast(:day as date) -- :day\nand f = :other"
    assert with_values(text, {"day": DAY}) == (
        "select ':day', `a:day`, x from t where d = date '2025-01-31' and e = cast(date '2025-01-31' as date) -- :day\n"
        "and f = :other"
    )
