"""Fields of events that no header names are recorded, and each is an incident until the header names it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from kpi_assets.ledger import drift
from kpi_assets.materialize.build import build
from kpi_assets.materialize.tick import tick
from kpi_assets.monitoring import drifted
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets_tests.clicks_pipeline import RAW_CLICKS, ClicksPipeline

ROWS = """
    select d.field, d.json_type, d.events, d.sample from ops.drift as d
    where d.base_build_id in (select b.base_build_id from ops.batches as b where b.superseded_at is null) order by 1, 2
"""
ALERTS = "select kind, load_date, job, field, details[1], closed_at is null from ops.alerts order by id"
NAMED = "  occurred_at: {type: timestamp with time zone, description: When.}\n"


def land(clicks: ClicksPipeline, *more: dict[str, Any], day_after: int = 0) -> None:
    """Land an object with an event for each of these fields, and build it."""
    day = clicks.day + timedelta(days=day_after)
    start = clicks.next_position.get((day, 0), 0)
    values = [{**json.loads(clicks.event(f"{day} {start + n}", day)), **each} for n, each in enumerate(more)]
    clicks.land_values([json.dumps(value).encode() for value in values], day=day)
    tick(clicks.context(), day)


def judge(clicks: ClicksPipeline) -> list[tuple[Any, ...]]:
    pipeline = clicks.pipeline()
    with clicks.session() as session:
        drifted.report_drifted(session, pipeline)
        close_recovered(session, pipeline)
        return session.execute(ALERTS).fetchall()


def name_it(clicks: ClicksPipeline, column: str) -> None:
    clicks.file("raw/clicks.sql", RAW_CLICKS.replace(NAMED, NAMED + f"  {column}: {{type: text, description: New.}}\n"))


def test_growing_adds_the_fields_of_a_batch_and_a_replay_replaces_them(clicks: ClicksPipeline) -> None:
    land(clicks, {}, {"color": "red"}, {"color": "blue", "size": {"w": 1}})
    assert clicks.rows(ROWS) == [("color", "string", 2, '"red"'), ("size", "object", 1, '{"w": 1}')]
    land(clicks, {"color": "x" * 500}, {"color": None})
    found = clicks.rows(ROWS)
    assert [row[:3] for row in found] == [("color", "null", 1), ("color", "string", 3), ("size", "object", 1)]
    seen = "select field, first_seen < last_seen from ops.drift where json_type = 'string'"
    assert clicks.rows(seen) == [("color", True)]
    context = clicks.context()
    assert not build(context, context.pipeline.table("raw.clicks"), clicks.day).held
    assert clicks.rows(ROWS) == found, "a replay of the same objects finds the same"


def test_no_value_of_an_unknown_field_is_kept_beside_a_personal_column(clicks: ClicksPipeline) -> None:
    clicks.file("raw/clicks.sql", RAW_CLICKS.replace("description: Event.}", "description: Event., pii: id}"))
    land(clicks, {"mail": "canary@example.org"})
    assert clicks.rows(ROWS) == [("mail", "string", 1, "(masked)")]
    land(clicks, {"event_id": None, "mail": "canary@example.org"}, {"occurred_at": "canary"}, {})
    [(bad,)] = clicks.rows("select count(*) from ops.quarantine where record like '%canary%'")
    assert bad == 2
    assert clicks.rows("select check_name from ops.data_quality_results as r where r::text like '%canary%'") == []


def test_a_field_that_the_header_does_not_name_is_an_incident_until_it_does(clicks: ClicksPipeline) -> None:
    land(clicks, {})
    assert judge(clicks) == []
    land(clicks, {"color": "red"}, {"color": 1})
    said = (
        "raw.clicks: events have the field 'color' (number, string), which the header does not name: it is kept in "
        f"unexpected; name it as a column and replay the load_dates from {clicks.day} on, or let the producer take it "
        "out"
    )
    assert judge(clicks) == [("drifted", clicks.day, "raw.clicks", "color", said, True)]
    assert judge(clicks) == [("drifted", clicks.day, "raw.clicks", "color", said, True)], "it is told once"
    name_it(clicks, "color")
    [opened, recovered] = judge(clicks)
    assert (opened[0], opened[-1]) == ("drifted", False)
    assert recovered[:4] == ("recovered", clicks.day, "raw.clicks", "color")
    assert recovered[4].startswith(
        "raw.clicks: the field 'color': the header names it now; a replay fills the column; it was drifted since "
    )
    context = clicks.context()
    assert not build(context, context.pipeline.table("raw.clicks"), clicks.day).held
    color = f"select color from raw.clicks where load_date = '{clicks.day}' and color is not null order by 1"
    assert clicks.rows(color) == [("1",), ("red",)]
    assert clicks.rows(ROWS) == []
    clicks.file("raw/clicks.sql", RAW_CLICKS)
    assert len(judge(clicks)) == 2, "what was published before the replay does not count"


def test_a_field_that_no_event_has_any_more_is_over(clicks: ClicksPipeline) -> None:
    land(clicks, {"color": "red"})
    assert [row[0] for row in judge(clicks)] == ["drifted"]
    land(clicks, {}, day_after=drifted.LOAD_DATES - 1)
    assert [row[0] for row in judge(clicks)] == ["drifted"]
    land(clicks, {}, day_after=drifted.LOAD_DATES)
    assert [row[0] for row in judge(clicks)] == ["drifted", "recovered"]
    assert "no event of the last 7 days of load_dates has it" in judge(clicks)[1][4]
    clicks.day += timedelta(days=drifted.LOAD_DATES)


def test_a_producer_that_invents_names_is_told_of_a_few_times(
    clicks: ClicksPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drifted, "MOST", 2)
    monkeypatch.setattr(drift, "MOST", 4)
    land(clicks, *({f"field {n}": n} for n in range(6)), {"field 5": 1})
    assert [row[0] for row in clicks.rows(ROWS)] == ["field 0", "field 1", "field 2", "field 5"]
    assert [row[3] for row in judge(clicks)] == ["field 5", "field 0"], "those in most events first"
    land(clicks, {"field 0": 1}, {"field 9": 1})
    assert clicks.rows(ROWS)[0][:3] == ("field 0", "number", 2), "what is known is counted on"
    assert len(judge(clicks)) == 2
