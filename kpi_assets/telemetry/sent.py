"""Sends metrics and traces by OTLP over HTTP. The only module that imports OpenTelemetry.

Everything is sent by threads of OpenTelemetry. Work only puts numbers into memory, so a receiver that is slow or away
delays none. What cannot be sent is dropped, and one line in the log says so.

A span has the ids, counts and phases of one piece of work, and the verdicts of the checks that did not pass. No
attribute quotes an error, a value that was delivered, or a setting. The providers are ours alone: if they were those of
the process, libraries such as FastAPI would send what they see of requests.
Belongs here: what becomes of the work that observed.py tells. Not here: the names of metrics (instruments.py).
"""

import atexit
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from threading import Event, Thread
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span, Status, StatusCode

from kpi_assets import observed
from kpi_assets.observed import Work
from kpi_assets.telemetry import instruments, receiver
from kpi_assets.telemetry.figures import Figure
from kpi_assets.telemetry.instruments import OF_THE_LEDGER, OF_WORK, Instrument

logger = logging.getLogger(__name__)

LAST_SECONDS = 2.0  # for what was not sent yet when the process ends
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)  # seconds, of the histograms
SCOPE = "kpi_assets"
IDLE = "idle"  # the outcome of a tick that found nothing: every few seconds, and so no span


class Sending:
    """The telemetry of one process, from now until `stop`."""

    def __init__(
        self, service: str, signals: Sequence[str], figures: Callable[[], Sequence[Figure]] | None = None
    ) -> None:
        # It logs each attempt that fails, some with the whole stack; one line of ours says what there is to know.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._refusals, self._is_over = _Refusals(), Event()
        resource = _resource(service)
        self._tracers = _tracers(resource, self._refusals) if "traces" in signals else None
        self._meters = _meters(resource, self._refusals) if "metrics" in signals else None
        self._ends = []
        if self._tracers:
            self._ends.append(observed.observe(_Spans(self._tracers)))
        if self._meters:
            self._ends.append(observed.observe(_Numbers(self._meters)))
            if figures:
                _observe_figures(self._meters, figures, self._is_over)
        atexit.register(self.stop)

    def flush(self) -> None:
        """Send what was not sent yet, in another thread."""
        self._in_background(self._flush)

    def stop(self) -> None:
        """Send what was not sent yet, for LAST_SECONDS at most, and nothing more.

        If the receiver did not take what was sent last, nothing is waited for.
        """
        if self._is_over.is_set():
            return
        self._is_over.set()
        atexit.unregister(self.stop)
        for end in self._ends:
            end()
        ending = self._in_background(self._shut_down)
        ending.join(0 if self._refusals.is_refused else LAST_SECONDS)

    def _in_background(self, work: Callable[[], None]) -> Thread:
        thread = Thread(target=work, name="telemetry", daemon=True)
        thread.start()
        return thread

    def _flush(self) -> None:
        for provider in (self._tracers, self._meters):
            if provider:
                provider.force_flush()

    def _shut_down(self) -> None:
        for provider in (self._tracers, self._meters):
            if provider:
                provider.shutdown()


class _Refusals:
    """Whether the receiver took what was sent last. The first time that it did not, the log says so."""

    def __init__(self) -> None:
        self.is_refused = self._is_said = False
        self._shown = {signal: receiver.shown(signal) for signal in ("metrics", "traces")}

    def note(self, signal: str, *, refused: bool) -> None:
        self.is_refused = refused
        if refused and not self._is_said:
            self._is_said = True
            logger.warning(
                "The %s cannot be sent to %s: nothing waits for that, and what is not sent is dropped.",
                *(signal, self._shown[signal]),
            )


class _SpanExporter(OTLPSpanExporter):
    def __init__(self, refusals: _Refusals) -> None:
        super().__init__()
        self._refusals = refusals

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        self._refusals.note("traces", refused=result is not SpanExportResult.SUCCESS)
        return result


class _MetricExporter(OTLPMetricExporter):
    def __init__(self, refusals: _Refusals) -> None:
        super().__init__()
        self._refusals = refusals

    def export(self, *given: Any, **named: Any) -> MetricExportResult:
        result = super().export(*given, **named)
        self._refusals.note("metrics", refused=result is not MetricExportResult.SUCCESS)
        return result


class _Processor(BatchSpanProcessor):
    """Sends spans, but no span of a tick that had nothing to do."""

    def on_end(self, span: ReadableSpan) -> None:
        if (span.attributes or {}).get("outcome") != IDLE:
            super().on_end(span)


