"""Begins the telemetry of a process, if somebody takes it. It is the only door: OpenTelemetry is loaded behind it.

Belongs here: once in a process, and what is said when it cannot begin. Not here: what is sent (sent.py).
"""

import logging
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from kpi_assets.scrub import keep_secret_too
from kpi_assets.telemetry import receiver

if TYPE_CHECKING:
    from kpi_assets.telemetry.figures import Figure
    from kpi_assets.telemetry.sent import Sending

logger = logging.getLogger(__name__)

NOT_INSTALLED = (
    "Nothing is sent to %s, because OpenTelemetry is not installed: install kpi_assets[telemetry], or unset the "
    "variables that begin with OTEL_EXPORTER_OTLP."
)
_lock = Lock()
_sending: "Sending | None" = None
_is_begun = False


def start(service: str, figures: "Callable[[], Sequence[Figure]] | None" = None) -> None:
    """Send from now on what this process does, and what `figures` returns now and then. Safe to repeat.

    `service` is what the receiver calls the process. Whatever goes wrong is a line in the log and nothing else.
    """
    global _sending, _is_begun  # noqa: PLW0603  one process has one telemetry
    signals = [each for each in ("metrics", "traces") if receiver.is_named(each)]
    if not signals:
        return
    with _lock:
        if _is_begun:
            return
        _is_begun = True
        keep_secret_too(receiver.secrets())
        try:
            from kpi_assets.telemetry.sent import Sending  # noqa: PLC0415  loads OpenTelemetry
        except ImportError:
            logger.warning(NOT_INSTALLED, receiver.shown(signals[0]))
            return
        try:
            _sending = Sending(service, signals, figures)
        except Exception as error:  # a variable that OpenTelemetry cannot read
            logger.warning("Nothing is sent to %s: %s.", receiver.shown(signals[0]), type(error).__name__)


def flush() -> None:
    """Send soon what was not sent yet, and wait for nothing."""
    if _sending:
        _sending.flush()


def stop() -> None:
    """Send what was not sent yet, wait for that a moment at most, and send nothing more."""
    global _sending, _is_begun
    with _lock:
        ended, _sending, _is_begun = _sending, None, False
    if ended:
        ended.stop()
