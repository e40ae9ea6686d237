"""What is sent of builds, ticks and landings, as a receiver decodes it: exact names, attributes and values."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from kpi_assets.observed import Work, observed
from kpi_assets.scrub import scrub
from kpi_assets.settings import settings
from kpi_assets.telemetry import instruments, start
from kpi_assets.telemetry.figures import Figure
from kpi_assets.telemetry.instruments import OF_WORK
from kpi_assets_tests.machine import free_port
from kpi_assets_tests.telemetry.otlp import Receiver, attributes, receiving

DAY = date(2025, 3, 1)
KEY = "dd-0123456789abcdef"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as opened:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"dd-api-key={KEY}")
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        yield opened
        start.stop()


def build(**changes: Any) -> Work:
    """Return what a build tells when it has ended."""
    facts = {"run_id": "r1", "build_id": 7, "rows": 3, "quarantined": 1}
    verdicts = {"grain": "pass", "not_null_name": "pass", "range_weight": "warn"}
    given = {"outcome": "published", "facts": facts, "phases": {"load": 0.25}, "verdicts": verdicts, **changes}
    return Work("build", "shop", "raw.orders", DAY, **given)


def tell(work: Work) -> None:
    with observed(work):
        pass


def test_a_build_is_a_span_and_adds_to_the_metrics(receiver: Receiver) -> None:
    start.start("kpi-run")
    tell(build())
    tell(build(outcome="held", verdicts={"grain": "fail", "min_rows": "error"}))
    start.stop()

    first, second = receiver.spans()
    assert first.name == "build raw.orders"
    assert attributes(first.attributes) == {
        "pipeline": "shop",
        "asset": "raw.orders",
        "load_date": "2025-03-01",
        "outcome": "published",
        "run_id": "r1",
        "build_id": 7,
        "rows": 3,
        "quarantined": 1,
        "seconds.load": 0.25,
    }
    assert [(event.name, attributes(event.attributes)) for event in first.events] == [
        ("check", {"check": "range_weight", "status": "warn"})
    ]
    assert [attributes(event.attributes)["status"] for event in second.events] == ["fail", "error"]
    table = ("shop", "raw.orders")
    assert receiver.values("kpi.build.duration") == {(*table, "published"): 1, (*table, "held"): 1}
    assert receiver.values("kpi.build.rows") == {table: 3}
    assert receiver.values("kpi.build.quarantined") == {table: 1}
    assert receiver.values("kpi.build.checks") == {
        (*table, "pass"): 2,
        (*table, "warn"): 1,
        (*table, "fail"): 1,
        (*table, "error"): 1,
    }


def test_work_within_a_tick_is_within_its_span_and_an_idle_tick_is_only_counted(receiver: Receiver) -> None:
    start.start("kpi-run")
    with observed(Work("tick", "shop", "shop", DAY)) as tick:
        with observed(Work("batch", "shop", "raw.clicks", DAY, facts={"rows": 2, "quarantined": 0})) as batch:
            batch.outcome = "published"
        tick.outcome = "built"
    with observed(Work("tick", "shop", "shop", DAY)) as idle:
        idle.outcome = "idle"
    start.stop()

    inner, outer = receiver.spans()
    assert (inner.name, outer.name) == ("batch raw.clicks", "tick shop")
    assert (inner.parent_span_id, inner.trace_id) == (outer.span_id, outer.trace_id)
    assert attributes(outer.attributes) == {"pipeline": "shop", "load_date": "2025-03-01", "outcome": "built"}
    assert receiver.values("kpi.tick.duration") == {("shop", "built"): 1, ("shop", "idle"): 1}


def test_a_landing_has_its_stream(receiver: Receiver) -> None:
    start.start("kpi-stream")
    for outcome in ("landed", "landed", "fenced", "failed"):
        tell(Work("landing", "shop", "clicks", DAY, outcome=outcome, facts={"partition": 2, "records": 40}))
    start.stop()

    assert attributes(receiver.spans()[0].attributes) == {
        "pipeline": "shop",
        "stream": "clicks",
        "load_date": "2025-03-01",
        "outcome": "landed",
        "partition": 2,
        "records": 40,
    }
    stream = ("shop", "clicks")
    assert receiver.values("kpi.landing.events") == {stream: 80}
    assert receiver.values("kpi.landing.duration") == {
        (*stream, "landed"): 2,
        (*stream, "fenced"): 1,
        (*stream, "failed"): 1,
    }


def test_an_error_is_told_by_its_type_alone(receiver: Receiver) -> None:
    start.start("kpi-run")
    with pytest.raises(ValueError, match="delivered"), observed(build(outcome="", verdicts={}, facts={})):
        raise ValueError("delivered value 4711")
    start.stop()

    [span] = receiver.spans()
    found = attributes(span.attributes)
    assert (found["outcome"], found["error.type"]) == ("failed", "ValueError")
    assert (span.status.code, span.status.message, len(span.events)) == (2, "", 0)
    assert receiver.values("kpi.build.duration") == {("shop", "raw.orders", "failed"): 1}
    assert not any(b"4711" in body for _, body in receiver.bodies)


def test_metrics_have_the_declared_units_labels_and_meanings(receiver: Receiver) -> None:
    start.start("kpi-run")
    tell(build())
    tell(Work("tick", "shop", "shop", DAY, outcome="idle"))
    tell(Work("landing", "shop", "clicks", DAY, outcome="landed", facts={"records": 1}))
    start.stop()

    found = receiver.metrics()
    assert sorted(found) == sorted(each.name for each in OF_WORK)
    for each in OF_WORK:
        metric = found[each.name]
        points = (metric.histogram if each.kind == "histogram" else metric.sum).data_points
        assert (metric.unit, metric.description) == (each.unit, each.meaning)
        assert {tuple(attributes(point.attributes)) for point in points} == {each.labels}
    [point] = found["kpi.tick.duration"].histogram.data_points
    assert list(point.explicit_bounds) == [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200]


def test_figures_of_the_ledger_are_read_when_metrics_are_sent(receiver: Receiver) -> None:
    figures = [
        Figure(instruments.LAG, ("shop", "clicks"), 12),
        Figure(instruments.HELD, ("shop", "raw.orders"), 2),
        Figure(instruments.HELD, ("shop", "marts.kpi"), 0),
    ]
    start.start("kpi-serve", lambda: figures)
    start.flush()
    deadline = time.monotonic() + 60
    while "kpi.held" not in receiver.metrics() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert receiver.values("kpi.held") == {("shop", "raw.orders"): 2, ("shop", "marts.kpi"): 0}
    assert receiver.values("kpi.stream.lag") == {("shop", "clicks"): 12}
    assert sorted(receiver.metrics()) == ["kpi.held", "kpi.stream.lag"]


def test_the_receiver_knows_the_process_and_its_key_is_nowhere_else(receiver: Receiver) -> None:
    start.start("kpi-run")
    tell(build())
    start.stop()

    assert {each["service.name"] for each in receiver.resources()} == {"kpi-run"}
    assert {each["service.namespace"] for each in receiver.resources()} == {"kpi_assets"}
    assert {each["dd-api-key"] for each in receiver.headers} == {KEY}
    assert not any(KEY.encode() in body for _, body in receiver.bodies)
    assert scrub(f"key {KEY}") == "key ***"


def test_a_service_may_be_named_by_its_variable(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "numbers")
    start.start("kpi-run")
    tell(build())
    start.stop()
    assert {each["service.name"] for each in receiver.resources()} == {"numbers"}


@pytest.mark.parametrize("signal", ["metrics", "traces"])
def test_one_signal_may_be_sent_alone(signal: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", f"{receiver.address}/v1/{signal}")
    start.start("kpi-run")
    tell(build())
    start.stop()
    assert {path for path, _ in receiver.bodies} == {f"/v1/{signal}"}


@pytest.mark.nightly
def test_a_receiver_that_is_away_delays_nothing_and_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:password1@127.0.0.1:{port}")
    start.start("kpi-run")
    began = time.monotonic()
    for _ in range(1000):
        tell(build())
    told = time.monotonic() - began
    start.stop()
    assert told < 30  # each attempt to send goes on for ten seconds
    assert time.monotonic() - began < 60
    deadline = time.monotonic() + 60
    while not caplog.messages and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    [line] = {each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING}
    assert line in {
        f"The {signal} cannot be sent to http://127.0.0.1:{port}: nothing waits for that, and what is not sent is "
        "dropped."
        for signal in ("metrics", "traces")
    }


def test_a_receiver_that_refuses_is_told_once_and_nothing_is_waited_for(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 401
    start.start("kpi-run")
    for _ in range(3):
        tell(build())
        start.flush()
        time.sleep(0.2)
    start.stop()
    assert len(caplog.messages) == 1
    assert f"cannot be sent to {receiver.address}: nothing waits for that" in caplog.messages[0]


@pytest.mark.process
def test_nothing_is_loaded_unless_somebody_is_named() -> None:
    code = (
        "import os, sys; import kpi_assets.cli.stream\n"
        "from kpi_assets.telemetry.start import start\n"
        "start('kpi-stream')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
        "import kpi_assets.surface.run, kpi_assets.surface.app\n"  # FastAPI loads the API of it, which does nothing
        "os.environ |= {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1', 'OTEL_SDK_DISABLED': 'true'}\n"
        "start('kpi-serve')\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    unset = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    said = subprocess.run([sys.executable, "-c", code], env=unset, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["[]", "[]"]


def test_without_opentelemetry_a_line_says_what_to_install(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "kpi_assets.telemetry.sent", None)
    start.start("kpi-run")
    tell(build())
    assert caplog.messages == [start.NOT_INSTALLED % receiver.address]
    assert receiver.bodies == []


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    yield
    settings.cache_clear()
    settings()