def _resource(service: str) -> Resource:
    said = {"service.version": version("kpi_assets"), "service.instance.id": str(uuid.uuid4())}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        said["service.name"] = service
    return Resource.create({"service.namespace": SCOPE, **said})


def _tracers(resource: Resource, refusals: _Refusals) -> TracerProvider:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(_Processor(_SpanExporter(refusals)))
    return provider


def _meters(resource: Resource, refusals: _Refusals) -> MeterProvider:
    reader = PeriodicExportingMetricReader(_MetricExporter(refusals))
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


# ---- traces


class _Spans:
    """Makes a span of each piece of work. Work within work is a span within its span."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(SCOPE)

    def __call__(self, work: Work) -> Callable[[], None]:
        span = self._tracer.start_span(f"{work.kind} {work.name}", attributes=_begun(work))
        token = context.attach(trace.set_span_in_context(span))
        return partial(_end, span, token, work)


def _begun(work: Work) -> dict[str, str]:
    said = {"pipeline": work.pipeline}
    if work.kind != "tick":
        said["stream" if work.kind == "landing" else "asset"] = work.name
    if work.load_date:
        said["load_date"] = work.load_date.isoformat()
    return said


def _end(span: Span, token: Any, work: Work) -> None:
    context.detach(token)
    span.set_attributes({"outcome": work.outcome, **work.facts})
    span.set_attributes({f"seconds.{phase}": round(seconds, 6) for phase, seconds in work.phases.items()})
    for name, verdict in work.verdicts.items():
        if verdict != "pass":
            span.add_event("check", {"check": name, "status": verdict})
    if work.outcome == "failed":
        span.set_attribute("error.type", work.error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


# ---- metrics


class _Numbers:
    """Adds each piece of work to the metrics."""

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter(SCOPE)
        self._made = {each: self._make(each) for each in OF_WORK}

    def __call__(self, work: Work) -> Callable[[], None]:
        return partial(self._count, work)

    def _make(self, instrument: Instrument) -> Any:
        given = (instrument.name, instrument.unit, instrument.meaning)
        if instrument.kind == "counter":
            return self._meter.create_counter(*given)
        return self._meter.create_histogram(*given, explicit_bucket_boundaries_advisory=BOUNDS)

    def _count(self, work: Work) -> None:
        for instrument, labels, value in _numbers_of(work):
            attributes = _named(instrument, labels)
            made = self._made[instrument]
            if instrument.kind == "counter":
                made.add(value, attributes)
            else:
                made.record(value, attributes)


def _numbers_of(work: Work) -> Iterator[tuple[Instrument, tuple[str, ...], float]]:
    """Yield what a piece of work adds to the metrics."""
    facts: Mapping[str, Any] = work.facts
    if work.kind == "tick":
        yield instruments.TICK_SECONDS, (work.pipeline, work.outcome), work.seconds
        return
    labels = (work.pipeline, work.name)
    if work.kind == "landing":
        yield instruments.LANDING_SECONDS, (*labels, work.outcome), work.seconds
        if work.outcome == "landed":
            yield instruments.LANDING_EVENTS, labels, facts["records"]
        return
    yield instruments.BUILD_SECONDS, (*labels, work.outcome), work.seconds
    if work.outcome == "published":
        yield instruments.BUILD_ROWS, labels, facts["rows"]
        yield instruments.BUILD_QUARANTINED, labels, facts["quarantined"]
    verdicts = list(work.verdicts.values())
    for status in dict.fromkeys(verdicts):
        yield instruments.BUILD_CHECKS, (*labels, status), verdicts.count(status)


def _observe_figures(provider: MeterProvider, figures: Callable[[], Sequence[Figure]], is_over: Event) -> None:
    """Let the metrics of the ledger be read each time that metrics are sent."""
    meter = provider.get_meter(SCOPE)

    def read(instrument: Instrument, _: CallbackOptions) -> Iterator[Observation]:
        for figure in [] if is_over.is_set() else figures():
            if figure.instrument is instrument:
                yield Observation(figure.value, _named(instrument, figure.labels))

    for each in OF_THE_LEDGER:
        meter.create_observable_gauge(each.name, [partial(read, each)], each.unit, each.meaning)


def _named(instrument: Instrument, labels: Sequence[str]) -> dict[str, str]:
    return dict(zip(instrument.labels, labels, strict=True))
