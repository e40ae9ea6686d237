"""An event is a row or a bad record, whichever way it is given to Postgres."""

import json
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.sources.objects import Entry
from kpi_assets.stream.frame import Frame, encode, key_of, link_of
from kpi_assets.stream.links import Found
from kpi_assets.stream.reader import Event
from kpi_assets.stream.rows import EventRows
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.streams import RAW_CLICKS, click

KEY = key_of("raw/clicks/load_date=2025-03-01/", 0, 3, 100, 16)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    folder = tmp_path / "sql" / "lab"
    (folder / "raw").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket="kpi-lab"))
    (folder / "raw" / "clicks.sql").write_text(RAW_CLICKS)
    return load_pipelines(tmp_path / "sql")["lab"].table("raw.clicks")


def found(*values: object) -> Found:
    """Return an object with these events; bytes are sent as they are."""
    bodies = [value if isinstance(value, bytes | None) else json.dumps(value).encode() for value in values]
    events = [Event(3, 100 + n, 1_740_787_200_000 + n, b'k",\\"v\\":{', body) for n, body in enumerate(bodies)]
    frame = Frame("clicks", 3, 100, 100 + len(events), len(events), "c")
    body, link = encode(frame, events), link_of(KEY)
    assert link
    return Found(link, frame, Entry(KEY, len(body), "e", datetime.now(timezone.utc)), body)


def rows(table: Table, *values: object) -> tuple[list[dict[str, str]], list[tuple[int, str | None, str]]]:
    """Return the rows by column, and (number, column, reason) of the bad records."""
    made, texts, bad = EventRows(table, date(2025, 3, 1), 4), "", []
    for piece in made.written(found(*values)):
        texts += piece.text.decode()
        bad += [(each.line, each.column, each.reason) for each in piece.bad]
        assert all(each.object_key == KEY for each in piece.bad)
    return [dict(zip(made.columns, line.split("\t"), strict=True)) for line in texts.splitlines()], bad


def test_an_event_becomes_a_row_with_its_place_and_the_fields_that_nobody_expected(table: Table) -> None:
    sent = b'{"event_id": "a\\tb", "amount": 1.50, "tags": [1.50, "x"], "n\\"ew": {"v": 1e2}, "user_id": 7, "z": null}'
    [row], bad = rows(table, sent)
    assert bad == []
    assert row == {
        "event_id": "a\\tb",
        "event_type": "\\N",
        "user_id": "7",
        "occurred_at": "\\N",
        "amount": "1.50",
        "tags": '[1.50, "x"]',
        "stream_partition": "3",
        "stream_position": "100",
        "received_at": "2025-03-01T00:00:00+00:00",
        "unexpected": '{"n\\\\"ew": {"v": 1e2},"z": null}',
    }


@pytest.mark.parametrize(
    ("value", "column", "reason"),
    [
        (b"no json", None, "it is not JSON: character 1"),
        (b"[1]", None, "it is JSON, but not an object"),
        (None, None, "it has no value (a tombstone)"),
        (b'{"event_id": 1, "event_id": 2}', None, "it cannot be read: its field 'event_id' is there twice"),
        ({"user_id": 7}, "event_id", "it has no value for event_id, and not_null of its table demands one"),
        ({"event_id": "x", "user_id": "seven"}, "user_id", "a whole number has digits only"),
        (
            {"event_id": "x", "user_id": [7]},
            "user_id",
            "a list or an object is a value of columns of type json and jsonb only",
        ),
        ({"event_id": "x", "amount": 1.505}, "amount", "more than 2 decimals would be rounded"),
        ({"event_id": "x", "occurred_at": "yesterday"}, "occurred_at", "a timestamp with time zone is"),
    ],
)
def test_an_event_that_is_no_row_is_a_bad_record_and_the_others_are_rows(
    table: Table, value: object, column: str | None, reason: str
) -> None:
    good, [bad] = rows(table, click(1), value, click(2, user_id=None, tags=None))
    assert [each["event_id"] for each in good] == ["e000001", "e000002"]
    assert (good[1]["user_id"], good[1]["tags"]) == ("\\N", "\\N")
    assert bad[:2] == (2, column)
    assert bad[2].startswith(reason)


def test_the_records_for_postgres_have_a_text_for_every_column(table: Table) -> None:
    made = EventRows(table, date(2025, 3, 1), 4)
    values = click(1, colour=1), b"\xff", {"event_id": "x", "user_id": {}}, click(1, event_id=None)
    first, second, third, fourth = made.records(found(*values))
    assert first.fields
    assert dict(zip(table.types, first.fields, strict=True)) == {
        "event_id": "e000001",
        "event_type": "add_to_cart",
        "user_id": "1",
        "occurred_at": "2025-03-01T00:00:01.5Z",
        "amount": "1.25",
        "tags": '{"n": 1, "deep": [1, "zwei", null]}',
        "stream_partition": "3",
        "stream_position": "100",
        "received_at": "2025-03-01T00:00:00+00:00",
        "unexpected": '{"colour": 1}',
        "batch": "4",
    }
    assert (second.fields, second.problem, second.line) == (None, "it is not UTF-8: byte 1", 2)
    assert third.refusals == {
        2: "a list or an object is a value of columns of type json and jsonb only: declare the column so"
    }
    assert fourth.problem == "it has no value for event_id, and not_null of its table demands one"
