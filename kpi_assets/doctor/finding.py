"""A finding: one thing that was examined, and the result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from kpi_assets.errors import UserError

State = Literal["ok", "advice", "broken"]
SKEW = 10.0  # seconds by which two clocks may differ


@dataclass(frozen=True)
class Finding:
    """The result for one subject: `text` says what was found and, unless it is ok, what to do."""

    state: State
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    """Return a finding: it works."""
    return Finding("ok", subject, text)


def advice(subject: str, text: str) -> Finding:
    """Return a finding: it works, and something should be improved."""
    return Finding("advice", subject, text)


def broken(subject: str, text: str) -> Finding:
    """Return a finding: something fails until this is mended."""
    return Finding("broken", subject, text)


def errors_as_findings(subject: str, examine: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what `examine` finds. A UserError that ends it becomes a finding."""
    try:
        yield from examine()
    except UserError as error:
        yield broken(subject, str(error))


def clock(subject: str, theirs: datetime) -> Finding:
    """Compare another clock with ours, because our clock dates builds and signs requests to S3."""
    apart = (theirs - datetime.now(timezone.utc)).total_seconds()
    if abs(apart) <= SKEW:
        return ok(subject, f"its clock and ours are less than {SKEW:.0f} s apart")
    return broken(
        subject, f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} ours: set both by NTP"
    )
