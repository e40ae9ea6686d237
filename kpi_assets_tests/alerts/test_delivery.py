"""The outbox: each alert is sent on each channel in order, with pauses, and never twice by several deliverers."""

import threading
import time
from datetime import date, timedelta

import pytest
from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.alerts.channels import Channel, Slack, Webhook
from kpi_assets.alerts.delivery import deliver
from kpi_assets.alerts.message import Pages
from kpi_assets.ledger import deliveries, incidents
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.alerts.receivers import Web, silent
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

SECRET = "T0PS3CRET"
UI = "http://ui"
OUTBOX = (
    "select alert_id, channel, attempts, last_error, delivered_at is not null from ops.alert_deliveries order by 1, 2"
)
NOW_DUE = "update ops.alert_deliveries set next_attempt_at = clock_timestamp() returning 1"


def late(lab: PipelineHarness, *days: date) -> None:
    with lab.session() as session:
        for day in days:
            incidents.report_late(session, lab.name, day, f"{day} is incomplete")


def recovered(lab: PipelineHarness, day: date) -> None:
    lab.rows(f"update ops.alerts set closed_at = clock_timestamp() where load_date = '{day}' returning 1")
    lab.rows(
        "insert into ops.alerts (pipeline_name, load_date, kind, details, closed_at) "
        f"values ('{lab.name}', '{day}', 'recovered', '{{}}', clock_timestamp()) returning 1"
    )


def outbox(lab: PipelineHarness) -> list[tuple[str, int, str | None, bool]]:
    return [(channel, attempts, error, done) for _, channel, attempts, error, done in lab.rows(OUTBOX)]


def sent(web: Web) -> list[tuple[str, str]]:
    return [(day, body["kind"]) for body in web.bodies for day in body["load_dates"]]


def hook(web: Web) -> Webhook:
    return Webhook(SecretStr(web.url))


def deliver_once(lab: PipelineHarness, *channels: Channel, seconds: float = 5) -> dict[str, str]:
    return deliver(lab.server, lab.name, channels, UI, seconds)


def test_each_channel_is_sent_each_alert_once(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY, NEXT)
    slack = Slack(SecretStr(web.url))
    assert deliver_once(ready, slack, hook(web)) == {}
    assert [set(body) == {"text"} for body in web.bodies] == [True, True, False, False]
    assert [body["load_date"] for body in web.bodies[2:]] == [str(DAY), str(NEXT)]
    assert deliver_once(ready, slack, hook(web)) == {}
    assert len(web.bodies) == 4
    assert outbox(ready) == [("slack", 1, None, True), ("webhook", 1, None, True)] * 2


def test_an_alert_waits_until_there_is_a_channel(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY)
    assert deliver_once(ready) == {}
    assert outbox(ready) == []
    deliver_once(ready, hook(web))
    assert sent(web) == [(str(DAY), "late")]


def test_a_refused_message_is_sent_again_after_pauses_that_double(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY)
    web.answers = [500] * 9
    pause = "select extract(epoch from next_attempt_at - clock_timestamp())::float from ops.alert_deliveries"
    pauses = []
    for attempt in range(1, 9):
        assert deliver_once(ready, hook(web)) == {"webhook": "it answered 500 Internal Server Error"}
        assert outbox(ready) == [("webhook", attempt, "it answered 500 Internal Server Error", False)]
        [(seconds,)] = ready.rows(pause)
        pauses.append(round(seconds / 60))
        assert deliver_once(ready, hook(web)) == {}, "it is not due yet"
        assert len(web.paths) == attempt
        ready.rows(NOW_DUE)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    web.answers = []
    assert deliver_once(ready, hook(web)) == {}
    assert outbox(ready) == [("webhook", 9, None, True)]
    assert sent(web) == [(str(DAY), "late")]


def test_a_channel_that_refuses_gets_nothing_more_in_the_same_pass(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY, NEXT)
    web.answers = [500]
    slack = Slack(SecretStr(web.url))
    assert list(deliver_once(ready, slack, hook(web))) == ["slack"]
    assert web.paths == ["POST /hook"] * 3
    why = "it answered 500 Internal Server Error"
    assert outbox(ready) == [
        ("slack", 1, why, False),
        ("webhook", 1, None, True),
        ("slack", 0, None, False),
        ("webhook", 1, None, True),
    ]


def test_a_channel_that_does_not_answer_does_not_delay_the_others(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY, NEXT)
    with silent() as place:
        begun = time.monotonic()
        problems = deliver_once(ready, Slack(SecretStr(f"http://{place}/{SECRET}")), hook(web), seconds=0.5)
        spent = time.monotonic() - begun
    assert list(problems) == ["slack"]
    assert sent(web) == [(str(DAY), "late"), (str(NEXT), "late")]
    assert 0.5 <= spent < 1.5


def test_no_secret_is_written_down(ready: PipelineHarness) -> None:
    late(ready, DAY)
    channels: list[Channel] = [Slack(SecretStr(f"http://127.0.0.1:9/{SECRET}"))]
    assert list(deliver_once(ready, *channels)) == ["slack"]
    [(row,)] = ready.rows("select d::text from ops.alert_deliveries as d")
    assert "cannot be reached" in row
    assert SECRET not in row


def test_a_recovery_is_never_sent_before_its_incident(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY)
    web.answers = [500]
    deliver_once(ready, hook(web))
    recovered(ready, DAY)
    late(ready, NEXT)
    deliver_once(ready, hook(web))
    assert sent(web) == [(str(NEXT), "late")], "another load_date does not wait"
    ready.rows(NOW_DUE)
    deliver_once(ready, hook(web))
    assert sent(web) == [(str(NEXT), "late"), (str(DAY), "late"), (str(DAY), "recovered")]


