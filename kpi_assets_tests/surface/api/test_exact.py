"""JSON of the API: every number has all its digits, and what JSON cannot write is a text."""

import doctest
import json
from datetime import date, datetime, timezone
from decimal import Decimal

import pytest
from pydantic import BaseModel

from kpi_assets.surface.api import exact
from kpi_assets.surface.api.exact import Exact, objects, write


class Part(BaseModel):
    number: Exact | None
    day: date


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (12345678901234567890, "12345678901234567890"),
        (Decimal("0.1000000000000000000000000001"), "0.1000000000000000000000000001"),
        (Decimal("9007199254740993"), "9007199254740993"),
        (Decimal("-1E-7"), "-0.0000001"),
        (Decimal("NaN"), '"NaN"'),
        (Decimal("-Infinity"), '"-Infinity"'),
        ('</script> "é" \u2028', '"</script> \\"é\\" \u2028"'),
        (datetime(2025, 3, 1, 8, tzinfo=timezone.utc), '"2025-03-01T08:00:00+00:00"'),
        ({"a": [date(2025, 3, 1), ()]}, '{"a":["2025-03-01",[]]}'),
        (Part(number=Decimal("9.950000"), day=date(2025, 3, 1)), '{"number":9.950000,"day":"2025-03-01"}'),
        (Part(number=Decimal("NaN"), day=date(2025, 3, 1)), '{"number":"NaN","day":"2025-03-01"}'),
    ],
)
def test_values(value: object, text: str) -> None:
    assert write(value) == text
    json.loads(text)


def test_a_float_is_refused_because_it_may_be_rounded_already() -> None:
    with pytest.raises(TypeError, match="cannot have a float"):
        write({"value": [0.1]})


def test_rows_have_the_digits_that_postgres_prints() -> None:
    types = ["bigint", "numeric(12,6)", "double precision", "boolean", "jsonb", "date", "text", "integer[]"]
    row = ["9223372036854775807", "9.950000", "1e+20", "true", '{"a": 1.10}', "infinity", 'a"b\n', "{1,2}"]
    columns = [*"abcdefgh"]
    found = [
        *objects(columns, types, [row, [None] * 8, ["1", "NaN", "-Infinity", "false", "[]", "2025-03-01", "", "{}"]])
    ]
    assert found[0] == (
        '{"a":9223372036854775807,"b":9.950000,"c":1e+20,"d":true,"e":{"a": 1.10},"f":"infinity",'
        '"g":"a\\"b\\n","h":"{1,2}"}'
    )
    assert json.loads(found[1]) == dict.fromkeys(columns)
    assert json.loads(found[2]) == {
        "a": 1,
        "b": "NaN",
        "c": "-Infinity",
        "d": False,
        "e": [],
        "f": "2025-03-01",
        "g": "",
        "h": "{}",
    }


def test_examples() -> None:
    assert doctest.testmod(exact).failed == 0
