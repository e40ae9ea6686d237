"""How numbers are written for people: exact texts, whatever their size and sign."""

from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from kpi_assets.model.number_format import NumberFormat, currency_of, digits_of, is_percent, write


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        ("7701", "integer", "7,701"),
        ("0.5", "integer", "1"),
        ("1.5", "integer", "2"),
        ("2.5", "integer", "3"),
        ("-0.5", "integer", "−1"),
        ("-0.49", "integer", "0"),
        ("-0", "integer", "0"),
        ("0E-20", "decimal2", "0.00"),
        ("-1234567.005", "decimal2", "−1,234,567.01"),
        ("9.999", "decimal2", "10.00"),
        ("999.9999996", "decimal6", "1,000.000000"),
        ("0.91849", "percent1", "91.8 %"),
        ("-0.00049", "percent1", "0.0 %"),
        ("-0.0005", "percent1", "−0.1 %"),
        ("1", "percent0", "100 %"),
        ("1234.565", "EUR2", "1,234.57 EUR"),
        ("-3", "JPY0", "−3 JPY"),
        ("1E+30", "integer", "1" + ",000" * 10),
        ("1234567890123456789012345678901.125", "decimal2", "1,234,567,890,123,456,789,012,345,678,901.13"),
        ("0.1234567890123456789012345678901234567", "percent4", "12.3457 %"),
        ("1E-400", "decimal6", "0.000000"),
        ("NaN", "integer", "not a number"),
        ("Infinity", "EUR2", "∞"),
        ("-Infinity", "percent1", "−∞"),
    ],
)
def test_a_number_is_written_exactly(value: str, style: str, text: str) -> None:
    assert write(Decimal(value), style) == text


def test_the_largest_numeric_of_postgres_is_written_with_all_its_digits() -> None:
    written = write(Decimal("9" * 131072 + ".5"), "integer")
    assert written.replace(",", "") == "1" + "0" * 131072


def test_no_number_is_a_dash() -> None:
    assert write(None, "percent1") == "–"


@pytest.mark.parametrize("style", ["integer", "decimal0", "decimal6", "percent0", "percent4", "EUR2", "XAU4"])
def test_a_format_is_known(style: str) -> None:
    assert TypeAdapter(NumberFormat).validate_python(style) == style


@pytest.mark.parametrize("style", ["int", "decimal", "decimal7", "percent5", "EUR", "eur2", "EURO2", "", "{:,}"])
def test_another_format_is_refused(style: str) -> None:
    with pytest.raises(ValidationError, match="is no format: write integer, decimal0 to decimal6"):
        TypeAdapter(NumberFormat).validate_python(style)


def test_what_a_format_says_of_a_number() -> None:
    assert [digits_of(style) for style in ("integer", "decimal3", "percent1", "EUR2")] == [0, 3, 1, 2]
    assert [is_percent(style) for style in ("decimal1", "percent1")] == [False, True]
    assert [currency_of(style) for style in ("integer", "percent1", "EUR2")] == ["", "", "EUR"]
