"""Many incidents are sent in a few messages that a person can read, and none is lost: a thousand in nightly runs."""

import time
from datetime import date, timedelta

import pytest

from kpi_assets.alerts.delivery import MOST_MESSAGES
from kpi_assets.ledger import incidents, runs
from kpi_assets.ledger.runs import Counts
from kpi_assets_tests.alerts.receivers import Web
from kpi_assets_tests.alerts.test_delivery import NOW_DUE, deliver_once, hook
from kpi_assets_tests.examples import examples
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

MANY = examples(1000)
DAYS = [DAY + timedelta(days=n) for n in range(MANY)]
A_MINUTE_LATER = "update ops.alert_deliveries set delivered_at = delivered_at - interval '1 minute' returning 1"
UNDELIVERED = "select count(*) from ops.alert_deliveries where delivered_at is null"


def held(lab: PipelineHarness, days: list[date], *, one_run: bool = False) -> None:
    """Record held builds of raw.things, in one run over the range or in a run for each load_date."""
    with lab.session() as session, session.transaction():
        for day in days:
            run_id = "range" if one_run else f"run of {day}"
            row = runs.open_row(session, run_id=run_id, pipeline=lab.name, job="raw.things", load_date=day)
            runs.close_build(session, row, "held", layer="raw", counts=Counts(), error="1 bad row")


def late(lab: PipelineHarness, days: list[date]) -> None:
    """Record late load_dates, each an incident of its own."""
    with lab.session() as session, session.transaction():
        for day in days:
            incidents.report_late(session, lab.name, day, f"{day} is incomplete")


def recover(lab: PipelineHarness, run_id: str) -> None:
    """Close every open incident as a run over the range does; ledger/test_incidents.py tests when that happens."""
    lab.rows(
        "with closed as (update ops.alerts set closed_at = clock_timestamp() where closed_at is null returning *) "
        "insert into ops.alerts (pipeline_name, load_date, kind, run_id, details, closed_at) "
        f"select pipeline_name, load_date, 'recovered', {run_id}, array['it was held'], clock_timestamp() from closed "
        "returning 1"
    )


def sent(web: Web, kind: str) -> list[str]:
    return [day for body in web.bodies if body["kind"] == kind for day in body["load_dates"]]


@pytest.mark.parametrize("one_run", [True, False])
def test_a_thousand_held_load_dates_are_one_message_and_their_recovery_another(
    ready: PipelineHarness, web: Web, one_run: bool
) -> None:
    held(ready, DAYS, one_run=one_run)
    begun = time.monotonic()
    assert deliver_once(ready, hook(web)) == {}
    assert time.monotonic() - begun < 2
    [body] = web.bodies
    assert (body["kind"], body["count"], body["load_date"]) == ("held", MANY, None)
    assert body["load_dates"] == [str(day) for day in DAYS]
    assert body["title"] == (
        f"{ready.name}, {MANY:,} load_dates from {DAYS[0]} to {DAYS[-1]} are held by their gates; "
        "readers keep what was published before"
    )
    assert body["run_id"] == ("range" if one_run else None)
    assert ready.rows("select count(*), count(distinct load_date) from ops.alerts where kind = 'held'") == [
        (MANY, MANY)
    ]
    recover(ready, "'again'" if one_run else "'run ' || load_date")
    deliver_once(ready, hook(web))
    assert [(body["kind"], body["count"]) for body in web.bodies] == [("held", MANY), ("recovered", MANY)]
    assert ready.rows(UNDELIVERED) == [(0,)]


def test_incidents_without_a_common_cause_are_capped_and_the_rest_is_one_summary(
    ready: PipelineHarness, web: Web
) -> None:
    late(ready, DAYS)
    begun = time.monotonic()
    deliver_once(ready, hook(web))
    assert time.monotonic() - begun < 3
    assert [body["count"] for body in web.bodies] == [1] * MOST_MESSAGES + [MANY - MOST_MESSAGES]
    assert sorted(sent(web, "late")) == [str(day) for day in DAYS]
    assert web.bodies[-1]["details"][-1] == f"`kpi alerts {ready.name}` lists those that are open, and ops.alerts all"
    assert ready.rows("select count(*) from ops.alerts where closed_at is null") == [(MANY,)]

    recover(ready, "null")
    deliver_once(ready, hook(web))
    assert [body["count"] for body in web.bodies[MOST_MESSAGES + 1 :]] == [MANY]
    assert sorted(sent(web, "recovered")) == [str(day) for day in DAYS]
    assert ready.rows(UNDELIVERED) == [(0,)]


def test_messages_are_limited_per_minute_and_the_rest_is_sent_in_the_next(ready: PipelineHarness, web: Web) -> None:
    for day in DAYS[: 2 * MOST_MESSAGES + 3]:
        late(ready, [day])
        deliver_once(ready, hook(web))
    assert [body["count"] for body in web.bodies] == [1] * 2 * MOST_MESSAGES
    ready.rows(A_MINUTE_LATER)
    deliver_once(ready, hook(web))
    assert sent(web, "late") == [str(day) for day in DAYS[: 2 * MOST_MESSAGES + 3]]


def test_a_summary_names_incidents_of_several_kinds(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAYS[: MOST_MESSAGES + 3])
    held(ready, DAYS[-2:])
    deliver_once(ready, hook(web))
    assert web.bodies[-1]["kind"] == "summary"
    assert web.bodies[-1]["title"] == f"{ready.name}: 5 alerts at once (3 late, 2 held)"
    assert web.bodies[-1]["load_dates"] == [str(day) for day in (*DAYS[MOST_MESSAGES : MOST_MESSAGES + 3], *DAYS[-2:])]


def test_an_outage_of_the_channel_in_the_middle_loses_nothing(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAYS)
    web.answers = [*[200] * 4, *[503] * 5]
    for _ in range(5):
        assert deliver_once(ready, hook(web)) == {"webhook": "it answered 503 Service Unavailable"}
    assert len(web.bodies) == 4
    held(ready, DAYS)
    recover(ready, "'again'")
    for _ in range(4):
        ready.rows(NOW_DUE)
        ready.rows(A_MINUTE_LATER)
        assert deliver_once(ready, hook(web)) == {}
    assert ready.rows(UNDELIVERED) == [(0,)]
    assert len(web.bodies) <= 4 + 2 * (MOST_MESSAGES + 1) + 2
    counted = sum(body["count"] for body in web.bodies)
    assert ready.rows("select count(*) from ops.alerts") == [(counted,)]
    kinds = ready.rows("select kind, count(*) from ops.alerts group by kind order by kind")
    assert kinds == [("held", MANY), ("late", MANY), ("recovered", 2 * MANY)]
