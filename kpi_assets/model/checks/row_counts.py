"""The check of the number of rows of a build: `min_rows`.

Belongs here: the minimums, absolute or as shares of earlier load_dates. Not here: counting the rows, which the audit
always does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Annotated

from pydantic import Field

from kpi_assets.model.affects import Affects
from kpi_assets.model.calendar import WEEKDAYS
from kpi_assets.model.checks.base import AuditFacts, EarlierRows, Measured, TableCheck
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.results import CheckResult
from kpi_assets.model.strict_yaml import Strict

SAME_WEEKDAYS, ENOUGH_WEEKDAYS = 8, 4  # load_dates in the median of `of_usual`: at most, and at least
PREVIOUS, USUAL = EarlierRows(), EarlierRows(every=7, count=SAME_WEEKDAYS, without_waived=True)

Share = Annotated[float, Field(ge=0, le=1)]


class MinRowsSpec(Strict):
    """The fewest rows of a build: a number, and shares of the rows of earlier load_dates; a share of 0 demands nothing.

    The words of a file replace the pipeline's `defaults` as a whole: `at_least: 0` alone turns all minimums off.
    """

    at_least: Annotated[Annotated[int, Field(ge=0)] | None, Affects.CHECKS] = Field(
        default=None,
        description="The fewest rows. Without this word it is 1 for a raw table and a KPI, and 0 for other tables.",
    )
    of_previous: Annotated[Share, Affects.CHECKS] = Field(
        default=0.0, description="The smallest share of the rows of the latest earlier load_date."
    )
    of_usual: Annotated[Share, Affects.CHECKS] = Field(
        default=0.0,
        description="The smallest share of the usual number of rows: the median of the 8 latest load_dates of the same "
        "weekday, or of any for a table that is not due by weekday, such as one of `month-end`. Those that were "
        "published by a waiver do not count. With fewer than 4 of them it holds nothing.",
    )


@dataclass(frozen=True)
class MinRows(TableCheck):
    """The build has at least `at_least` rows, and certain shares of the rows of earlier load_dates.

    `of_previous` is a share of the rows of the latest earlier load_date, `of_usual` one of the median of the rows of
    the SAME_WEEKDAYS latest earlier load_dates of the same weekday, once there are ENOUGH_WEEKDAYS.
    """

    at_least: int = 1
    of_previous: float = 0.0
    of_usual: float = 0.0

    @property
    def version(self) -> str:
        """The minimums, since they may come from pipeline.yaml or from the environment."""
        return f"{self.at_least} {self.of_previous} {self.of_usual}"

    @property
    def needs(self) -> tuple[EarlierRows, ...]:
        """The earlier row counts of which a share is demanded."""
        return (*([PREVIOUS] if self.of_previous else []), *([USUAL] if self.of_usual else []))

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Pass if the rows reach the highest minimum."""
        if facts.is_without_object:
            why = "not judged: the optional object is not there"
            return self.judged(passed=True, metric=measured.rows, threshold=None, message=why)
        previous, usual = facts.looked_up.get(PREVIOUS, ()), facts.looked_up.get(USUAL, ())
        floors = [(float(self.at_least), "")]
        if previous:
            basis = f" ({self.of_previous:.0%} of the {previous[0]} rows of the load_date before)"
            floors.append((previous[0] * self.of_previous, basis))
        weekday = f"{WEEKDAYS[facts.load_date.weekday()]}s" if facts.is_by_weekday else "load_dates"
        count = len(usual)
        is_unknown = bool(self.of_usual) and count < ENOUGH_WEEKDAYS
        if self.of_usual and not is_unknown:
            middle = median(usual)
            basis = f" ({self.of_usual:.0%} of {middle:g}, the median of the last {count} {weekday})"
            floors.append((middle * self.of_usual, basis))
        floor, basis = max(floors, key=lambda each: each[0])
        passed = measured.rows >= floor
        message = "" if passed else f"{measured.rows} rows, at least {floor:g} are wanted{basis}"
        if passed and is_unknown:
            message = (
                f"of_usual is not judged yet: {count} of the {ENOUGH_WEEKDAYS} {weekday} that it takes are published"
            )
        return self.judged(passed=passed, metric=measured.rows, threshold=floor, message=message)


def _min_rows(spec: MinRowsSpec | None, table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    """Yield the check of the number of rows, or nothing if every number is accepted."""
    given = spec or table.defaults.get("min_rows") or MinRowsSpec()
    at_least = given.at_least if table.minimum_rows is None else table.minimum_rows
    if at_least is None:
        at_least = 1 if table.must_have_rows else 0
    floors = [
        f"{at_least} row{'s' * (at_least != 1)}" if at_least else "",
        f"{given.of_previous:.0%} of the load_date before" if given.of_previous else "",
        f"{given.of_usual:.0%} of what is usual on its weekday" if given.of_usual else "",
    ]
    if any(floors):
        check = MinRows(
            "min_rows",
            f"At least {', and '.join(filter(None, floors))}.",
            line=table.lines.of("checks", "min_rows"),
            at_least=at_least,
            of_previous=given.of_previous,
            of_usual=given.of_usual,
        )
        yield lambda: check


MIN_ROWS = CheckWord(
    name="min_rows",
    type=MinRowsSpec | None,
    description="The build has at least so many rows, or that share of the rows of earlier load_dates.",
    example="min_rows: {at_least: 100, of_previous: 0.5, of_usual: 0.4}",
    expand=_min_rows,
)
