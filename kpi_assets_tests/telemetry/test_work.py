"""What builds, ticks and landings tell observers: real ones, with exact counts."""

import socket
import time
from collections.abc import Callable, Iterator
from datetime import date

import pytest

from kpi_assets.materialize.tick import tick
from kpi_assets.observed import Work, observe
from kpi_assets.telemetry import start
from kpi_assets_tests.clicks_pipeline import ClicksPipeline
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, RAW_THINGS, PipelineHarness
from kpi_assets_tests.stream.memory import Bench
from kpi_assets_tests.telemetry.otlp import attributes, receiving


@pytest.fixture
def heard() -> Iterator[list[Work]]:
    """All work that ends during the test, in that order."""
    found: list[Work] = []

    def observer(work: Work) -> Callable[[], None]:
        return lambda: found.append(work)

    stop = observe(observer)
    yield found
    stop()


def test_a_published_and_a_held_build(lab: PipelineHarness, heard: list[Work]) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    published = lab.build("raw.things")
    lab.put_things(DOUBLED)
    held = lab.build("raw.things")

    first, second = heard
    assert (first.kind, first.pipeline, first.name, first.load_date) == ("build", lab.name, "raw.things", DAY)
    assert (first.outcome, first.error) == ("published", "")
    assert first.facts == {"run_id": lab.run_id, "build_id": published.build_id, "rows": 2, "quarantined": 0}
    assert set(first.verdicts.values()) == {"pass"}
    assert 0 < sum(first.phases.values()) < first.seconds
    assert second.outcome == "held"
    assert second.facts["build_id"] == held.build_id
    assert [name for name, verdict in second.verdicts.items() if verdict == "fail"] == ["grain"]


def test_a_build_that_fails(lab: PipelineHarness, heard: list[Work]) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/kpi_things.sql", MART)
    with pytest.raises(Exception, match="must be published first"):
        lab.build("marts.kpi_things")
    [work] = heard
    assert (work.outcome, work.error, work.facts) == ("failed", "UpstreamError", {"run_id": lab.run_id})


def test_a_tick_tells_of_its_batches_and_builds(clicks: ClicksPipeline, heard: list[Work]) -> None:
    clicks.land("a", "b", "b")
    tick(clicks.context(), clicks.day)
    assert [(work.kind, work.name, work.outcome) for work in heard] == [
        ("batch", "raw.clicks", "published"),
        ("batch", "stg.clicks", "published"),
        ("batch", "stg.clicks_by_minute", "published"),
        ("build", "marts.kpi_clicks", "published"),
        ("build", "marts.kpi_total", "published"),
        ("tick", clicks.name, "built"),
    ]
    counts = {name: count for name, count in heard[1].facts.items() if name not in {"run_id", "build_id"}}
    assert counts == {"batch": 1, "objects": 0, "records": 3, "rows": 2, "repeats": 1, "quarantined": 0}
    assert heard[-1].facts == {"run_id": clicks.run_id, "batches": 3, "builds": 2, "failed": 0}

    heard.clear()
    tick(clicks.context(), clicks.day)
    clicks.land("c", kind="unknown")
    tick(clicks.context(), clicks.day)
    assert [(work.name, work.outcome) for work in heard if work.kind == "tick"] == [
        (clicks.name, "idle"),
        (clicks.name, "held"),
    ]


def test_a_landing_tells_of_each_object(heard: list[Work]) -> None:
    bench = Bench()
    bench.broker.send_many(3)
    landing = bench.landing()
    landing.pipeline = "shop"
    bench.land(landing)
    told = [(work.kind, work.pipeline, work.name, work.outcome, dict(work.facts)) for work in heard]
    assert sorted(told, key=str) == [
        ("landing", "shop", "clicks", "landed", {"partition": 0, "records": 2}),
        ("landing", "shop", "clicks", "landed", {"partition": 1, "records": 1}),
    ]
    assert {work.load_date for work in heard} == {date(2026, 3, 1)}


def test_no_delivered_value_leaves_with_a_real_build(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        start.start("kpi-run")
        for body in (GOOD, DOUBLED, b"thing_id,name,weight\n1,anvil,heavy\n"):
            lab.put_things(body)
            lab.build("raw.things")
        start.stop()
        sent = b"".join(body for _, body in receiver.bodies)
        spans = receiver.spans()
    assert [attributes(span.attributes)["outcome"] for span in spans] == ["published", "held", "held"]
    assert b"raw.things" in sent
    for value in (b"anvil", b"feather", b"20.50", b"heavy", b"postgresql://", b"kpi_loader"):
        assert value not in sent


def test_a_receiver_that_never_answers_delays_no_build(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")  # seconds, which whoever waited would wait
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
        began = time.monotonic()
        start.start("kpi-run")
        outcomes = [lab.build("raw.things") for _ in range(2)]
        start.stop()
        seconds = time.monotonic() - began
    assert [outcome.held for outcome in outcomes] == [False] * 2
    assert seconds < 300
