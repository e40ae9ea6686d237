"""The measures of a KPI: one number for each load_date, and what a reader is told about it.

Belongs here: the words of one measure, and its SQL. Not here: how a number is written (number_format.py), computing it
(materialize/measures.py), and judging it (monitoring/thresholds.py).
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.field_types import Expression, Sentence
from kpi_assets.model.number_format import NumberFormat
from kpi_assets.model.query import digest
from kpi_assets.model.strict_yaml import Strict

Better = Literal["up", "down"]


class Target(Strict):
    """What a measure should be: `at_least` or `at_most` a number."""

    at_least: Annotated[Decimal | None, Affects.NOTHING] = Field(default=None, description="The lowest good number.")
    at_most: Annotated[Decimal | None, Affects.NOTHING] = Field(default=None, description="The highest good number.")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Target":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a target is either at_least or at_most: write one of them")
        return self

    @property
    def number(self) -> Decimal:
        """The number itself."""
        found = self.at_least if self.at_least is not None else self.at_most
        assert found is not None
        return found

    def is_met(self, value: Decimal) -> bool:
        """Return whether a value is as good as the target."""
        return value >= self.number if self.at_least is not None else value <= self.number


class Change(Strict):
    """How much a measure may differ from the load_date that it is compared with."""

    more_than: Annotated[Decimal, Affects.NOTHING] = Field(
        gt=0, description="The share of the value before, up or down, that is too much: 0.3 is 30 %."
    )


class Threshold(Strict):
    """When people are told of a published measure. It holds nothing: what passed its gates is published."""

    below: Annotated[Decimal | None, Affects.NOTHING] = Field(default=None, description="Tells of a lower value.")
    above: Annotated[Decimal | None, Affects.NOTHING] = Field(default=None, description="Tells of a higher value.")
    change: Annotated[Change | None, Affects.NOTHING] = Field(
        default=None, description="Tells of a value that differs too much from the one that it is compared with."
    )
    for_: Annotated[int, Affects.NOTHING] = Field(
        default=1,
        alias="for",
        ge=1,
        le=400,
        description="For how many load_dates in a row it must be so, written as `for: 3 load_dates`.",
    )


class Measure(Strict):
    """One number of a KPI for each load_date, computed from the rows that readers are shown."""

    title: Annotated[Sentence, Affects.NOTHING] = Field(description="What the number is called.")
    value: Annotated[Expression, Affects.NOTHING] = Field(
        description="An aggregate over the columns of this table: sum, count, avg, min, max, with filter, arithmetic, "
        "nullif and coalesce."
    )
    description: Annotated[Sentence | None, Affects.NOTHING] = Field(
        default=None, description="What a reader must know to use the number."
    )
    format: Annotated[NumberFormat, Affects.NOTHING] = Field(default="integer", description="How it is written.")
    unit: Annotated[str, Affects.NOTHING] = Field(default="", description="What is counted, such as `orders`.")
    better: Annotated[Better | None, Affects.NOTHING] = Field(
        default=None, description="The direction that is good. Without it a change has no colour."
    )
    target: Annotated[Target | None, Affects.NOTHING] = Field(default=None, description="What it should be.")
    compare: Annotated[int, Affects.NOTHING] = Field(
        default=7, ge=1, le=400, description="How many days before is the load_date that it is compared with."
    )
    alert: Annotated[Threshold | None, Affects.NOTHING] = Field(default=None, description="When people are told.")

    @property
    def version(self) -> str:
        """16 hex digits that change when the same rows might give another number."""
        return digest(self.value)