def claim(session: Connection, channel: str = "webhook") -> date | None:
    found = deliveries.claim(session, channel)
    return found[0].load_date if found else None


def test_a_message_that_one_deliverer_has_claimed_is_taken_by_no_other(ready: PipelineHarness) -> None:
    late(ready, DAY, NEXT)
    with ready.session() as one, ready.session() as other:
        deliveries.enter(one, ["webhook"])
        with one.transaction():
            assert claim(one) == DAY
            other.execute("set lock_timeout = '1s'")
            assert claim(other) == NEXT, "a deliverer does not wait for the first either"
            assert claim(other) is None
        assert claim(other) is None
        assert claim(one) is None


def test_deliverers_at_the_same_time_send_each_alert_once(ready: PipelineHarness, web: Web) -> None:
    days = [DAY + timedelta(days=n) for n in range(30)]
    late(ready, *days)
    together = threading.Barrier(4)

    def work() -> None:
        together.wait()
        deliver_once(ready, hook(web), seconds=20)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent(web)) == [(str(day), "late") for day in days]
    assert {row[1:] for row in outbox(ready)} == {(1, None, True)}
    assert len(web.bodies) < 10 + 4 + 2, "each of the four may have looked just before the others sent"


def test_what_a_killed_deliverer_had_claimed_is_sent_by_the_next(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY)
    with ready.session() as dying:
        deliveries.enter(dying, ["webhook"])
        assert claim(dying) == DAY
    deliver_once(ready, hook(web))
    assert sent(web) == [], "for a minute the deliverer may still be sending"
    ready.rows(NOW_DUE)
    deliver_once(ready, hook(web))
    assert sent(web) == [(str(DAY), "late")]
    assert outbox(ready) == [("webhook", 2, None, True)]


def make_older(lab: PipelineHarness, interval: str) -> None:
    lab.rows(f"update ops.alerts set opened_at = opened_at - '{interval}'::interval returning 1")


def test_a_new_channel_is_sent_open_incidents_and_no_old_ones(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY, NEXT)
    recovered(ready, NEXT)
    make_older(ready, "25 hours")
    deliver_once(ready, hook(web))
    assert sent(web) == [(str(DAY), "late")]


def test_after_a_week_a_message_is_given_up(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY)
    web.answers = [500]
    deliver_once(ready, hook(web))
    recovered(ready, DAY)
    ready.rows("update ops.alerts set opened_at = opened_at - '8 days'::interval where kind = 'late' returning 1")
    ready.rows(NOW_DUE)
    deliver_once(ready, hook(web))
    assert sent(web) == [(str(DAY), "recovered")], "a message that was given up does not delay others"
    with ready.session() as session:
        assert [(row["kind"], row["next_attempt_at"]) for row in deliveries.undelivered(session)] == [("late", None)]


def test_undelivered_messages_are_listed_with_the_reason(ready: PipelineHarness, web: Web) -> None:
    late(ready, DAY, NEXT)
    web.answers = [200, 404]
    deliver_once(ready, hook(web))
    with ready.session() as session:
        [row] = deliveries.undelivered(session)
    assert (row["load_date"], row["kind"], row["channel"], row["attempts"], row["last_error"]) == (
        *(NEXT, "late", "webhook"),
        *(1, "it answered 404 Not Found"),
    )
    assert row["next_attempt_at"] is not None


def test_an_outbox_that_cannot_be_used_is_an_error(ready: PipelineHarness, web: Web) -> None:
    with pytest.raises(
        WarehouseError, match=r"^The alerts of postgres cannot be delivered \(UndefinedTable: relation "
    ):
        deliver(ready.server, "postgres", [hook(web)], UI, 5)
    with pytest.raises(WarehouseError, match="cannot be used"):
        deliver(SecretStr("postgresql://kpi@127.0.0.1:9/x"), "x", [hook(web)], UI, 5)


def test_a_measure_beyond_its_threshold_and_its_recovery_are_sent_in_order(ready: PipelineHarness, web: Web) -> None:
    pages = Pages(None, {"marts.kpi_things": "https://pages/kpi/shop/kpi_things"})
    with ready.session() as session:
        on_day = incidents.PartOfTable(
            ready.name, "marts.kpi_things", DAY, "Things is 1, below 5", "r1", measure="things"
        )
        incidents.report_part(session, on_day)
        web.answers = [500]
        deliver(ready.server, ready.name, [hook(web)], UI, 5, pages=pages)
        later = incidents.PartOfTable(ready.name, "marts.kpi_things", NEXT, "Things is 7", "r2", measure="things")
        incidents.close_part(session, later)
    deliver(ready.server, ready.name, [hook(web)], UI, 5, pages=pages)
    assert len(web.paths) == 1, "the recovery waits for the incident"
    ready.rows(NOW_DUE)
    deliver(ready.server, ready.name, [hook(web)], UI, 5, pages=pages)
    ready.rows(NOW_DUE)
    deliver(ready.server, ready.name, [hook(web)], UI, 5, pages=pages)
    assert [(body["kind"], body["load_date"], body["link"]) for body in web.bodies] == [
        ("breached", str(DAY), "https://pages/kpi/shop/kpi_things?measure=things&load_date=2025-03-01"),
        ("recovered", str(NEXT), "https://pages/kpi/shop/kpi_things?measure=things&load_date=2025-03-02"),
    ]
    assert web.bodies[0]["details"] == ["Things is 1, below 5"]
