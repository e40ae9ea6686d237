"""The measures of a KPI: one number for each load_date, and what a reader is told about it.

Belongs here: the words of one measure. Not here: its SQL (aggregate.py), how a number is written (number_format.py),
computing it (materialize/measures.py), and judging it (monitoring/thresholds.py).
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.aggregate import aggregate
from kpi_assets.model.field_types import Expression, Number, Sentence, Title
from kpi_assets.model.number_format import NumberFormat
from kpi_assets.model.query import digest
from kpi_assets.model.sentences import shown
from kpi_assets.model.strict_yaml import Strict

Better = Literal["up", "down"]
Unit = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40, pattern=r"^[^\n\r\t]*$")]
_MOST = 400  # load_dates that a measure may be compared over, or must be beyond a threshold


def _is_aggregate(value: str) -> str:
    aggregate(value)
    return value


Value = Annotated[Expression, AfterValidator(_is_aggregate)]


def _load_dates(value: object) -> object:
    found = re.fullmatch(r"([0-9]{1,4}) load_dates?", value) if isinstance(value, str) else None
    if found and 1 <= int(found[1]) <= _MOST:
        return int(found[1])
    if isinstance(value, str) and re.fullmatch(r"[0-9]+ (minute|hour)s?", value):
        raise ValueError(
            f"{shown(value)} is for tables that grow within their load_date, and a KPI has one number for each: write "
            "`3 load_dates`"
        )
    raise ValueError(f"{shown(value)} is no number of load_dates: write `3 load_dates`, from 1 to {_MOST}")


class Target(Strict):
    """What a measure should be: `at_least` or `at_most` a number."""

    at_least: Annotated[Number | None, Affects.NOTHING] = Field(default=None, description="The lowest good number.")
    at_most: Annotated[Number | None, Affects.NOTHING] = Field(default=None, description="The highest good number.")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Target":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a target is either at_least or at_most a number: write one of them")
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

    more_than: Annotated[Number, Affects.NOTHING] = Field(
        gt=0, description="The share of the value before, up or down, that is too much: 0.3 is 30 %."
    )


class Threshold(Strict):
    """When people are told of a published measure. It holds nothing: what passed its gates is published."""

    below: Annotated[Number | None, Affects.NOTHING] = Field(default=None, description="Tells of a lower value.")
    above: Annotated[Number | None, Affects.NOTHING] = Field(default=None, description="Tells of a higher value.")
    change: Annotated[Change | None, Affects.NOTHING] = Field(
        default=None,
        description="Tells of a value that differs too much from the one that it is compared with.",
        examples=["change: {more_than: 0.3}"],
    )
    for_: Annotated[
        int,
        BeforeValidator(_load_dates),
        WithJsonSchema({"type": "string"}),
        Affects.NOTHING,
    ] = Field(
        default=1,
        alias="for",
        description="For how many load_dates in a row it must be so before people are told.",
        examples=["for: 3 load_dates"],
        json_schema_extra={"default": "1 load_date"},
    )

    @model_validator(mode="after")
    def _says_when(self) -> "Threshold":
        if self.below is None and self.above is None and self.change is None:
            raise ValueError("it does not say when people are told: write below, above or change")
        if self.below is not None and self.above is not None and self.below >= self.above:
            raise ValueError(f"no value is right below {self.below} and above {self.above}: write a higher `above`")
        return self


class Measure(Strict):
    """One number of a KPI for each load_date, computed from the rows that readers are shown."""

    title: Annotated[Title, Affects.NOTHING] = Field(
        description="What the number is called.", examples=["title: Orders"]
    )
    value: Annotated[Value, Affects.NOTHING] = Field(
        description="An aggregate over the rows of a load_date that readers are shown: sum, count, avg, min and max of "
        "columns of this table, with `filter (where …)`, arithmetic, comparisons, nullif and coalesce. Numbers are "
        "computed exactly, and a division by zero gives no number. A ratio must carry its weights: the average of the "
        "rows' averages is not the average of all.",
        examples=["value: sum(total_orders)", "value: sum(revenue) / sum(orders)"],
    )
    description: Annotated[Sentence | None, Affects.NOTHING] = Field(
        default=None, description="What a reader must know to use the number."
    )
    format: Annotated[NumberFormat, Affects.NOTHING] = Field(
        default="integer",
        description="How it is written: `integer`, `decimal0` to `decimal6`, `percent0` to `percent4` of a share of 1, "
        "or a currency with its decimals, such as `EUR2`.",
    )
    unit: Annotated[Unit, Affects.NOTHING] = Field(
        default="", description="What is counted.", examples=["unit: orders"]
    )
    better: Annotated[Better | None, Affects.NOTHING] = Field(
        default=None, description="The direction that is good. Without it a change has no color."
    )
    target: Annotated[Target | None, Affects.NOTHING] = Field(
        default=None, description="What it should be.", examples=["target: {at_least: 7500}"]
    )
    compare: Annotated[int, Affects.NOTHING] = Field(
        default=7,
        ge=1,
        le=_MOST,
        description="How many days before is the load_date that it is compared with. 7 compares with the same day of "
        "the week.",
    )
    alert: Annotated[Threshold | None, Affects.NOTHING] = Field(
        default=None,
        description="When people are told of the published number.",
        examples=["alert: {below: 8, for: 3 load_dates}"],
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its table that the value is made of, sorted."""
        return aggregate(self.value).columns

    @property
    def version(self) -> str:
        """16 hex digits that change when the same rows might give another number."""
        return digest(aggregate(self.value).sql)

    def sql(self, types: Mapping[str, str]) -> str:
        """Return the value as SQL, a numeric or NULL, over rows whose columns have these types and load_date.

        Raises ValueError if it does not fit the types; the columns are those of its header, which has been checked.
        """
        return aggregate(self.value, types).sql
