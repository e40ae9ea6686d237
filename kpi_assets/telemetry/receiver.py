"""Who takes the telemetry of this process, by OpenTelemetry's own environment variables.

Nothing is sent, and OpenTelemetry is not even loaded, unless one of the variables in ENDPOINTS is set.
Belongs here: whether something is sent, where to, and what of these variables is secret. Not here: sending (sent.py),
which gives all variables that begin with OTEL_ the meaning that OpenTelemetry's documentation gives them.
"""

import os
from urllib.parse import unquote, urlsplit

ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
HEADERS = tuple(name.replace("ENDPOINT", "HEADERS") for name in ENDPOINTS)


def is_named(signal: str) -> bool:
    """Whether somebody takes `metrics` or `traces`."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").strip().lower()
    names = (ENDPOINTS[0], f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    return exporter != "none" and any(os.environ.get(name, "").strip() for name in names)


def shown(signal: str) -> str:
    """Return where a signal is sent, without a login or a query."""
    named = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") or os.environ.get(ENDPOINTS[0]) or ""
    parts = urlsplit(named)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def secrets() -> list[str]:
    """Return the values of the headers, which are keys, and a login in an address."""
    found = []
    for name in HEADERS:
        values = [pair.partition("=")[2].strip() for pair in os.environ.get(name, "").split(",")]
        found += [each for value in values for each in (value, unquote(value))]
    for name in ENDPOINTS:
        login = urlsplit(os.environ.get(name, "")).netloc.rpartition("@")[0]
        found.append(login.rpartition(":")[2])
    return [each for each in found if each]
