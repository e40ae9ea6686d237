"""A finding: one thing that was looked at, and what came of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from kpi_assets.errors import UserError

State = Literal["ok", "advice", "broken"]
SKEW = 10.0  # seconds by which two clocks may differ


@dataclass(frozen=True)
class Finding:
    """`text` says what was found and, unless that is ok, what to do."""

    state: State
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    """Fit for work."""
    return Finding("ok", subject, text)


def advice(subject: str, text: str) -> Finding:
    """It works, and could do better."""
    return Finding("advice", subject, text)


def broken(subject: str, text: str) -> Finding:
    """Something will fail until this is mended."""
    return Finding("broken", subject, text)


def guarded(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What `look` finds; the error that ends it is a finding too."""
    try:
        yield from look()
    except UserError as error:
        yield broken(subject, str(error))


def clock(subject: str, theirs: datetime) -> Finding:
    """How far another clock is from ours, which dates what is built and signs what is asked of S3."""
    apart = (theirs - datetime.now(timezone.utc)).total_seconds()
    if abs(apart) <= SKEW:
        return ok(subject, f"its clock and ours are less than {SKEW:.0f} s apart")
    return broken(
        subject, f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} ours: set both by NTP"
    )
