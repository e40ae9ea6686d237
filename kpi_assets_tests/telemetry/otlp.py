"""A receiver of OTLP over HTTP on loopback, which decodes what it gets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/traces": ExportTraceServiceRequest}


@dataclass
class Receiver:
    """What was received: the bodies as they came, and their headers."""

    address: str = ""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def _decoded(self, path: str) -> list[Any]:
        return [REQUESTS[path].FromString(body) for at, body in list(self.bodies) if at == path]

    def resources(self) -> list[dict[str, Any]]:
        """Return the attributes of each resource that sent metrics or spans."""
        metrics = [each for request in self._decoded("/v1/metrics") for each in request.resource_metrics]
        spans = [each for request in self._decoded("/v1/traces") for each in request.resource_spans]
        return [attributes(each.resource.attributes) for each in (*metrics, *spans)]

    def spans(self) -> list[Any]:
        """Return all spans, in the order in which they ended."""
        return [
            span
            for request in self._decoded("/v1/traces")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """Return each metric as it was sent last, by name."""
        return {
            metric.name: metric
            for request in self._decoded("/v1/metrics")
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the points of a metric by its labels in their order; of a histogram how many it counted."""
        metric = self.metrics()[name]
        kind = metric.WhichOneof("data")
        return {
            tuple(attributes(point.attributes).values()): _value(kind, point)
            for point in getattr(metric, kind).data_points
        }


def _value(kind: str, point: Any) -> float:
    return point.count if kind == "histogram" else getattr(point, point.WhichOneof("value"))


def attributes(pairs: Any) -> dict[str, Any]:
    """Return attributes by name."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive until the end of the context."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append(dict(self.headers))
            receiver.bodies.append((self.path, body))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
