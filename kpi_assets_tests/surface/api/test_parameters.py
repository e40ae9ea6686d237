"""Parameters of the API, and the page that lists them."""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from kpi_assets.surface.answer import Problem
from kpi_assets.surface.api.guide import type_of
from kpi_assets.surface.api.parameters import Day, Instant
from kpi_assets.surface.api.rows import Wanted

DAYS: TypeAdapter[date] = TypeAdapter(Day)
INSTANTS: TypeAdapter[datetime] = TypeAdapter(Instant)
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-24T12:00:00Z", NOON),
        ("2026-11-24T12:00", NOON),
        ("2026-11-24 12:00:00+00:00", NOON),
        ("2026-11-24T14:00:00 02:00", NOON),  # a + that was not encoded
        ("2026-11-24T10:00:00-02:00", NOON),
        ("2026-11-24T12:00:00.250000+00:00", NOON + timedelta(milliseconds=250)),
        ("2026-11-24T12:00:00.250Z", NOON + timedelta(milliseconds=250)),
    ],
)
def test_an_instant_without_an_offset_is_utc(text: str, instant: datetime) -> None:
    assert INSTANTS.validate_python(text) == instant


@pytest.mark.parametrize(
    "text",
    ["", "now", "1700000000", "2026-11-24", "2026-11-24T25:00", "2026-11-24T12:00+99:99", "2026-11-24T12:00:00.1", "٢"],
)
def test_anything_else_is_no_instant(text: str) -> None:
    with pytest.raises(ValidationError, match="write an instant such as"):
        INSTANTS.validate_python(text)


@pytest.mark.parametrize(
    "text", ["", "today", "20261124", "2026-1-1", "2026-02-30", "1700000000", "infinity", "2026-11-24 "]
)
def test_a_day_is_written_in_one_way(text: str) -> None:
    assert DAYS.validate_python("2026-11-24") == date(2026, 11, 24)
    with pytest.raises(ValidationError, match="write a day such as"):
        DAYS.validate_python(text)


def test_a_cursor_names_its_publish_and_its_question() -> None:
    wanted = Wanted(date(2026, 11, 24), None, "json", 10, (), (("orders", "desc"),))
    cursor = wanted.cursor(217, 10)
    assert cursor.startswith("217-10-")
    found = wanted.continued(cursor)
    assert (found.publish_id, found.offset, found.question) == (217, 10, wanted.question)
    other = Wanted(date(2026, 11, 25), None, "json", 10, (), (("orders", "desc"),))
    for each in (cursor[:-1], cursor.replace("217", "0217", 1), f"{cursor}\n", cursor.upper()):
        with pytest.raises(Problem):
            wanted.continued(each)
    with pytest.raises(Problem):
        other.continued(cursor)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, "day"),
        ({"type": "string", "format": "date-time"}, "instant"),
        ({"enum": ["json", "csv"], "type": "string"}, "json, csv"),
        ({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 100000}, {"type": "null"}]}, "1 to 100,000"),
        ({"type": "object"}, "filters"),
        ({"type": "string"}, "text"),
        ({}, "text"),
    ],
)
def test_the_type_of_a_parameter_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_of(schema) == words
