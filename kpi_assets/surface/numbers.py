"""What `kpi serve` counts about itself, as text that Prometheus reads."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

REFUSED = "refused"  # the route of a request that did not reach the app, or no route of it


@dataclass
class Numbers:
    """Counts since the start of the process. Only the event loop changes them."""

    made: int = 0  # answers that were made
    kept: int = 0  # answers that others had made
    unchanged: int = 0  # 304
    in_flight: int = 0
    streams: int = 0  # answers that stay open
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # by (route, status)
    seconds: dict[str, float] = field(default_factory=dict)  # by route

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered. `route` is one of the app's, with the names of its parameters."""
        self.requests[route, status] += 1
        self.seconds[route] = self.seconds.get(route, 0.0) + seconds

    def text(self, cache_bytes: int) -> str:
        """Return all numbers in Prometheus's format."""
        answers = {"made": self.made, "kept": self.kept, "unchanged": self.unchanged}
        by_route: Counter[str] = Counter()
        for (route, _), times in self.requests.items():
            by_route[route] += times
        parts = [
            _lines("requests_total", "counter", "Requests that were answered.", self._requests()),
            _lines("request_seconds_sum", "counter", "Seconds that their answers took.", _of_route(self.seconds)),
            _lines("request_seconds_count", "counter", "Requests whose seconds were counted.", _of_route(by_route)),
            _lines("answers_total", "counter", "Answers by how they came about.", _labeled("how", answers)),
            _lines("in_flight", "gauge", "Requests that are being answered.", [("", self.in_flight)]),
            _lines("streams", "gauge", "Event streams that are open.", [("", self.streams)]),
            _lines("kept_bytes", "gauge", "Memory that kept answers take.", [("", cache_bytes)]),
        ]
        return "".join(parts)

    def _requests(self) -> Iterable[tuple[str, float]]:
        for (route, status), times in sorted(self.requests.items()):
            yield f'{{route="{route}",status="{status}"}}', times


def _of_route(values: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    return _labeled("route", values)


def _labeled(label: str, values: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    for name, value in sorted(values.items()):
        yield f'{{{label}="{name}"}}', value


def _lines(name: str, kind: str, meaning: str, values: Iterable[tuple[str, float]]) -> str:
    head = f"# HELP kpi_serve_{name} {meaning}\n# TYPE kpi_serve_{name} {kind}\n"
    return head + "".join(f"kpi_serve_{name}{labels} {value:.6g}\n" for labels, value in values)
