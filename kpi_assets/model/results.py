"""The result of a check: the audit makes it, ops records it, the UI shows it, and the command line prints it."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kpi_assets.model import excerpt
from kpi_assets.model.quality import Dimension

Verdict = Literal["pass", "fail", "warn", "error"]
# What a check examines: an S3 object, the candidate of a build, or the rows that are published.
Subject = Literal["object", "candidate", "published"]
SAMPLES = 5  # the most bad rows that a result shows


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check of one build.

    `metric` is compared with `threshold`; `samples` are up to five bad rows as JSON objects. Message and samples are
    cut to excerpts. A check with a dimension says how many rows it `examined`, and how many of them are `bad`.
    """

    name: str
    passed: bool
    blocking: bool
    metric: float | None
    threshold: float | None
    message: str = ""
    samples: list[dict[str, Any]] = field(default_factory=list)
    errored: bool = False  # the check itself could not be made: it holds the build, whatever its severity
    dimension: Dimension | None = None  # of the quality score
    examined: int | None = None
    bad: int | None = None
    ruling_id: int | None = None  # of the ruling that lets the rows be shown although it failed
    is_report: bool = False  # the samples are no bad rows but a report, which has no values of rows and is not cut

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", excerpt.cut(self.message, excerpt.MESSAGE))
        if not self.is_report:
            object.__setattr__(self, "samples", [excerpt.cut_row(row) for row in self.samples])

    @classmethod
    def not_made(cls, name: str, blocking: bool, reason: str) -> "CheckResult":
        """Return the result of a check that could not be made, with the first line of the reason."""
        reason = excerpt.cut(reason.strip().splitlines()[0])
        message = f"the check itself failed: {reason}"
        return cls(name, passed=False, blocking=blocking, metric=None, threshold=None, message=message, errored=True)

    @property
    def blocks_publish(self) -> bool:
        """Whether this result keeps the build from being published."""
        return self.errored or (self.blocking and not self.passed and self.ruling_id is None)

    @property
    def verdict(self) -> Verdict:
        """The outcome in one word, as people and ops.data_quality_results read it."""
        if self.errored:
            return "error"
        if self.passed:
            return "pass"
        return "fail" if self.blocking else "warn"


class ChartRows(NamedTuple):
    """The bars of a chart, as (label, value), and the number of bars without the limit `top`."""

    bars: list[tuple[str, float | None]]
    of: int
