"""Every metric: its name, unit, labels and meaning. What is exported, the page, the guide and the dashboard follow it.

Labels are names of the pipelines' files and fixed words, so there are never more series than the files allow. A
load_date, a run and a partition are no labels.
Not here: their values (figures.py, sent.py).
"""

from dataclasses import dataclass
from typing import Literal

_UNITS = {"s": "_seconds"}  # as OpenTelemetry's rules for Prometheus write units; `{row}` is not written


@dataclass(frozen=True)
class Instrument:
    """One metric. A gauge says what is, a counter how much was done, and a histogram how long it took."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus, whichever way it gets there."""
        end = "_total" if self.kind == "counter" else ""
        return self.name.replace(".", "_") + _UNITS.get(self.unit, "") + end


# What the ledger knows: on the page of `kpi serve`, and sent by it.
LEDGER_READ = Instrument("kpi.ledger.read", "gauge", "{bool}", ("pipeline",), "1 if the ledger could be read, else 0.")
FRESHNESS = Instrument(
    "kpi.freshness",
    "gauge",
    "s",
    ("pipeline", "kpi"),
    "Age of a KPI: since the end of its latest load_date, or since the instant through which its events are built.",
)
LATE = Instrument(
    "kpi.late", "gauge", "{bool}", ("pipeline", "kpi"), "1 if a KPI is later than its freshness allows, else 0."
)
PUBLISHED = Instrument(
    "kpi.published.timestamp",
    "gauge",
    "s",
    ("pipeline", "asset"),
    "When the latest load_date of a table was published last, as Unix time.",
)
ROWS = Instrument("kpi.rows", "gauge", "{row}", ("pipeline", "asset"), "Rows of the latest load_date of a table.")
HELD = Instrument(
    "kpi.held",
    "gauge",
    "{load_date}",
    ("pipeline", "asset"),
    "load_dates of a table or object whose latest build is held by a gate.",
)
CHECKS = Instrument(
    "kpi.checks",
    "gauge",
    "{check}",
    ("pipeline", "asset", "status"),
    "Checks of the latest build of a table, by result: pass, fail, warn, error.",
)
INCIDENTS = Instrument("kpi.incidents", "gauge", "{incident}", ("pipeline", "kind"), "Open incidents, by kind.")
LAG = Instrument(
    "kpi.stream.lag",
    "gauge",
    "{position}",
    ("pipeline", "stream"),
    "Positions of a stream that the broker has and that are not landed.",
)
LANDED_AGE = Instrument(
    "kpi.stream.age",
    "gauge",
    "s",
    ("pipeline", "stream"),
    "Seconds since the instant before which all events of a stream are landed.",
)
STOPPED = Instrument(
    "kpi.stream.stopped",
    "gauge",
    "{partition}",
    ("pipeline", "stream"),
    "Partitions of a stream whose landing stands still.",
)

# What a process does: sent by each process that does it.
BUILD_SECONDS = Instrument(
    "kpi.build.duration",
    "histogram",
    "s",
    ("pipeline", "asset", "outcome"),
    "Seconds of a build, or of a batch of a table that grows: published, held or failed.",
)
BUILD_ROWS = Instrument(
    "kpi.build.rows", "counter", "{row}", ("pipeline", "asset"), "Rows that builds and batches published."
)
BUILD_QUARANTINED = Instrument(
    "kpi.build.quarantined",
    "counter",
    "{row}",
    ("pipeline", "asset"),
    "Records and rows that builds and batches set aside.",
)
BUILD_CHECKS = Instrument(
    "kpi.build.checks",
    "counter",
    "{check}",
    ("pipeline", "asset", "status"),
    "Checks that builds and batches made, by result: pass, fail, warn, error.",
)
TICK_SECONDS = Instrument(
    "kpi.tick.duration",
    "histogram",
    "s",
    ("pipeline", "outcome"),
    "Seconds of one look at a load_date that grows: idle, built, held or failed.",
)
LANDING_SECONDS = Instrument(
    "kpi.landing.duration",
    "histogram",
    "s",
    ("pipeline", "stream", "outcome"),
    "Seconds in which an object of a stream was put: landed, fenced by another landing, or failed.",
)
LANDING_EVENTS = Instrument(
    "kpi.landing.events", "counter", "{event}", ("pipeline", "stream"), "Events that were landed."
)

OF_THE_LEDGER = (
    LEDGER_READ,
    FRESHNESS,
    LATE,
    PUBLISHED,
    ROWS,
    HELD,
    CHECKS,
    INCIDENTS,
    LAG,
    LANDED_AGE,
    STOPPED,
)
OF_WORK = (
    BUILD_SECONDS,
    BUILD_ROWS,
    BUILD_QUARANTINED,
    BUILD_CHECKS,
    TICK_SECONDS,
    LANDING_SECONDS,
    LANDING_EVENTS,
)
