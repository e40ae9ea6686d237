"""Ticks are round, different from each other, and around all values."""

from decimal import Decimal

import pytest

from kpi_assets.surface.draw.scale import axis


def texts(values: list[str], style: str = "integer", **words: bool) -> list[str]:
    return list(axis(map(Decimal, values), style, 0, 200, **words).texts)


@pytest.mark.parametrize(
    ("values", "style", "expected"),
    [
        (["7480", "10992"], "integer", ["7,000", "8,000", "9,000", "10,000", "11,000"]),
        (["154750.85", "309284.75"], "decimal2", ["150,000", "200,000", "250,000", "300,000", "350,000"]),
        (["9.95", "10.52"], "decimal2", ["9.80", "10.00", "10.20", "10.40", "10.60"]),
        (["0.913", "0.918"], "percent1", ["91.2 %", "91.4 %", "91.6 %", "91.8 %"]),
        (["5"], "integer", ["4", "5", "6"]),
        (["0"], "integer", ["−1", "0", "1"]),
        ([], "integer", ["0", "1"]),
        (["1", "2"], "integer", ["1", "2"]),
        (["-30", "12"], "integer", ["−30", "−20", "−10", "0", "10", "20"]),
        (["0.99", "1.00"], "EUR2", ["0.99 EUR", "1.00 EUR"]),
        (["12000000", "31000000"], "integer", ["10 m", "15 m", "20 m", "25 m", "30 m", "35 m"]),
        (["1e12", "4e12"], "EUR2", ["1 tn", "2 tn", "3 tn", "4 tn"]),
        (["1e300", "3e300"], "integer", ["1.0e+300", "1.5e+300", "2.0e+300", "2.5e+300", "3.0e+300"]),
    ],
)
def test_ticks(values: list[str], style: str, expected: list[str]) -> None:
    assert texts(values, style) == expected


def test_an_axis_of_bars_begins_at_zero() -> None:
    assert texts(["900", "1600"], zero=True) == ["0", "500", "1,000", "1,500", "2,000"]
    assert texts(["-5", "-20"], zero=True) == ["−20", "−15", "−10", "−5", "0"]
    assert texts(["0"], zero=True) == ["0", "1"]


def test_a_value_lies_between_the_pixels_of_its_neighbours() -> None:
    found = axis([Decimal("7480"), Decimal("10992")], "integer", 20, 220)
    assert [found.y(Decimal(each)) for each in ("7000", "9000", "11000")] == [220, 120, 20]


def test_values_that_differ_by_less_than_a_float_can_say_keep_their_place() -> None:
    low = Decimal("12345678901234567890")
    found = axis([low, low + 2], "integer", 0, 200)
    assert found.y(low) > found.y(low + 1) > found.y(low + 2)
